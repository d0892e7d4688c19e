// VIRTINE_EXPORT: makes a function callable from the host, by an entry that takes its arguments
// from the call frame, and a record of its name and signature for virtine-cc. VIRTINE_INIT: makes a
// function run once, before the snapshot.
// Must not know the host's side of the frame, nor how an entry is reached. Freestanding.
// SPDX-License-Identifier: MIT
#pragma once

#include <array>
#include <cstddef>
#include <new>
#include <string_view>
#include <type_traits>
#include <utility>

#include <virtine/abi/composite.hpp>
#include <virtine/abi/frame.hpp>
#include <virtine/abi/signature.hpp>

namespace virtine::detail {

// noexcept is part of a function's type but not of its signature.
template <class R, class... A>
auto signature_of(R (*)(A...)) -> R (*)(A...);

/// The plain signature of a function.
template <auto Function>
using signature_of_t = std::remove_pointer_t<decltype(signature_of(Function))>;

/// Reads an argument of type A from its slot in a call frame.
template <class A>
[[gnu::always_inline]] inline A read_argument(std::byte* slot) {
  if constexpr (is_sequence<A>) {
    using element = sequence_element_t<A>;
    // Sound: the host wrote a sequence_reference at this offset, which frame<Sig> aligns for it.
    const auto reference = *std::launder(reinterpret_cast<const sequence_reference*>(slot));
    // Sound: the host put `count` elements there, aligned for their trivially copyable type.
    return A(reinterpret_cast<element*>(reference.address), reference.count);
  } else if constexpr (is_composite<A>) {
    return take<A>(slot);
  } else {
    // Sound: the host wrote the bytes of a trivially copyable A here, aligned by frame<Sig>.
    return *std::launder(reinterpret_cast<A*>(slot));
  }
}

template <auto Function, class Sig = signature_of_t<Function>>
struct entry;

template <auto Function, class R, class... A>
struct entry<Function, R(A...)> {
  /// Calls the function with the arguments in `call_frame` and leaves its result there.
  [[gnu::always_inline]] static void run(std::byte* call_frame) {
    run(call_frame, std::index_sequence_for<A...>{});
  }

 private:
  template <std::size_t... I>
  [[gnu::always_inline]] static void run([[maybe_unused]] std::byte* call_frame,
                                         std::index_sequence<I...>) {
    using its = frame<R(A...)>;
    if constexpr (std::is_void_v<R>) {
      Function(read_argument<A>(call_frame + its::offsets[I])...);
    } else if constexpr (is_composite<R>) {
      put(call_frame + its::result_offset,
          Function(read_argument<A>(call_frame + its::offsets[I])...), write_part);
    } else {
      ::new (static_cast<void*>(call_frame + its::result_offset))
          R(Function(read_argument<A>(call_frame + its::offsets[I])...));
    }
  }
};

/// Returns the export record of a function: its name and its signature, each ended by a zero.
template <auto Function, std::size_t N>
consteval auto export_record(const char (&name)[N]) {
  constexpr std::string_view text = signature<signature_of_t<Function>>;
  std::array<char, N + text.size() + 1> record{};
  std::size_t at = 0;
  for (char c : name) record[at++] = c;
  for (char c : text) record[at++] = c;
  return record;
}

}  // namespace virtine::detail

/// Exports a function, given by its unqualified name, which becomes its name on the host:
/// `VIRTINE_EXPORT(square);` makes guests::IMAGE::square. Once per function, in one source file.
/// Its types are checked as those of a virtine_fn are.
#define VIRTINE_EXPORT(function) VIRTINE_EXPORT_AS(function, function)

/// Exports a function under another name.
#define VIRTINE_EXPORT_AS(function, exported) VIRTINE_EXPORT_POINTER(&function, exported)

#define VIRTINE_EXPORT_POINTER(pointer, exported)                                        \
  extern "C" void virtine_entry_##exported(std::byte* call_frame);                       \
  extern "C" void virtine_entry_##exported(std::byte* call_frame) {                      \
    ::virtine::detail::entry<pointer>::run(call_frame);                                  \
  }                                                                                      \
  [[gnu::used,                                                                           \
    gnu::section(".virtine.exports")]] static constexpr auto virtine_export_##exported = \
      ::virtine::detail::export_record<pointer>(#exported)

/// Names the function that runs once, before the snapshot that every call of the image begins with,
/// and after the constructors of static objects: `VIRTINE_INIT(prepare);`. What it leaves in
/// variables is there in every call. It takes and returns nothing, may make no hypercall, and has
/// ten seconds. Once per image.
#define VIRTINE_INIT(function)                                                               \
  static_assert(std::is_same_v<::virtine::detail::signature_of_t<&function>, void()>,        \
                "VIRTINE_INIT names a function that takes arguments or returns something."); \
  extern "C" void virtine_initialiser();                                                     \
  extern "C" void virtine_initialiser() {                                                    \
    function();                                                                              \
  }                                                                                          \
  static_assert(true)
