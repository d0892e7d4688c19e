// Which types cross the boundary, and in which direction. What a compiler cannot see into does not,
// unless somebody vouches for it.
// SPDX-License-Identifier: MIT
#include "catch.hpp"

#include <any>
#include <array>
#include <atomic>
#include <bitset>
#include <charconv>
#include <chrono>
#include <complex>
#include <coroutine>
#include <cstddef>
#include <cstdint>
#include <ctime>
#include <exception>
#include <filesystem>
#include <functional>
#include <initializer_list>
#include <iterator>
#include <limits>
#include <list>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <random>
#include <ratio>
#include <source_location>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <thread>
#include <tuple>
#include <type_traits>
#include <typeindex>
#include <utility>
#include <variant>
#include <vector>

#include <virtine/abi/checks.hpp>

using namespace virtine;
using namespace virtine::detail;

namespace {

/// What may be done with a type: pass it to a guest, have a guest return it.
template <class T>
constexpr bool goes = std::is_same_v<detail::argument_mistake<0, T>, detail::accepted>;
template <class T>
constexpr bool comes = std::is_same_v<detail::result_mistake<T>, detail::accepted>;

template <class... T>
constexpr bool both() {
  return ((goes<T> && comes<T>)&&...);
}
template <class... T>
constexpr bool neither() {
  return ((!goes<T> && !comes<T>)&&...);
}
/// Goes, but nothing says which values a guest may make of it.
template <class... T>
constexpr bool only_goes() {
  return ((goes<T> && !comes<T>)&&...);
}

struct empty {};
struct point {
  double x = 0, y = 0;
};
struct no_default {
  no_default() = delete;
  explicit no_default(int from) : value(from) {}
  int value;
};
struct run_time_default {
  run_time_default() { value = static_cast<int>(std::time(nullptr)); }
  int value;
};
class hidden {
 public:
  [[nodiscard]] int value() const { return flag_ ? value_ : 0; }

 private:
  int value_ = 0;
  bool flag_ = false;
};
struct derived : point {
  int more = 0;
};
struct with_const {
  const int value = 0;
};
struct with_array {
  int values[4][5] = {};
};
struct with_empty {
  [[no_unique_address]] empty nothing;
  int value = 0;
};
struct large {
  double values[10000];
};
enum class colour : std::uint8_t { red };
enum unchecked { zero };
enum class verdict : bool { bad, good };
enum class loose {};
struct with_enum {
  loose value{};
};
struct enum_second {
  std::chrono::seconds time{};
  loose value{};
};
struct enum_deep {
  empty nothing;
  struct {
    double values[3];
    struct {
      unchecked value;
    } inner[2];
  } more;
};
struct enum_in_base : enum_second {};
struct enum_in_array {
  std::array<loose, 3> values{};
};
struct enum_bits {
  int number : 3;
  loose value : 5;
};
struct enum_behind_others {
  std::array<std::array<char, 7>, 9> text{};
  loose value{};
};
struct enum_of_bools {
  int number;
  verdict value;
};
struct enum_before_no_default {
  loose value{};
  no_default more;
};
struct enum_among_no_defaults {
  no_default less[2];
  loose value{};
  no_default more;
};
struct no_defaults {
  no_default less[2];
  no_default more;
};
struct enum_checked {
  loose value{};
};
class enum_hidden {
 public:
  [[nodiscard]] loose value() const { return value_; }

 private:
  loose value_{};
};
struct struct_of_pair {
  std::pair<int, int> value;
};
struct struct_of_tuple {
  std::tuple<int> value;
};
struct struct_of_optional {
  std::optional<int> value;
};
struct struct_of_variant {
  std::variant<int, float> value;
};
struct int128s {
  __extension__ __int128 value;
};

struct with_pointer {
  int value;
  void* pointer;
};
struct with_const_pointer {
  const char* text = nullptr;
};
struct pointer_without_default {
  explicit pointer_without_default(int* from) : pointer(from) {}
  int* pointer;
};
class hidden_pointer {
 public:
  hidden_pointer() {}
  [[nodiscard]] bool there() const { return pointer_ != nullptr; }

 private:
  std::shared_ptr<int>* pointer_;
};
struct base_with_pointer {
  int* pointer;
};
struct derived_from_pointer : base_with_pointer {
  int value;
};
struct deep {
  derived_from_pointer inner;
};
struct with_reference {
  int& value;
};
struct with_member_pointer {
  int point::*member;
};
struct with_method {
  void (point::*method)();
};
struct with_function {
  void (*function)(int);
};
struct with_volatile {
  volatile int value;
};
struct with_null {
  std::nullptr_t nothing;
  void* something;
};
struct with_view {
  std::string_view text;
};
struct with_span {
  std::span<const int> values;
};
union bare_union {
  long integer;
  void* pointer;
};
union numbers {
  long integer;
  double real;
};
struct anonymous_union {
  union {
    long integer;
    void* pointer;
  };
};
struct nested_union {
  int kind;
  struct {
    numbers value;
  } inner;
};
struct vouched {
  numbers value;
};
union vouched_and_checked {
  std::uint8_t number;
  bool flag;
};
struct polymorphic {
  virtual ~polymorphic() = default;
};
struct polymorphic_copyable {
  virtual void call();
};
struct owner {
  owner() = default;
  owner(const owner&);
  int value;
};
struct with_owner {
  std::string text;
};

/// A struct of one T.
template <class T>
struct struct_of {
  T value;
};
/// A struct of several.
template <class T>
struct array_of {
  T values[2][3];
};
template <class T>
struct derived_from : T {
  int more;
};
template <class T>
class private_of {
 public:
  constexpr private_of() = default;
  [[nodiscard]] const T& value() const { return value_; }

 private:
  T value_{};
};
class protected_pointer {
 protected:
  int* pointer_ = nullptr;
};
class privately_derived : protected_pointer {
  [[maybe_unused]] int value_ = 0;
};
struct virtually_derived : virtual point {};
struct with_virtual {
  virtual int call() { return value; }
  int value = 0;
};
class union_without_constexpr {
 public:
  union_without_constexpr() {}

 private:
  union {
    int number_;
    void* pointer_;
  };
};
struct behind_others {
  double numbers[20];
  char text[30];
  const char* pointer;
};
struct null_pointers {
  std::nullptr_t nothing[2];
};

/// Whether each of them is refused alone, as a part, and in a struct, a base and an array.
template <class... T>
constexpr bool nowhere() {
  return (neither<T, struct_of<T>, derived_from<struct_of<T>>, array_of<T>, std::array<T, 2>,
                  struct_of<std::array<T, 2>>, std::optional<T>, std::variant<int, T>,
                  std::pair<int, T>, std::tuple<T, int>, struct_of<std::pair<T, int>>,
                  struct_of<std::optional<T>>>() &&
          ...);
}

struct alignas(64) aligned {
  float values[16];
};
struct alignas(128) overaligned {
  float values[32];
};

}  // namespace

template <>
struct virtine::valid_reply<colour> {
  static constexpr bool check(colour value) { return value == colour::red; }
};
template <>
struct virtine::valid_reply<verdict> {
  static constexpr bool check(verdict) { return true; }
};
template <>
struct virtine::valid_reply<enum_checked> {
  static constexpr bool check(enum_checked) { return true; }
};
template <>
inline constexpr bool virtine::holds_no_pointer<vouched> = true;
template <>
inline constexpr bool virtine::holds_no_pointer<vouched_and_checked> = true;
template <>
struct virtine::valid_reply<vouched_and_checked> {
  static constexpr bool check(std::span<const std::byte, 1> from) {
    return from[0] <= std::byte{1};
  }
};

TEST_CASE("numbers and what is made of them cross in both directions", "[crossing]") {
  STATIC_REQUIRE(both<bool, char, signed char, unsigned char, wchar_t, char8_t, char16_t, char32_t,
                      short, unsigned short, int, unsigned, long, unsigned long, long long,
                      unsigned long long, float, double, long double, std::byte>());
  STATIC_REQUIRE(both<std::size_t, std::ptrdiff_t, std::int8_t, std::uint64_t, std::time_t>());
  STATIC_REQUIRE(both<empty, point, no_default, hidden, derived, with_const, with_array, with_empty,
                      large, int128s, aligned>());
  STATIC_REQUIRE(both<bytes<0x10>, std::array<int, 3>, std::array<int, 0>, std::array<point, 2>,
                      std::array<std::array<bool, 2>, 3>, std::array<large, 2>>());
  STATIC_REQUIRE(both<std::complex<float>, std::complex<double>, std::array<std::complex<float>, 2>,
                      std::bitset<70>, std::monostate, std::strong_ordering, std::max_align_t>());
  STATIC_REQUIRE(both<std::chrono::seconds, std::chrono::duration<double>,
                      std::chrono::system_clock::time_point, std::chrono::steady_clock::time_point,
                      std::chrono::duration<int, std::ratio<7, 3>>>());
  STATIC_REQUIRE(both<std::filesystem::space_info, std::timespec, std::tm*>() == false);
  STATIC_REQUIRE(both<std::filesystem::space_info, std::timespec>());
  const auto lambda = [x = 1, y = 2.0] { return x + y; };
  STATIC_REQUIRE(both<std::remove_const_t<decltype(lambda)>>());
  CHECK(lambda() == 3.0);
  STATIC_REQUIRE(comes<void>);
}

TEST_CASE("an enum comes from a guest if something says which of its numbers are valid",
          "[crossing]") {
  STATIC_REQUIRE(both<colour, verdict, std::array<colour, 2>>());
  STATIC_REQUIRE(only_goes<unchecked, loose, std::array<loose, 2>, std::filesystem::perms,
                           std::filesystem::file_type, std::errc, std::align_val_t>());
}

TEST_CASE("an enum is found within a struct, too", "[crossing]") {
  STATIC_REQUIRE(only_goes<with_enum, enum_second, enum_deep, enum_in_base, enum_in_array,
                           enum_behind_others, enum_of_bools, std::array<with_enum, 2>,
                           enum_before_no_default, enum_among_no_defaults>());
  STATIC_REQUIRE(both<no_defaults>());
  // clang does not see into bit-fields.
  STATIC_REQUIRE(!comes<enum_bits>);
  STATIC_REQUIRE(both<enum_checked, std::array<enum_checked, 2>, std::optional<enum_checked>>());
  STATIC_REQUIRE(only_goes<std::pair<int, with_enum>, std::optional<enum_deep>>());
  STATIC_REQUIRE(goes<std::span<const with_enum>> && !goes<std::span<with_enum>>);
  STATIC_REQUIRE(goes<std::span<enum_checked>>);
  // Nobody finds it there.
  STATIC_REQUIRE(both<enum_hidden>());
}

TEST_CASE("pairs, tuples, optionals and variants cross if their parts do", "[crossing]") {
  STATIC_REQUIRE(both<std::pair<int, int>, std::pair<const char, long>, std::tuple<>,
                      std::tuple<int>, std::tuple<int, double, char>, std::tuple<std::tuple<int>>,
                      std::optional<int>, std::optional<bool>, std::optional<point>,
                      std::optional<std::optional<int>>, std::variant<int, float>,
                      std::variant<int, int>, std::variant<std::monostate, point>>());
  STATIC_REQUIRE(
      both<std::optional<std::pair<int, double>>, std::pair<std::optional<int>, bytes<3>>,
           std::tuple<std::chrono::seconds, std::complex<double>>, std::optional<no_default>,
           std::variant<no_default, colour>, std::array<std::pair<int, int>, 3>,
           std::array<std::optional<int>, 2>, std::array<std::array<std::tuple<bool>, 2>, 2>>());
  STATIC_REQUIRE(
      only_goes<std::optional<loose>, std::pair<int, unchecked>, std::variant<int, loose>,
                std::array<std::tuple<loose>, 2>, std::optional<vouched>>());
  STATIC_REQUIRE(both<std::optional<vouched_and_checked>>());
  STATIC_REQUIRE(
      neither<std::optional<int*>, std::pair<int, std::string>, std::tuple<int&>,
              std::pair<std::string_view, int>, std::optional<std::span<const int>>,
              std::variant<int, with_pointer>, std::tuple<numbers>, std::optional<std::error_code>,
              std::variant<int, std::vector<int>>, std::array<std::pair<int, char*>, 2>,
              std::tuple<int, volatile int>, std::tuple<char, overaligned>>());
  STATIC_REQUIRE(neither<struct_of_pair, struct_of_tuple, struct_of_optional, struct_of_variant>());
  STATIC_REQUIRE(neither<std::span<std::pair<int, int>>, std::span<const std::optional<int>>,
                         std::span<std::array<std::variant<int>, 2>>>());
  STATIC_REQUIRE(goes<std::span<const std::complex<float>>> &&
                 goes<std::span<std::chrono::seconds>> &&
                 goes<std::span<const std::array<int, 2>>>);
}

TEST_CASE("each mistake is named by the part that it is in", "[crossing]") {
  using namespace virtine::detail;
  STATIC_REQUIRE(std::is_same_v<argument_mistake<3, std::pair<int, std::optional<int*>>>,
                                pointer_argument<3, int*>>);
  STATIC_REQUIRE(std::is_same_v<argument_mistake<0, std::tuple<int, std::string, int*>>,
                                owning_argument<0, std::string>>);
  STATIC_REQUIRE(std::is_same_v<argument_mistake<1, std::optional<with_pointer>>,
                                pointer_member<1, with_pointer>>);
  STATIC_REQUIRE(std::is_same_v<argument_mistake<0, std::span<std::optional<int>>>,
                                composite_element<0, std::span<std::optional<int>>>>);
  STATIC_REQUIRE(
      std::is_same_v<result_mistake<std::pair<int, std::string>>, reference_result<std::string>>);
  STATIC_REQUIRE(std::is_same_v<result_mistake<std::variant<int, loose>>, unchecked_enum<loose>>);
  STATIC_REQUIRE(
      std::is_same_v<result_mistake<std::tuple<with_enum>>, unchecked_enum_member<with_enum>>);
  STATIC_REQUIRE(std::is_same_v<result_mistake<overaligned>, overaligned_argument<0, overaligned>>);
}

TEST_CASE("nothing with a pointer in it crosses, wherever it is", "[crossing]") {
  STATIC_REQUIRE(neither<int*, const void*, std::nullptr_t, int point::*, void (*)(), char**>());
  STATIC_REQUIRE(neither<int&, const point&, std::span<int, 4>>());
  STATIC_REQUIRE(
      neither<with_pointer, with_const_pointer, pointer_without_default, hidden_pointer,
              base_with_pointer, derived_from_pointer, deep, with_reference, with_member_pointer,
              with_method, with_function, with_null, with_view, with_span, polymorphic_copyable>());
  int local = 0;
  const auto lambda = [&local] { return local; };
  STATIC_REQUIRE(neither<std::remove_const_t<decltype(lambda)>>());
  CHECK(lambda() == 0);
  STATIC_REQUIRE(neither<std::array<int*, 2>, std::array<with_pointer, 2>,
                         std::array<std::array<with_pointer, 2>, 2>, std::array<char*, 1>>());
  STATIC_REQUIRE(neither<std::error_code, std::error_condition, std::reference_wrapper<int>,
                         std::type_index, std::initializer_list<int>, std::tm>());
  STATIC_REQUIRE(neither<std::reverse_iterator<int*>, std::vector<int>::iterator,
                         std::filesystem::directory_iterator>());
  STATIC_REQUIRE(neither<std::span<with_pointer>, std::span<std::error_code>,
                         std::span<std::string_view>, std::span<int*>>());
  STATIC_REQUIRE(!goes<std::span<const with_pointer>> && !goes<std::span<const std::error_code>>);
}

TEST_CASE("nothing hides a pointer", "[crossing]") {
  STATIC_REQUIRE(nowhere<int*, const char*, void (*)(), int point::*, void (point::*)(),
                         with_pointer, hidden_pointer, bare_union, anonymous_union>());
  STATIC_REQUIRE(
      nowhere<std::error_code, std::error_condition, std::function<void()>,
              std::reference_wrapper<int>, std::type_index, std::exception_ptr, std::thread::id>());
  STATIC_REQUIRE(nowhere<std::vector<int>::iterator, std::list<int>::iterator,
                         std::map<int, int>::const_iterator, std::reverse_iterator<int*>,
                         std::move_iterator<int*>, std::span<int>::iterator>());
  STATIC_REQUIRE(nowhere<std::atomic<int*>, std::coroutine_handle<>, std::from_chars_result,
                         std::shared_ptr<int>, std::weak_ptr<int>, std::vector<int>, std::string,
                         std::map<int, int>, std::any, std::filesystem::path>());
#ifdef __cpp_lib_source_location
  STATIC_REQUIRE(nowhere<std::source_location>());
#endif
  STATIC_REQUIRE(
      neither<struct_of<std::unique_ptr<int>>, struct_of<std::mutex>, struct_of<std::string_view>,
              struct_of<std::span<const int>>, array_of<std::string_view>,
              array_of<std::span<const int>>, std::optional<std::string_view>>());
  STATIC_REQUIRE(neither<private_of<int*>, private_of<with_pointer>, private_of<std::string_view>,
                         protected_pointer, privately_derived, union_without_constexpr,
                         struct_of<union_without_constexpr>>());
  STATIC_REQUIRE(neither<with_virtual, struct_of<with_virtual>, virtually_derived,
                         struct_of<virtually_derived>, derived_from<with_virtual>>());
  STATIC_REQUIRE(neither<behind_others, null_pointers, array_of<behind_others>>());
#ifdef __clang__
  // g++ does not see it: neither the pointers of an array nor private members.
  STATIC_REQUIRE(neither<private_of<std::array<int*, 2>>>());
#endif
  int local = 0;
  const auto copying = [pointer = &local] { return *pointer; };
  const auto functions = [first = std::plus<int>(), second = &local] { return first(*second, 1); };
  STATIC_REQUIRE(neither<std::remove_const_t<decltype(copying)>,
                         struct_of<std::remove_const_t<decltype(functions)>>>());
  CHECK(copying() + functions() == 1);
  // The same shapes, without pointers.
  STATIC_REQUIRE(
      both<struct_of<int>, derived_from<struct_of<int>>, array_of<int>,
           struct_of<std::array<point, 2>>, private_of<double>, array_of<hidden>,
           array_of<std::chrono::seconds>, struct_of<bytes<8>>, struct_of<no_default>>());
}

TEST_CASE("what cannot be seen into does not cross unless somebody vouches for it", "[crossing]") {
  STATIC_REQUIRE(neither<bare_union, numbers, anonymous_union, nested_union, with_volatile>());
  STATIC_REQUIRE(neither<run_time_default, std::minstd_rand>());
  STATIC_REQUIRE(neither<std::array<numbers, 2>>());
  STATIC_REQUIRE(neither<std::atomic<int>, std::atomic<int*>, std::atomic_flag>());
  STATIC_REQUIRE(only_goes<vouched, std::array<vouched, 2>>());
  STATIC_REQUIRE(goes<std::span<const vouched>> && !goes<std::span<vouched>>);
  STATIC_REQUIRE(both<vouched_and_checked, std::array<vouched_and_checked, 2>>());
  STATIC_REQUIRE(goes<std::span<vouched_and_checked>>);
}

TEST_CASE("what is more than its bytes does not cross", "[crossing]") {
  STATIC_REQUIRE(neither<polymorphic, owner, with_owner, std::string, std::vector<int>,
                         std::map<int, int>, std::unique_ptr<int>, std::shared_ptr<int>,
                         std::function<void()>, std::thread, std::optional<std::string>>());
  STATIC_REQUIRE(neither<std::span<std::string>, overaligned>());
}
