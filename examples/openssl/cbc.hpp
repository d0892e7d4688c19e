// AES-128-CBC: blocks are put together, and padded, on the host's side; a guest does whole ones.
// SPDX-License-Identifier: MIT
#pragma once

#include <openssl/evp.h>

#include <array>
#include <cstddef>
#include <cstring>
#include <string_view>

#include "context.hpp"

namespace provider {

class cbc : public context {
  static constexpr std::size_t block = cipher::block_size;

 public:
  static constexpr traits constants{EVP_CIPH_CBC_MODE, block, block, false};
  inline static const OSSL_PARAM gettable[] = {
      OSSL_PARAM_size_t(OSSL_CIPHER_PARAM_KEYLEN, nullptr),
      OSSL_PARAM_size_t(OSSL_CIPHER_PARAM_IVLEN, nullptr),
      OSSL_PARAM_uint(OSSL_CIPHER_PARAM_PADDING, nullptr),
      OSSL_PARAM_uint(OSSL_CIPHER_PARAM_NUM, nullptr),
      OSSL_PARAM_octet_string(OSSL_CIPHER_PARAM_IV, nullptr, 0),
      OSSL_PARAM_octet_string(OSSL_CIPHER_PARAM_UPDATED_IV, nullptr, 0),
      OSSL_PARAM_END};
  inline static const OSSL_PARAM settable[] = {OSSL_PARAM_uint(OSSL_CIPHER_PARAM_PADDING, nullptr),
                                               OSSL_PARAM_uint(OSSL_CIPHER_PARAM_NUM, nullptr),
                                               OSSL_PARAM_END};

  using context::context;
  ~cbc() { OPENSSL_cleanse(held_.data(), held_.size()); }

  bool init(bool encrypts, const unsigned char* key, const unsigned char* iv, std::size_t iv_size) {
    set_direction(encrypts);
    held_size_ = 0;
    number_ = 0;
    if (iv != nullptr) {
      if (iv_size != block) return fail(reason::usage, "the IV is not of 16 bytes");
      std::memcpy(iv_.data(), iv, block);
      has_iv_ = true;
    }
    if (has_iv_) chain_ = iv_;
    if (key == nullptr && !has_key()) return true;
    std::array<unsigned char, cipher::key_size + block> text;
    if (key == nullptr) {
      std::memcpy(text.data(), chain_.data(), block);
      return run(operation::cbc_iv, as_bytes(text.data(), block));
    }
    std::memcpy(text.data(), key, cipher::key_size);
    std::memcpy(text.data() + cipher::key_size, chain_.data(), block);
    return set_key(operation::cbc_key, as_bytes(text.data(), text.size()));
  }

  bool update(unsigned char* out, std::size_t& out_size, std::size_t room, const unsigned char* in,
              std::size_t in_size) {
    out_size = 0;
    if (!has_key()) return fail(reason::usage, "there is no key");
    std::size_t size = (held_size_ + in_size) / block * block;
    // The last block may be padding, so that only the end will tell what of it is text.
    if (!encrypts() && pads_ && size != 0 && size == held_size_ + in_size) size -= block;
    if (size > room || (size != 0 && out == nullptr)) {
      return fail(reason::usage, "no room for the output");
    }
    if (in_size != 0 && in == nullptr) return fail(reason::usage, "there is no text");
    if (size == 0) {
      hold(held_size_, in, in_size);
      return true;
    }
    // `out` may be `in`: what is to be held comes away before anything is moved.
    const std::size_t taken = size - held_size_;
    decltype(held_) rest;
    if (in_size != 0) {  // Else `in` may be null.
      std::memcpy(rest.data(), in + taken, in_size - taken);
      std::memmove(out + held_size_, in, taken);
    }
    std::memcpy(out, held_.data(), held_size_);
    hold(0, rest.data(), in_size - taken);
    if (!crypt(out, size)) return false;
    out_size = size;
    return true;
  }

  bool finish(unsigned char* out, std::size_t& out_size, std::size_t room) {
    out_size = 0;
    if (!has_key()) return fail(reason::usage, "there is no key");
    if (!pads_ && held_size_ == 0) return true;
    if (encrypts()) {
      if (!pads_) return fail(reason::usage, "the text is not of whole blocks");
      if (room < block) return fail(reason::usage, "no room for the output");
      const std::size_t padding = block - held_size_;
      std::memset(held_.data() + held_size_, static_cast<int>(padding), padding);
      std::memcpy(out, held_.data(), block);
      held_size_ = 0;
      if (!crypt(out, block)) return false;
      out_size = block;
      return true;
    }
    if (held_size_ != block) return fail(reason::usage, "the text is not of whole blocks");
    if (!crypt(held_.data(), block)) return false;
    const std::size_t padding = pads_ ? held_[block - 1] : 0;
    bool right = padding <= block && (padding != 0 || !pads_);
    for (std::size_t i = 1; right && i < padding; ++i) right = held_[block - 1 - i] == padding;
    if (!right) return fail(reason::bad_decrypt, "the padding is not right");
    if (room < block - padding) return fail(reason::usage, "no room for the output");
    std::memcpy(out, held_.data(), block - padding);
    held_size_ = 0;
    out_size = block - padding;
    return true;
  }

  /// Does whole blocks, without padding.
  bool once(unsigned char* out, std::size_t& out_size, std::size_t room, const unsigned char* in,
            std::size_t in_size) {
    out_size = 0;
    if (!has_key()) return fail(reason::usage, "there is no key");
    if (room < in_size) return fail(reason::usage, "no room for the output");
    if (in_size % block != 0) return fail(reason::usage, "the text is not of whole blocks");
    if (in_size != 0) {
      if (in == nullptr || out == nullptr) return fail(reason::usage, "there is no text");
      std::memmove(out, in, in_size);
      if (!crypt(out, in_size)) return false;
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
    // To ignore what a cipher of TLS before 1.3 is to do would be to do something else.
    if (OSSL_PARAM_locate_const(given, OSSL_CIPHER_PARAM_TLS_VERSION) != nullptr) {
      return fail(reason::usage, "there is no TLS before 1.3");
    }
    unsigned value = 0;
    if (const auto* const its = OSSL_PARAM_locate_const(given, OSSL_CIPHER_PARAM_PADDING)) {
      if (!expect_parameter(OSSL_PARAM_get_uint(its, &value))) return false;
      pads_ = value != 0;
    }
    if (const auto* const its = OSSL_PARAM_locate_const(given, OSSL_CIPHER_PARAM_NUM)) {
      if (!expect_parameter(OSSL_PARAM_get_uint(its, &value) != 0 && value < block)) return false;
      number_ = value;
    }
    return true;
  }

 private:
  bool get_one(OSSL_PARAM& wanted) const {
    const std::string_view name = wanted.key;
    if (name == OSSL_CIPHER_PARAM_KEYLEN) {
      return expect_parameter(OSSL_PARAM_set_size_t(&wanted, cipher::key_size));
    }
    if (name == OSSL_CIPHER_PARAM_IVLEN)
      return expect_parameter(OSSL_PARAM_set_size_t(&wanted, block));
    if (name == OSSL_CIPHER_PARAM_PADDING)
      return expect_parameter(OSSL_PARAM_set_uint(&wanted, pads_));
    if (name == OSSL_CIPHER_PARAM_NUM)
      return expect_parameter(OSSL_PARAM_set_uint(&wanted, number_));
    if (name == OSSL_CIPHER_PARAM_IV)
      return expect_parameter(set_octets(&wanted, iv_.data(), block));
    if (name == OSSL_CIPHER_PARAM_UPDATED_IV)
      return expect_parameter(set_octets(&wanted, chain_.data(), block));
    return true;
  }

  void hold(std::size_t at, const unsigned char* from, std::size_t size) {
    if (size != 0) std::memcpy(held_.data() + at, from, size);
    held_size_ = at + size;
  }

  bool crypt(unsigned char* text, std::size_t size) {
    // What the next call's first block goes with is the last ciphertext, whichever way.
    if (!encrypts()) std::memcpy(chain_.data(), text + size - block, block);
    if (!run(encrypts() ? operation::cbc_encrypt : operation::cbc_decrypt, as_bytes(text, size))) {
      return false;
    }
    if (encrypts()) std::memcpy(chain_.data(), text + size - block, block);
    return true;
  }

  bool pads_ = true;
  bool has_iv_ = false;
  unsigned number_ = 0;  // Which means nothing with CBC, and is kept for who set it.
  std::array<unsigned char, block> held_{};  // Text that has yet to be done,
  std::size_t held_size_ = 0;                // and how much.
  std::array<unsigned char, block> iv_{};    // What init() goes back to.
  std::array<unsigned char, block> chain_{};
};

}  // namespace provider
