// An owned file descriptor.
// SPDX-License-Identifier: MIT
#pragma once

#include <virtine/cxx20.hpp>

#include <unistd.h>

#include <utility>

namespace virtine::os {

/// Owns a file descriptor and closes it. Without one, every ioctl on it fails with EBADF.
class fd {
 public:
  fd() noexcept = default;
  explicit fd(int descriptor) noexcept : descriptor_(descriptor) {}
  fd(fd&& other) noexcept : descriptor_(std::exchange(other.descriptor_, -1)) {}
  fd& operator=(fd&& other) noexcept {
    fd old = std::move(other);
    std::swap(descriptor_, old.descriptor_);
    return *this;
  }
  ~fd() {
    if (descriptor_ >= 0) ::close(descriptor_);
  }

  /// Returns the descriptor, which stays owned; -1 if there is none.
  [[nodiscard]] int get() const noexcept { return descriptor_; }
  explicit operator bool() const noexcept { return descriptor_ >= 0; }

 private:
  int descriptor_ = -1;
};

}  // namespace virtine::os
