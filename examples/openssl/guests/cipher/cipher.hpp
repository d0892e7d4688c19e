// What the provider and its guest share: the operations of a cipher, and its sealed state.
// SPDX-License-Identifier: MIT
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace cipher {

inline constexpr std::size_t block_size = 16;
inline constexpr std::size_t key_size = 16;
using block = std::array<std::byte, block_size>;

/// What a guest does with the text of a call, which is changed in place.
enum class operation : std::uint32_t {
  cbc_key,      ///< The text is a key and an IV. The guest overwrites the key with zeros.
  cbc_iv,       ///< The text is an IV.
  cbc_encrypt,  ///< The text is whole blocks, as in the next.
  cbc_decrypt,
  gcm_key,  ///< The text is a key. The guest overwrites it with zeros.
  gcm_iv,   ///< The text is an IV of any size but 0. Begins a message.
  gcm_aad,  ///< The text is authenticated, and comes before any other of its message.
  gcm_encrypt,
  gcm_decrypt,
  gcm_tag,  ///< The text, of 16 bytes, becomes the tag. Ends a message.
  seal,     ///< The text becomes the sealed state of this context.
  unseal,   ///< The text is such a state, to be that of this context.
};

/// A context between two calls, as the host may have it. The secret is encrypted and authenticated
/// (RFC 3394) with a key that the guest drew before its snapshot and hands to nobody.
struct sealed_state {
  std::array<std::byte, 72> secret{};  ///< CBC: the key. GCM: all that a context is.
  block chain{};                       ///< CBC: the IV or the last ciphertext block.
};

}  // namespace cipher
