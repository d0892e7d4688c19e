// A guest that throws and catches.
// SPDX-License-Identifier: MIT
#include <cstdlib>
#include <map>
#include <memory>
#include <new>
#include <stdexcept>
#include <string>
#include <typeinfo>
#include <vector>

#include <virtine/guest.hpp>

namespace {

struct base {
  virtual ~base() = default;
};
struct left : base {
  int value = 7;
};
struct right : base {};

struct counting {
  explicit counting(int& count) : count_(count) {}
  ~counting() { ++count_; }
  int& count_;
};

int depth_thrower(int depth, int& cleaned) {
  counting each(cleaned);
  if (depth == 0) throw std::out_of_range("at the bottom");
  return depth_thrower(depth - 1, cleaned) + 1;
}

// What is caught, through how many frames, and by which type.
int caught(int depth) {
  int cleaned = 0;
  try {
    return depth_thrower(depth, cleaned);
  } catch (const std::logic_error& why) {
    return cleaned * 100 + static_cast<int>(std::string(why.what()).size());
  }
}

int rethrown(int n) {
  try {
    try {
      throw n;
    } catch (int& value) {
      ++value;
      throw;
    }
  } catch (int value) {
    return value;
  }
}

int of_the_library(int at) {
  try {
    return std::vector<int>{1, 2, 3}.at(static_cast<std::size_t>(at));
  } catch (const std::exception&) {
    return -1;
  }
}

int types(int which) {
  std::unique_ptr<base> made;
  if (which == 0) {
    made = std::make_unique<left>();
  } else {
    made = std::make_unique<right>();
  }
  const base& object = *made;
  int out = typeid(object) == typeid(left) ? 100 : 200;
  if (auto* is_left = dynamic_cast<left*>(made.get())) out += is_left->value;
  try {
    static_cast<void>(dynamic_cast<right&>(*made));
  } catch (const std::bad_cast&) {
    out += 1000;
  }
  return out;
}

// Fills the heap until std::bad_alloc, gives all back, and can then have as much again.
int survives_a_full_heap() {
  int rounds = 0;
  for (int i = 0; i < 2; ++i) {
    std::vector<std::unique_ptr<char[]>> all;
    all.reserve(1000);
    try {
      while (all.size() != 1000) all.push_back(std::make_unique<char[]>(100000));
    } catch (const std::bad_alloc&) {
      rounds = rounds * 100 + static_cast<int>(all.size());
    }
  }
  return rounds;
}

std::vector<long> kept;

void throws(int n) {
  if (n != 0) throw n;
}

void leaves_noexcept(int n) noexcept {
  throws(n);
}

int not_caught(int n) {
  try {
    if (n == 0) throw std::runtime_error("of another type");
    if (n == 1) std::vector<long>(std::size_t{1} << (n + 30)).swap(kept);
    if (n == 2) leaves_noexcept(n);
    if (n == 3) std::terminate();
  } catch (const std::out_of_range&) {
    return 1;
  }
  return 0;
}

// As many variables of a function as there are calls before see each begin anew.
int fresh_after_throw() {
  static int calls = 0;
  try {
    if (++calls == 1) throw calls;
  } catch (int n) {
    return n;
  }
  return -1;
}

}  // namespace

VIRTINE_EXPORT(caught);
VIRTINE_EXPORT(rethrown);
VIRTINE_EXPORT(of_the_library);
VIRTINE_EXPORT(types);
VIRTINE_EXPORT(survives_a_full_heap);
VIRTINE_EXPORT(not_caught);
VIRTINE_EXPORT(fresh_after_throw);
