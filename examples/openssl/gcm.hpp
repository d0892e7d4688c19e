// AES-128-GCM: the order of its steps; a guest does each of them.
// SPDX-License-Identifier: MIT
#pragma once

#include <openssl/evp.h>
#include <openssl/rand.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstring>

#include "context.hpp"

namespace provider {

class gcm : public context {
  static constexpr std::size_t tag_max = 16;
  static constexpr std::size_t iv_max = 128;

 public:
  static constexpr traits constants{EVP_CIPH_GCM_MODE, 1, 12, true};
  inline static const OSSL_PARAM gettable[] = {
      OSSL_PARAM_size_t(OSSL_CIPHER_PARAM_KEYLEN, nullptr),
      OSSL_PARAM_size_t(OSSL_CIPHER_PARAM_IVLEN, nullptr),
      OSSL_PARAM_size_t(OSSL_CIPHER_PARAM_AEAD_TAGLEN, nullptr),
      OSSL_PARAM_octet_string(OSSL_CIPHER_PARAM_IV, nullptr, 0),
      OSSL_PARAM_octet_string(OSSL_CIPHER_PARAM_UPDATED_IV, nullptr, 0),
      OSSL_PARAM_octet_string(OSSL_CIPHER_PARAM_AEAD_TAG, nullptr, 0),
      OSSL_PARAM_size_t(OSSL_CIPHER_PARAM_AEAD_TLS1_AAD_PAD, nullptr),
      OSSL_PARAM_END};
  inline static const OSSL_PARAM settable[] = {
      OSSL_PARAM_size_t(OSSL_CIPHER_PARAM_IVLEN, nullptr),
      OSSL_PARAM_octet_string(OSSL_CIPHER_PARAM_AEAD_TAG, nullptr, 0), OSSL_PARAM_END};

  using context::context;

  bool init(bool encrypts, const unsigned char* key, const unsigned char* iv, std::size_t iv_size) {
    set_direction(encrypts);
    if (iv != nullptr) {
      if (iv_size == 0 || iv_size > iv_max) return fail(reason::usage, "no IV can be so long");
      std::memcpy(iv_.data(), iv, iv_size);
      iv_size_ = iv_size;
      state_ = state::given;
    }
    if (key == nullptr) return true;
    std::array<unsigned char, cipher::key_size> text;
    std::memcpy(text.data(), key, text.size());
    if (state_ == state::begun) state_ = state::given;
    return set_key(operation::gcm_key, as_bytes(text.data(), text.size()));
  }

  bool update(unsigned char* out, std::size_t& out_size, std::size_t room, const unsigned char* in,
              std::size_t in_size) {
    out_size = 0;
    if (in_size == 0) return true;
    if (in == nullptr) return finish(out, out_size, room);
    return once(out, out_size, room, in, in_size);
  }

  bool finish(unsigned char*, std::size_t& out_size, std::size_t) {
    out_size = 0;
    if (!begin()) return false;
    if (!encrypts() && tag_size_ == 0) return fail(reason::usage, "there is no tag to compare");
    std::array<unsigned char, tag_max> tag{};
    const bool made = run(operation::gcm_tag, as_bytes(tag.data(), tag.size()));
    state_ = state::used;
    if (!made) return false;
    if (encrypts()) {
      tag_ = tag;
      tag_size_ = tag_max;
      return true;
    }
    const bool right = CRYPTO_memcmp(tag.data(), tag_.data(), tag_size_) == 0;
    OPENSSL_cleanse(tag.data(), tag.size());  // That of a message that nobody else could make.
    return right || fail(reason::bad_tag, "the message is not as it was encrypted");
  }

  /// Authenticates what has no place to go to, and ends the message if there is no text, as
  /// OpenSSL's own does; `out_size` is `in_size` in any case.
  bool once(unsigned char* out, std::size_t& out_size, std::size_t room, const unsigned char* in,
            std::size_t in_size) {
    out_size = 0;
    if (in == nullptr) {
      if (!finish(out, out_size, room)) return false;
    } else if (!begin()) {
      return false;
    } else if (out == nullptr) {
      if (!authenticate(in, in_size)) return false;
    } else if (in_size > room) {
      return fail(reason::usage, "no room for the output");
    } else if (in_size != 0) {
      has_text_ = true;
      if (out != in) std::memmove(out, in, in_size);
      const auto what = encrypts() ? operation::gcm_encrypt : operation::gcm_decrypt;
      if (!run(what, as_bytes(out, in_size))) return false;
    }
    out_size = in_size;
    return true;
  }

  bool get(OSSL_PARAM* wanted) const {
    for (; wanted != nullptr && wanted->key != nullptr; ++wanted) {
      if (!get_one(*wanted)) return false;
    }
    return true;
  }

  bool set(const OSSL_PARAM* given) {
    if (given == nullptr) return true;
    if (const auto* const its = OSSL_PARAM_locate_const(given, OSSL_CIPHER_PARAM_AEAD_TAG)) {
      std::array<unsigned char, tag_max> tag{};
      void* to = tag.data();
      std::size_t size = 0;
      if (!expect_parameter(OSSL_PARAM_get_octet_string(its, &to, tag.size(), &size))) return false;
      if (encrypts() || size == 0) {
        return fail(reason::usage, "a tag is of 1 to 16 bytes, and given to decrypt");
      }
      std::copy_n(tag.begin(), size, tag_.begin());
      tag_size_ = size;
    }
    if (const auto* const its = OSSL_PARAM_locate_const(given, OSSL_CIPHER_PARAM_IVLEN)) {
      std::size_t size = 0;
      if (!expect_parameter(OSSL_PARAM_get_size_t(its, &size))) return false;
      if (size == 0 || size > iv_max) return fail(reason::usage, "no IV can be so long");
      if (size != iv_size_ && state_ != state::none) state_ = state::used;  // It is no IV now.
      iv_size_ = size;
    }
    for (const char* name : {OSSL_CIPHER_PARAM_AEAD_TLS1_AAD, OSSL_CIPHER_PARAM_AEAD_TLS1_IV_FIXED,
                             OSSL_CIPHER_PARAM_AEAD_TLS1_SET_IV_INV}) {
      if (OSSL_PARAM_locate_const(given, name) != nullptr) {
        return fail(reason::usage, "there is no TLS before 1.3");
      }
    }
    return true;
  }

 private:
  /// What becomes of the IV. A guest gets it with the first text, as its size may yet be set.
  enum class state { none, given, begun, used };

  bool begin() {
    if (!has_key()) return fail(reason::usage, "there is no key");
    // One IV must not serve for two messages.
    if (state_ == state::used) return fail(reason::usage, "the IV was used, or is of another size");
    if (state_ == state::none && !make_iv()) return false;
    if (state_ == state::begun) return true;
    auto text = iv_;
    if (!run(operation::gcm_iv, as_bytes(text.data(), iv_size_))) return false;
    state_ = state::begun;
    has_text_ = false;
    return true;
  }

  /// Makes an IV at random, if one is needed to encrypt and nobody gave one.
  bool make_iv() {
    constexpr std::size_t least = 12;  // Of fewer bytes two could be the same.
    if (!encrypts() || iv_size_ < least ||
        RAND_bytes(iv_.data(), static_cast<int>(iv_size_)) <= 0) {
      return fail(reason::usage, "there is no IV");
    }
    state_ = state::given;
    return true;
  }

  bool authenticate(const unsigned char* in, std::size_t size) {
    if (has_text_) return fail(reason::usage, "authenticated data comes before the text");
    std::array<unsigned char, 4096> part;
    while (size != 0) {
      const std::size_t next = std::min(size, part.size());
      std::memcpy(part.data(), in, next);
      if (!run(operation::gcm_aad, as_bytes(part.data(), next))) return false;
      in += next;
      size -= next;
    }
    return true;
  }

  bool get_one(OSSL_PARAM& wanted) const {
    const std::string_view name = wanted.key;
    if (name == OSSL_CIPHER_PARAM_KEYLEN) {
      return expect_parameter(OSSL_PARAM_set_size_t(&wanted, cipher::key_size));
    }
    if (name == OSSL_CIPHER_PARAM_IVLEN)
      return expect_parameter(OSSL_PARAM_set_size_t(&wanted, iv_size_));
    if (name == OSSL_CIPHER_PARAM_AEAD_TAGLEN) {
      return expect_parameter(OSSL_PARAM_set_size_t(&wanted, tag_size_ != 0 ? tag_size_ : tag_max));
    }
    if (name == OSSL_CIPHER_PARAM_IV || name == OSSL_CIPHER_PARAM_UPDATED_IV) {
      if (state_ == state::none) return fail(reason::usage, "there is no IV");
      if (wanted.data_size < iv_size_) return fail(reason::usage, "the IV is longer");
      return expect_parameter(set_octets(&wanted, iv_.data(), iv_size_));
    }
    if (name == OSSL_CIPHER_PARAM_AEAD_TAG) {
      const bool possible =
          encrypts() && tag_size_ != 0 && wanted.data_size <= tag_max && wanted.data_size != 0;
      if (!possible) return fail(reason::usage, "there is no tag yet, or none so long");
      return expect_parameter(OSSL_PARAM_set_octet_string(&wanted, tag_.data(), wanted.data_size));
    }
    if (name == OSSL_CIPHER_PARAM_AEAD_TLS1_AAD_PAD)
      return expect_parameter(OSSL_PARAM_set_size_t(&wanted, 0));
    if (name == OSSL_CIPHER_PARAM_AEAD_TLS1_GET_IV_GEN) {
      return fail(reason::usage, "there is no TLS before 1.3");
    }
    return true;
  }

  state state_ = state::none;
  bool has_text_ = false;
  std::array<unsigned char, iv_max> iv_{};
  std::size_t iv_size_ = constants.iv_size;
  std::array<unsigned char, tag_max> tag_{};  // The last that was made or given,
  std::size_t tag_size_ = 0;                  // and how much of it; 0: there is none.
};

}  // namespace provider
