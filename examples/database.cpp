// A database that runs its users' predicates in virtual machines: row at a time, each in a state of
// its own; in batches, which share one; and by a session, which waits for the next row.
// Run: build/examples/database
// SPDX-License-Identifier: MIT
#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdio>
#include <span>
#include <vector>

#include <guests/predicate.hpp>
#include <guests/predicate/predicate.hpp>
#include <virtine/virtine.hpp>

namespace {

std::vector<order> make_orders(int count) {
  std::vector<order> orders;
  for (int i = 0; i < count; ++i) orders.push_back({.quantity = i % 97, .price = i * 31 % 5000});
  return orders;
}

// Selects rows by `select`, says how many there are and what one row took.
template <class Select>
std::vector<bool> report(const char* how, std::span<const order> orders, const Select& select) {
  const auto begin = std::chrono::steady_clock::now();
  const std::vector<bool> selected = select(orders);
  const std::chrono::duration<double, std::micro> took = std::chrono::steady_clock::now() - begin;
  std::printf("%-9s %zu of %zu rows, %.2f us a row\n", how,
              static_cast<std::size_t>(std::ranges::count(selected, true)), selected.size(),
              took.count() / static_cast<double>(orders.size()));
  return selected;
}

void run() {
  const std::vector<order> orders = make_orders(2000);
  virtine::virtine_fn<bool(order), guests::predicate> is_large;

  // A row that makes the predicate fail would fail alone.
  const auto each = report("each", orders, [&](std::span<const order> rows) {
    std::vector<bool> selected;
    for (const auto& reply : is_large.each(rows)) selected.push_back(reply.value());
    return selected;
  });

  // A row could now tell the predicate of those before it, which all belong to the same user; one
  // that fails takes all with it.
  const auto together = report("together", orders, [&](std::span<const order> rows) {
    return is_large.together(rows).value();
  });

  const auto session = report("session", orders, [&](std::span<const order> rows) {
    virtine::session waiting(is_large);
    std::vector<bool> selected;
    for (const order& row : rows) selected.push_back(waiting(row));
    return selected;
  });

  std::printf("%s\n", each == together && each == session ? "the same rows" : "different rows");
}

}  // namespace

int main() {
  try {
    run();
    return 0;
  } catch (const virtine::failure& why) {
    std::printf("%s\n", why.what());
    return why.error().code == virtine::errc::no_kvm ? 77 : 1;
  }
}

// Output:
// each      909 of 2000 rows, ... us a row
// together  909 of 2000 rows, ... us a row
// session   909 of 2000 rows, ... us a row
// the same rows
