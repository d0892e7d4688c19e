// Where the parts of a call frame lie: fixed at compile time, and known to guests written by hand.
// SPDX-License-Identifier: MIT
#include "catch.hpp"

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include <virtine/abi/frame.hpp>

using namespace virtine;
using namespace virtine::detail;

namespace {

struct point {
  double x = 0, y = 0;
};
struct alignas(64) line {
  char c = 0;
};

template <class Sig, std::size_t... At>
constexpr bool lies_at = frame<Sig>::offsets == std::array<std::size_t, sizeof...(At)>{At...} &&
                         frame<Sig>::size == frame<Sig>::offsets.back();

static_assert(lies_at<void(), 0>);
static_assert(lies_at<int(), 16>);
static_assert(lies_at<int(int), 4, 16>);
static_assert(lies_at<int(int, int), 4, 8, 16>);
static_assert(lies_at<void(int), 0, 16>);
static_assert(lies_at<char(char, short, int, long), 1, 2, 4, 8, 16>);
static_assert(lies_at<char(long, char), 8, 16, 32>);
static_assert(lies_at<point(point, point), 16, 32, 48>);
static_assert(lies_at<int(std::string_view), 8, 32>);
static_assert(lies_at<long(std::span<const int>, std::span<double>, bool), 8, 24, 40, 48>);
static_assert(lies_at<bytes<5>(int), 16, 32>);
static_assert(lies_at<char(line), 64, 128>);

static_assert(sizeof(sequence_reference) == 16 && alignof(sequence_reference) == 8);
static_assert(offsetof(sequence_reference, address) == 0);
static_assert(offsetof(sequence_reference, count) == 8);
static_assert(frame<int(int)>::result_offset == 0);
static_assert(frame_alignment >= alignof(line) && frame_alignment % 16 == 0);

template <class R, class... A>
bool is_aligned(R (*)(A...)) {
  constexpr std::array<std::size_t, sizeof...(A)> alignments{alignof(detail::frame_slot<A>)...};
  constexpr std::array<std::size_t, sizeof...(A)> sizes{sizeof(detail::frame_slot<A>)...};
  std::size_t end = detail::result_size<R>();
  bool good = true;
  for (std::size_t i = 0; i < sizeof...(A); ++i) {
    const std::size_t at = frame<R(A...)>::offsets[i];
    good = good && at >= end && at % alignments[i] == 0;
    end = at + sizes[i];
  }
  return good && frame<R(A...)>::size >= end && frame<R(A...)>::size % 16 == 0;
}

}  // namespace

TEST_CASE("the parts of a frame are aligned and do not overlap", "[frame]") {
  CHECK(
      is_aligned(static_cast<void (*)(char, point, std::string_view, bool, line, short)>(nullptr)));
  CHECK(is_aligned(static_cast<bytes<3> (*)(char, char, std::span<point>, float)>(nullptr)));
  CHECK(is_aligned(static_cast<char (*)(long double, char, bytes<9>)>(nullptr)));
}
