// error: virtine \[V125\]: a policy grants one thing twice
// An auditor could not tell which of the two counts.
// SPDX-License-Identifier: MIT
#include <virtine/posix.hpp>

namespace posix = virtine::posix;

#ifdef VALID
constexpr int number = 3;
#else
constexpr int number = 1;
#endif

virtine::policy policy{posix::minimal(), posix::descriptor<number>(2, posix::write_only)};
