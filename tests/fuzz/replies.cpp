// Fuzzes replies: what a guest leaves in its call frame, read for each kind of result and output.
// An input is the number of a signature, and the bytes of the frame.
// SPDX-License-Identifier: MIT
#include <algorithm>
#include <array>
#include <complex>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>
#include <variant>
#include <vector>

#include <virtine/call/marshal.hpp>
#include <virtine/call/value_marshal.hpp>

#include "input.hpp"
#include "kinds.hpp"

namespace {

using namespace virtine;

constexpr guest_address base{0x40000};
constexpr std::size_t max_elements = 5;

/// What the caller has for an argument: a value of its own, and elements where there are some.
template <class A>
struct host_argument {
  A value{};
  [[nodiscard]] bool is_as(const host_argument&) const { return true; }
  bool came_from(const std::byte*) const { return true; }
  static bool may_come_from(const std::byte*) { return true; }
};
template <>
struct host_argument<std::string_view> : host_argument<std::byte> {
  std::string_view value = "text";
};
template <class T>
struct host_argument<std::span<T>> {
  using element = std::remove_const_t<T>;
  std::array<element, max_elements> elements{};
  std::span<T> value{elements};

  host_argument() = default;
  host_argument(const host_argument& other) : elements(other.elements) {}
  host_argument& operator=(const host_argument&) = delete;

  [[nodiscard]] bool is_as(const host_argument& other) const {
    return std::memcmp(elements.data(), other.elements.data(), sizeof elements) == 0;
  }
  [[nodiscard]] bool came_from(const std::byte* at) const {
    return std::is_const_v<T> || std::memcmp(elements.data(), at, sizeof elements) == 0;
  }
  static bool may_come_from(const std::byte* at) {
    return std::is_const_v<T> || are<std::array<element, max_elements>>(at);
  }
};

template <class Sig>
struct caller;
template <class R, class... A>
struct caller<R(A...)> {
  using layout = detail::frame<R(A...)>;
  using bytes = std::vector<std::byte>;
  static constexpr auto indices = std::index_sequence_for<A...>{};

  static std::optional<detail::call_shape> types() {
    return detail::read_signature(detail::signature<R(A...)>);
  }

  /// Where the elements of an argument are in the frame.
  static const std::byte* elements_of(const bytes& written, std::size_t i, const bytes& frame) {
    detail::sequence_reference where;
    std::memcpy(&where, written.data() + layout::offsets[i], sizeof where);
    return frame.data() + (where.address - to_number(base));
  }

  template <std::size_t... I>
  static void call(std::span<const std::byte> left, std::index_sequence<I...>) {
    std::tuple<host_argument<A>...> arguments;
    const detail::marshaller<R(A...)> made(std::get<I>(arguments).value...);
    bytes written(made.used());
    require(made.write(written, base).has_value());
    bytes frame = written;
    std::copy_n(left.begin(), std::min(left.size(), frame.size()), frame.begin());

    bool good = true;
    if constexpr (!std::is_void_v<R>) good = are<R>(frame.data());
    [[maybe_unused]] const auto may = [&]<class T>(std::size_t i, const host_argument<T>& of) {
      if constexpr (detail::is_sequence<T>) return of.may_come_from(elements_of(written, i, frame));
      return true;
    };
    good = good && (may(I, std::get<I>(arguments)) && ...);
    [[maybe_unused]] const auto before = arguments;

    // As from a guest that goes on running: what is checked is a copy, and the memory has changed.
    {
      const bytes copy(frame.begin(),
                       frame.begin() + static_cast<std::ptrdiff_t>(made.reply_size()));
      bytes changed = frame;
      for (std::byte& each : changed) each = ~each;
      require(made.read(copy, changed).has_value() == good);
      if (!good) require((std::get<I>(arguments).is_as(std::get<I>(before)) && ...));
    }

    const auto reply = made.read(frame);
    require(reply.has_value() == good);
    if (reply) {
      [[maybe_unused]] const auto came = [&]<class T>(std::size_t i, const host_argument<T>& of) {
        if constexpr (detail::is_sequence<T>) return of.came_from(elements_of(written, i, frame));
        return true;
      };
      require((came(I, std::get<I>(arguments)) && ...));
      if constexpr (std::is_void_v<R>) {
      } else if constexpr (!detail::is_opaque<R>()) {
        require(same_value(frame.data(), *reply));
      }
    } else {
      require(reply.error().code == errc::bad_reply);
    }
    by_value(frame, good, indices);
  }

  /// Returns whether it is the value that these bytes stand for.
  static bool same_value(const std::byte* from, const auto& value) {
    const auto out = bytes_of(value);
    require(are<R>(out.data()));
    return detail::may_have_padding<R> || detail::is_composite<R> ||
           std::equal(out.begin(), out.end(), from);
  }

  /// The same frame, read for a caller who learns of the types when it runs.
  template <std::size_t... I>
  static void by_value(const bytes& frame, bool good, std::index_sequence<I...>) {
    static const auto shapes = types();
    require(shapes.has_value());
    if (detail::has_long_double(shapes->result)) return;
    struct {
      std::string_view name;
      const detail::call_shape& types;
    } const function{"f", *shapes};
    std::vector<value> arguments;
    for (const detail::shape& each : shapes->arguments) {
      if (!each.is_sequence()) return;
      arguments.push_back(each.kind == detail::shape_kind::text
                              ? value("text")
                              : value::bytes(bytes(max_elements * each.parts[0].room.size)));
    }
    const detail::value_marshaller made(function, arguments);
    require(made.check().has_value() && made.used() == frame.size());
    const auto reply = made.read(frame);
    if (good) require(reply.has_value());
  }
};

template <class... Sig>
void call_one_of(std::size_t which, std::span<const std::byte> left) {
  std::size_t number = 0;
  ((which % sizeof...(Sig) == number++ ? caller<Sig>::call(left, caller<Sig>::indices) : void()),
   ...);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  fuzz_input input(data, size);
  const auto which = input.take<std::uint8_t>();
  call_one_of<
      void(), bool(), int(long), std::uint64_t(std::string_view), double(), colour(), verdict(),
      gaps(), flagged(), even(), either(), text13(), std::array<bool, 3>(), std::array<gaps, 2>(),
      std::array<colour, 2>(), std::complex<double>(), std::pair<bool, colour>(),
      std::tuple<char, verdict, text13>(), std::tuple<>(), std::optional<text13>(),
      std::optional<std::optional<bool>>(), std::variant<bool, long, gaps, colour>(),
      std::array<std::pair<bool, short>, 2>(), void(std::span<std::byte>),
      bool(std::span<const double>, std::span<double>), void(std::span<bool>, std::span<char>),
      colour(std::span<colour>), void(std::span<gaps>, std::span<flagged>), int(std::span<even>),
      void(std::span<text13>),
      std::optional<int>(std::string_view, std::span<std::array<bool, 3>>, std::span<long>)>(
      which, input.rest());
  return 0;
}
