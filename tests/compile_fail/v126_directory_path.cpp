// error: virtine \[V126\]: this cannot be where guests have a directory
// A path that can be written in two ways could be granted twice.
// SPDX-License-Identifier: MIT
#include <virtine/posix.hpp>

namespace posix = virtine::posix;

#ifdef VALID
virtine::policy policy{posix::directory<"/data">("/srv", posix::read_only)};
#else
virtine::policy policy{posix::directory<"data/">("/srv", posix::read_only)};
#endif
