// A guest that uses the C and C++ libraries, one function for each part.
// SPDX-License-Identifier: MIT
#include <sys/mman.h>
#include <syslog.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <numeric>
#include <optional>
#include <ranges>
#include <set>
#include <string>
#include <string_view>
#include <unordered_map>
#include <variant>
#include <vector>

#include <virtine/guest.hpp>

namespace {

using text = virtine::bytes<256>;

text text_of(std::string_view from) {
  return text::truncated(from);
}

// Keeps the compiler from leaving out allocations whose memory nobody reads.
template <class T>
T* used(T* at) {
  asm volatile("" : "+r"(at) : : "memory");
  return at;
}

// Copies `size` bytes of a text to `distance` bytes from it, within one array; returns how many
// bytes of the array are not what they should be.
int wrong_after_copy(int size, int distance) {
  constexpr int most = 6000;
  static unsigned char bytes[3 * most];
  static unsigned char right[3 * most];
  unsigned number = 1;
  for (int i = 0; i < 3 * most; ++i) {
    number = number * 1664525 + 1013904223;
    right[i] = bytes[i] = static_cast<unsigned char>(number >> 24);
  }
  for (int i = 0; i < size; ++i) right[most + distance + i] = bytes[most + i];
  unsigned char* to = used(bytes + most + distance);
  const bool overlaps = distance < size && -distance < size;
  const void* returned = overlaps ? std::memmove(to, bytes + most, static_cast<std::size_t>(size))
                                  : std::memcpy(to, bytes + most, static_cast<std::size_t>(size));
  int wrong = returned == to ? 0 : 1;
  for (int i = 0; i < 3 * most; ++i) wrong += used(bytes)[i] == right[i] ? 0 : 1;
  return wrong;
}

// The median, by a vector that grows and is sorted.
int median(std::span<const int> numbers) {
  std::vector<int> all;
  for (int n : numbers) all.push_back(n);
  std::sort(all.begin(), all.end());
  return all.at(all.size() / 2);
}

// The words of a text and how often each is there, in order.
text count_words(std::string_view from) {
  std::map<std::string, int> counts;
  std::string word;
  for (char c : from) {
    if (c != ' ') {
      word += c;
    } else if (!word.empty()) {
      ++counts[std::exchange(word, {})];
    }
  }
  if (!word.empty()) ++counts[word];
  std::string out;
  for (const auto& [each, count] : counts) out += each + "=" + std::to_string(count) + ";";
  return text_of(out);
}

text formatted(double value, std::string_view name) {
  char buffer[200];
  std::snprintf(buffer, sizeof buffer, "%-6.*s|%08.3f|%g|%x|%5d", static_cast<int>(name.size()),
                name.data(), value, value, 255U, -42);
  return text_of(buffer);
}

double parse(std::string_view from) {
  return std::strtod(std::string(from).c_str(), nullptr);
}

text shortest(double value) {
  char buffer[64];
  const auto end = std::to_chars(buffer, buffer + sizeof buffer, value);
  double back = 0;
  const auto read = std::from_chars(buffer, end.ptr, back);
  if (read.ec != std::errc{} || back != value) return text_of("not read back");
  return text_of({buffer, static_cast<std::size_t>(end.ptr - buffer)});
}

int compare(const void* a, const void* b) {
  return std::strcmp(*static_cast<char* const*>(a), *static_cast<char* const*>(b));
}

text sort_by_c(std::string_view from) {
  std::string copy(from);
  std::vector<char*> words;
  for (char* at = std::strtok(copy.data(), ","); at != nullptr; at = std::strtok(nullptr, ",")) {
    words.push_back(at);
  }
  std::qsort(words.data(), words.size(), sizeof(char*), compare);
  std::string out;
  for (const char* word : words) out += word;
  return text_of(out);
}

// Allocates and frees blocks of many sizes and checks that none overlaps another.
int stress(int rounds) {
  struct block {
    unsigned char* at;
    std::size_t size;
    unsigned char fill;
  };
  std::vector<block> blocks;
  unsigned random = 1;
  int wrong = 0;
  for (int i = 0; i < rounds; ++i) {
    random = random * 1664525 + 1013904223;
    if (blocks.size() < 20 || (blocks.size() < 60 && (random >> 16) % 3 != 0)) {
      const std::size_t size = 1U << ((random >> 20) % 17) | (random & 15);
      auto* at = static_cast<unsigned char*>(std::malloc(size));
      if (at == nullptr) continue;
      const auto fill = static_cast<unsigned char>(random >> 8);
      std::memset(at, fill, size);
      blocks.push_back({at, size, fill});
    } else {
      const std::size_t which = (random >> 4) % blocks.size();
      block b = blocks[which];
      blocks[which] = blocks.back();
      blocks.pop_back();
      wrong += static_cast<int>(b.size) - static_cast<int>(std::count(b.at, b.at + b.size, b.fill));
      if ((random & 1) != 0) {
        b.at = static_cast<unsigned char*>(std::realloc(b.at, b.size * 2));
        if (b.at == nullptr) continue;
        wrong +=
            static_cast<int>(b.size) - static_cast<int>(std::count(b.at, b.at + b.size, b.fill));
      }
      std::free(b.at);
    }
  }
  return wrong;
}

struct shape {
  virtual ~shape() = default;
  [[nodiscard]] virtual double area() const = 0;
};
struct square final : shape {
  explicit square(double side) : side_(side) {}
  [[nodiscard]] double area() const override { return side_ * side_; }
  double side_;
};
struct disc final : shape {
  explicit disc(double radius) : radius_(radius) {}
  [[nodiscard]] double area() const override { return 3 * radius_ * radius_; }
  double radius_;
};

// Virtual functions, smart pointers, lambdas, variants, hash tables and ranges.
double objects(int n) {
  std::vector<std::unique_ptr<shape>> shapes;
  std::vector<int> sides(static_cast<std::size_t>(n));
  std::iota(sides.begin(), sides.end(), 1);
  std::ranges::reverse(sides);
  std::ranges::sort(sides);
  for (int i : sides) {
    if (i % 2 == 0) {
      shapes.push_back(std::make_unique<square>(i));
    } else {
      shapes.push_back(std::make_unique<disc>(i));
    }
  }
  std::unordered_map<int, std::variant<int, double>> table;
  std::function<void(int, double)> put = [&](int key, double value) {
    if (key % 3 == 0) {
      table[key] = static_cast<int>(value);
    } else {
      table[key] = value;
    }
  };
  int key = 0;
  for (const auto& each : shapes) put(key++, each->area());
  double sum = 0;
  for (const auto& [_, value] : table) {
    sum += std::visit([](auto v) { return static_cast<double>(v); }, value);
  }
  std::optional<std::shared_ptr<double>> held = std::make_shared<double>(std::sqrt(sum));
  return **held * std::pow(2.0, 0.5);
}

// Static objects are constructed before the snapshot, variables of functions at each first use.
std::vector<int> made_before{3, 1, 2};
int fresh() {
  static int calls = 0;
  static std::string seen = "s";
  seen += "x";
  made_before.push_back(4);
  return ++calls * 1000 + static_cast<int>(made_before.size()) * 10 + static_cast<int>(seen.size());
}

thread_local int counted = 41;
thread_local char zeros[100];
int thread_variables() {
  for (char c : zeros) counted += c;
  zeros[counted % 100] = 1;
  return ++counted;
}

int numbers_of_errors(std::string_view name) {
  errno = 0;
  std::strtol("99999999999999999999", nullptr, 10);
  if (errno != ERANGE) return -1;
  return std::string(std::strerror(errno)).find(name) == std::string::npos ? 0 : errno;
}

// How many bytes malloc gives before it gives none.
std::uint64_t heap_size(std::uint64_t piece) {
  std::uint64_t sum = 0;
  while (void* at = used(std::malloc(piece))) {
    std::memset(at, 1, piece);
    sum += piece;
  }
  return sum;
}

// Leaves a secret on the heap; or looks for one.
int secret(int leave) {
  const std::size_t size = 100000;
  auto* at = static_cast<volatile unsigned char*>(std::malloc(size));
  if (at == nullptr) return -1;
  int found = 0;
  for (std::size_t i = 0; i < size; ++i) {
    if (at[i] == 0xa5) ++found;
    if (leave != 0) at[i] = 0xa5;
  }
  return found;
}

int new_until_full() {
  while (used(new (std::nothrow) char[1 << 16]) != nullptr) {
  }
  return *used(new int[1 << 16]);
}

int recurse(int depth) {
  volatile char frame[1000];
  frame[0] = static_cast<char>(depth);
  return depth == 0 ? frame[0] : recurse(depth - 1) + frame[0];
}

int out_of_range(int at) {
  return std::vector<int>(3).at(static_cast<std::size_t>(at));
}
int throws_nobody_catches(int n) {
  if (n > 0) throw n;
  return n;
}
void aborts() {
  std::abort();
}

// Returns the sum of what was as it should be: mmap has memory and no files, and what is
// told to the system's log is lost.
int asks_of_the_system() {
  const auto map = [](int flags) { return ::mmap(nullptr, 4096, PROT_READ, flags, 3, 0); };
  errno = 0;
  int right = map(MAP_PRIVATE) == MAP_FAILED && errno == ENODEV ? 1 : 0;
  right += map(MAP_PRIVATE | MAP_ANONYMOUS) != MAP_FAILED ? 2 : 0;
  ::openlog("guest", 0, LOG_USER);
  ::syslog(LOG_ERR, "%s", "nobody hears this");
  ::closelog();
  return right + 4;
}

int waits_for_itself(bool twice) {
  static std::mutex one;
  one.lock();
  if (twice) one.lock();
  return one.try_lock() ? 1 : 0;
}

}  // namespace

VIRTINE_EXPORT(wrong_after_copy);
VIRTINE_EXPORT(median);
VIRTINE_EXPORT(count_words);
VIRTINE_EXPORT(formatted);
VIRTINE_EXPORT(parse);
VIRTINE_EXPORT(shortest);
VIRTINE_EXPORT(sort_by_c);
VIRTINE_EXPORT(stress);
VIRTINE_EXPORT(objects);
VIRTINE_EXPORT(fresh);
VIRTINE_EXPORT(thread_variables);
VIRTINE_EXPORT(numbers_of_errors);
VIRTINE_EXPORT(heap_size);
VIRTINE_EXPORT(secret);
VIRTINE_EXPORT(new_until_full);
VIRTINE_EXPORT(recurse);
VIRTINE_EXPORT(out_of_range);
VIRTINE_EXPORT(throws_nobody_catches);
VIRTINE_EXPORT(aborts);
VIRTINE_EXPORT(asks_of_the_system);
VIRTINE_EXPORT(waits_for_itself);
