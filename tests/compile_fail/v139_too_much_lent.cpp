// error: virtine \[V139\]: more than four arguments are lent memory
// SPDX-License-Identifier: MIT
#include <virtine/virtine.hpp>

using floats = virtine::lent<const float>;

#ifdef VALID
virtine::detail::check_signature<float(floats, floats, floats, floats)> checked;
#else
virtine::detail::check_signature<float(floats, floats, floats, floats, floats)> checked;
#endif
