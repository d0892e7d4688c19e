// The shared library libvirtine: the C interface, and nothing else that others could see.
// SPDX-License-Identifier: MIT
#include <virtine/c/virtine.hpp>
