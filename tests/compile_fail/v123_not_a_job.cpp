// error: virtine \[V123\]: an element of the jobs is not what the function takes
// SPDX-License-Identifier: MIT
#include <array>
#include <utility>

#include <guests/nasm_add.hpp>
#include <virtine/virtine.hpp>

#ifdef VALID
constexpr std::array<std::pair<int, int>, 2> jobs{{{1, 2}, {3, 4}}};
#else
constexpr std::array jobs{1, 2};
#endif

std::size_t number() {
  virtine::virtine_fn<int(int, int), guests::nasm_add> add;
  return add.each(jobs).size();
}
