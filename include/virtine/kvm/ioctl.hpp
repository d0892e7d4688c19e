// The one function through which every ioctl goes. Knows no particular ioctl.
// SPDX-License-Identifier: MIT
#pragma once

#include <sys/ioctl.h>

#include <cerrno>
#include <type_traits>

#include <virtine/kvm/uapi.hpp>
#include <virtine/os/error_text.hpp>
#include <virtine/result.hpp>

namespace virtine::kvm {

/// Makes an ioctl whose argument is a number or missing. Fails as os::explain() says.
inline result<int> call(int descriptor, const request<void>& what, unsigned long argument = 0) {
  // Sound: an ioctl of _IO type takes its argument by value and touches none of our memory.
  const int value = ::ioctl(descriptor, what.number, argument);
  if (value < 0) [[unlikely]]
    return os::explain(what.name, errno);
  return value;
}

/// Makes an ioctl whose argument is a structure. Fails as os::explain() says.
template <class T>
result<int> call(int descriptor, const request<T>& what, std::type_identity_t<T>& argument) {
  // Sound: `request<T>` ties the number to the structure that the kernel reads or writes for it,
  // and the argument lives until the call returns; the kernel keeps no pointer to it.
  const int value = ::ioctl(descriptor, what.number, &argument);
  if (value < 0) [[unlikely]]
    return os::explain(what.name, errno);
  return value;
}

/// Returns whether a call succeeded whose value says nothing.
inline result<void> drop_value(const result<int>& made) {
  if (!made) return made.error();
  return {};
}
}  // namespace virtine::kvm
