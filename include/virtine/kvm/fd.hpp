// An owned file descriptor, and the one function through which every ioctl goes.
// Knows no particular ioctl.
// SPDX-License-Identifier: MIT
#pragma once

#include <sys/ioctl.h>
#include <unistd.h>

#include <cerrno>
#include <type_traits>
#include <utility>

#include <virtine/error.hpp>
#include <virtine/kvm/explain.hpp>
#include <virtine/kvm/uapi.hpp>
#include <virtine/result.hpp>

namespace virtine::kvm {

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

/// Makes an ioctl whose argument is a number or missing. Fails as explain() says.
inline result<int> call(int descriptor, const request<void>& what, unsigned long argument = 0) {
  // Sound: an ioctl of _IO type takes its argument by value and touches none of our memory.
  const int value = ::ioctl(descriptor, what.number, argument);
  if (value < 0) [[unlikely]]
    return explain(what.name, errno);
  return value;
}

/// Makes an ioctl whose argument is a structure. Fails as explain() says.
template <class T>
result<int> call(int descriptor, const request<T>& what, std::type_identity_t<T>& argument) {
  // Sound: `request<T>` ties the number to the structure that the kernel reads or writes for it,
  // and the argument lives until the call returns; the kernel keeps no pointer to it.
  const int value = ::ioctl(descriptor, what.number, &argument);
  if (value < 0) [[unlikely]]
    return explain(what.name, errno);
  return value;
}

namespace detail {
inline result<void> drop_value(const result<int>& made) {
  if (!made) return made.why();
  return {};
}
}  // namespace detail

}  // namespace virtine::kvm
