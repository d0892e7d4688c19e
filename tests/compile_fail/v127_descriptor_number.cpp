// error: virtine \[V127\]: this cannot be the number of a guest's descriptor
// The guest's table of descriptors is that long.
// SPDX-License-Identifier: MIT
#include <virtine/posix.hpp>

namespace posix = virtine::posix;

#ifdef VALID
virtine::policy policy{posix::descriptor<63>(0, posix::read_only)};
#else
virtine::policy policy{posix::descriptor<64>(0, posix::read_only)};
#endif
