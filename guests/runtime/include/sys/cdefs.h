// The macros of declarations, which musl does not have. They say no more than a declaration does
// without them.
// Must not know guests.
// SPDX-License-Identifier: MIT
#pragma once

#ifdef __cplusplus
#define __BEGIN_DECLS extern "C" {
#define __END_DECLS }
#define __THROW noexcept(true)
#define __THROWNL noexcept(true)
#define __NTH(function) function noexcept(true)
#define __NTHNL(function) function noexcept(true)
#else
#define __BEGIN_DECLS
#define __END_DECLS
#define __THROW
#define __THROWNL
#define __NTH(function) function
#define __NTHNL(function) function
#endif

#define __P(parameters) parameters
#define __PMT(parameters) parameters
#define __CONCAT(left, right) left##right
#define __STRING(text) #text
#define __ptr_t void*
#define __wur
#define __nonnull(parameters)
#define __returns_nonnull
#define __restrict_arr
#define __flexarr []
#define __LEAF
#define __LEAF_ATTR
#define __attribute_malloc__
#define __attribute_alloc_size__(parameters)
#define __attribute_pure__
#define __attribute_const__
#define __attribute_used__
#define __attribute_noinline__
#define __attribute_deprecated__
#define __attribute_deprecated_msg__(text)
#define __attribute_format_arg__(number)
#define __attribute_format_strfmon__(format, first)
#define __attribute_nonnull__(parameters)
#define __attribute_returns_twice__
#define __attribute_warn_unused_result__
#define __attr_access(parameters)
#define __attr_dealloc(function, number)
#define __attr_dealloc_free
#define __attr_dealloc_fclose
#define __glibc_likely(value) __builtin_expect((value), 1)
#define __glibc_unlikely(value) __builtin_expect((value), 0)

// What else glibc's features.h tells its headers.
#define __GNUC_PREREQ(major, minor) ((__GNUC__ << 16) + __GNUC_MINOR__ >= ((major) << 16) + (minor))
#define __glibc_clang_prereq(major, minor) \
  ((__clang_major__ << 16) + __clang_minor__ >= ((major) << 16) + (minor))
#define __GLIBC_USE(feature) 0
