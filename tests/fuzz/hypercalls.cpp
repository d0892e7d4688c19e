// Fuzzes hypercalls: frames anywhere, of any bytes, against a policy with an argument of each kind.
// An input is the hypercall's number, where its frame is, and the guest's memory.
// SPDX-License-Identifier: MIT
#include <algorithm>
#include <array>
#include <complex>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <string_view>
#include <tuple>
#include <utility>
#include <variant>
#include <vector>

#include <virtine/dynamic_policy.hpp>
#include <virtine/policy.hpp>

#include "input.hpp"
#include "kinds.hpp"
#include "plain_guest.hpp"

namespace {

using namespace virtine;
using virtine::detail::sequence_reference;

struct tick : hypercall<0, void()> {};
struct scalars : hypercall<1, double(double, bool, char, short, std::uint16_t, int, std::uint32_t,
                                     long, std::uint64_t, float, std::byte)> {};
struct enums : hypercall<2, colour(colour, verdict)> {};
struct objects : hypercall<3, gaps(gaps, flagged, even, either)> {};
struct groups : hypercall<4, text13(text13, std::array<bool, 3>, std::array<colour, 2>,
                                    std::array<gaps, 2>, std::complex<double>)> {};
struct composites
    : hypercall<5, std::optional<colour>(std::optional<colour>, std::pair<bool, double>,
                                         std::tuple<char, verdict, text13>,
                                         std::variant<bool, long, gaps, colour>,
                                         std::array<std::pair<bool, short>, 2>, std::tuple<>)> {};
struct variants
    : hypercall<6, std::variant<bool, long, text13>(std::variant<bool, long, text13>,
                                                    std::optional<std::optional<bool>>)> {};
struct inputs : hypercall<7, std::uint64_t(std::string_view, std::span<const std::byte>,
                                           std::span<const std::int64_t>, std::span<const gaps>)> {
};
struct outputs
    : hypercall<8, std::uint64_t(std::span<std::byte>, std::span<std::int32_t>, std::span<gaps>)> {
};
struct picky : hypercall<9, long(long)> {};
struct silent : hypercall<10, void(long)> {};

/// What the handlers of one hypercall did.
struct done {
  const plain_guest* guest = nullptr;
  bool handled = false;
  bool refused = false;
  std::size_t filled = 0;  ///< Bytes.
};
done now;

template <class T>
void look_at(std::span<const T> elements) {
  if (elements.empty()) return;
  const auto bytes = std::as_bytes(elements);
  const auto memory = now.guest->bytes();
  require(bytes.data() >= memory.data());
  require(bytes.data() + bytes.size() <= memory.data() + memory.size());
  std::vector<T> copy(elements.begin(), elements.end());
  require(copy.size() == elements.size());
}
template <class T>
void look_at(const tainted<T>& given) {
  given.verify([](const T& value) {
    if constexpr (std::is_same_v<T, std::string_view>) {
      look_at(std::span<const char>(value));
    } else if constexpr (detail::is_sequence<T>) {
      look_at(value);
    } else if constexpr (detail::is_composite<T>) {
      require(are<T>(bytes_of(value).data()));
    } else {
      std::array<std::byte, sizeof(T)> bytes;
      std::memcpy(bytes.data(), &value, sizeof(T));
      require(are<T>(bytes.data()));
    }
  });
}
template <class T>
void look_at(guest_buffer<T> to) {
  // A handler may make as much room as the guest says, so that has to be memory.
  require(to.size() * sizeof(T) <= now.guest->bytes().size());
  const std::vector<T> content(std::min(to.size() + 1, std::size_t{1 << 10}));
  const std::size_t made = to.fill(content);
  require(made == (now.guest->read_only ? 0 : std::min(to.size(), content.size())));
  now.filled += made * sizeof(T);
}

/// Looks at all arguments, and returns the first.
const auto echo = []<class First, class... A>(const tainted<First>& first, A... rest) {
  now.handled = true;
  look_at(first);
  (look_at(rest), ...);
  return first.unverified_because("it goes back to the guest");
};
const auto count = []<class... A>(A... all) -> std::uint64_t {
  now.handled = true;
  (look_at(all), ...);
  return sizeof...(A);
};

auto& rules() {
  static policy made{
      allow<tick>([] { now.handled = true; }),
      allow<scalars>(echo),
      allow<enums>(echo),
      allow<objects>(echo),
      allow<groups>(echo),
      allow<composites>(echo),
      allow<variants>(echo),
      allow<inputs>(count),
      allow<outputs>(count),
      allow<picky>([](tainted<long> given) -> answer<long> {
        now.handled = true;
        const auto good = given.verify(between<0, 10>);
        if (!good) return now.refused = true, reject{};
        return *good;
      }),
      allow<silent>([](tainted<long> given) -> answer<void> {
        now.handled = true;
        if (!given.verify(between<0, 10>)) return now.refused = true, reject{};
        return {};
      }),
  };
  return made;
}

/// Returns whether a slot of the frame at `at` is an argument of type A.
template <class A>
bool is_argument(plain_guest& guest, const std::byte* slot) {
  if constexpr (detail::is_sequence<A>) {
    sequence_reference where;
    std::memcpy(&where, slot, sizeof where);
    if (where.count == 0) return true;
    constexpr std::size_t size = sizeof(detail::sequence_element_t<A>);
    if (where.address % alignof(detail::sequence_element_t<A>) != 0) return false;
    if (where.address < plain_guest::base) return false;
    const std::uint64_t at = where.address - plain_guest::base;
    return at <= guest.bytes().size() && where.count <= (guest.bytes().size() - at) / size;
  } else {
    return are<A>(slot);
  }
}

/// Says whether what answers the call is `echo` or its like.
template <class Sig>
constexpr bool answers_first = false;
template <class R, class... A>
constexpr bool answers_first<R(R, A...)> = true;

/// Makes a hypercall, and holds what comes of it against what its frame says. `Exact`: calls whose
/// types are known at run time only take the same frames, and not more.
template <class Call, bool Exact, class R, class... A>
void serve(std::span<const std::byte> content, guest_address at, bool read_only,
           detail::hypercall_frame<R(A...)>) {
  using layout = detail::hypercall_frame<R(A...)>;
  plain_guest guest(content);
  guest.read_only = read_only;
  bool good = true;
  std::array<std::byte, layout::size> slots{};
  if constexpr (layout::size > 0) {
    const auto from = guest.read(at, layout::size);
    good = from.has_value();
    if (from) std::memcpy(slots.data(), from->data(), layout::size);
    std::size_t i = 0;
    good = good && (is_argument<A>(guest, slots.data() + layout::offsets[i++]) && ...);
  }
  now = {.guest = &guest};
  const auto served = rules().serve(Call::number, guest, at);
  require(now.handled == good);
  constexpr std::size_t answer = detail::result_size<R>();
  require(served.has_value() == (good && !now.refused && !(read_only && answer > 0)));
  require(served || served.error().code == errc::hypercall_rejected);
  require(guest.written == now.filled + (served ? answer : 0));
  if (guest.written == 0) require(std::ranges::equal(guest.bytes(), content));
  if constexpr (answers_first<R(A...)>) {
    if (served) {
      const auto first = detail::decode<R>(slots.data() + layout::offsets[0]);
      require(std::ranges::equal(guest.read(at, answer).value(), bytes_of(*first)));
    }
  }

  plain_guest same(content);
  same.read_only = read_only;
  bool also = false;
  static const detail::value_hypercall by_value(
      Call::number, std::string(detail::signature<R(A...)>), [](std::span<value> given) {
        return given.empty() ? std::optional<value>() : std::optional<value>(given[0]);
      });
  const auto done = by_value.serve(same, at);
  also = done || std::string_view(done.error().operation) == "the handler rejected the hypercall" ||
         done.error().code == errc::bad_argument || read_only;
  require(good ? also : !(Exact && also && !read_only));
}

template <class Call, bool Exact = false>
bool serve_if(std::uint64_t number, std::span<const std::byte> content, guest_address at) {
  // Numbers from 128 on: of a guest that has its frame in memory that it cannot write.
  constexpr std::uint64_t read_only = 0x80;
  if ((number & ~read_only) != Call::number) return false;
  serve<Call, Exact>(content, at, (number & read_only) != 0,
                     detail::hypercall_frame<typename Call::signature_type>{});
  return true;
}

/// Any other hypercall is denied, but for those that ask for strings.
void serve_other(std::uint64_t number, std::span<const std::byte> content, guest_address at) {
  plain_guest guest(content);
  now = {.guest = &guest};
  const auto served = rules().serve(number, guest, at);
  require(!now.handled);
  if (number == environment::number || number == program_arguments::number) {
    require(guest.written == (served ? sizeof(std::uint64_t) : 0));
  } else {
    require(!served && served.error().code == errc::hypercall_denied && guest.written == 0);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  fuzz_input input(data, size);
  const auto small = input.take<std::uint8_t>();
  // Those of the library have large numbers; others must not be cut to small ones.
  const std::uint64_t number = small < 0xf0   ? small
                               : small < 0xf8 ? first_reserved_hypercall + small % 8
                                              : (std::uint64_t{1} << 32) + small % 8;
  const guest_address at{plain_guest::base ^ input.take<std::uint64_t>()};
  const auto content = input.rest();
  const bool served =
      serve_if<tick>(number, content, at) || serve_if<scalars, true>(number, content, at) ||
      serve_if<enums>(number, content, at) || serve_if<objects>(number, content, at) ||
      serve_if<groups>(number, content, at) || serve_if<composites>(number, content, at) ||
      serve_if<variants, true>(number, content, at) || serve_if<inputs>(number, content, at) ||
      serve_if<outputs>(number, content, at) || serve_if<picky, true>(number, content, at) ||
      serve_if<silent, true>(number, content, at);
  if (!served) serve_other(number, content, at);
  return 0;
}
