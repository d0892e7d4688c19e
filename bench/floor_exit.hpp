// A bare KVM_RUN to compare with: one floor machine, checked. Must not be used where errors are to
// be told rather than to end the program.
// SPDX-License-Identifier: MIT
#pragma once

#include "floor.hpp"
#include "harness.hpp"

namespace bench {

/// A floor machine of its own; called, it enters its guest once and waits until that leaves.
class floor_exit {
 public:
  floor_exit() { check(floor_create(&guest(), &machine_) == 0, "floor machine"); }
  ~floor_exit() { floor_destroy(&guest(), &machine_); }
  floor_exit(const floor_exit&) = delete;
  floor_exit& operator=(const floor_exit&) = delete;

  void operator()() const { check(floor_run(&machine_) == 0, "floor exit"); }

 private:
  static const floor_guest& guest() {
    static const floor_guest made = [] {
      floor_guest prepared;
      check(floor_prepare(&prepared) == 0, "the floor guest cannot be made");
      return prepared;
    }();
    return made;
  }

  floor_machine machine_;
};

}  // namespace bench
