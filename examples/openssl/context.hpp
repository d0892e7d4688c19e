// What the provider's ciphers have in common: errors for OpenSSL, the isolated context, and the
// functions by which OpenSSL calls a cipher's class.
// SPDX-License-Identifier: MIT
#pragma once

#include <openssl/core_dispatch.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/params.h>

#include <algorithm>
#include <array>
#include <cstdarg>
#include <cstddef>
#include <cstring>
#include <exception>
#include <memory>
#include <mutex>
#include <new>
#include <span>
#include <string>
#include <utility>

#include <guests/cipher/cipher.hpp>
#include <virtine/virtine.hpp>

#include "isolated.hpp"

namespace provider {

using cipher::operation;
using isolated::bytes;

enum class form { calls, session };

/// Why an operation failed, in OpenSSL's error queue.
enum class reason : unsigned { virtine = 1, usage, bad_decrypt, bad_tag };

inline const OSSL_ITEM reason_strings[] = {
    {static_cast<unsigned>(reason::virtine), const_cast<char*>("the virtine failed")},
    {static_cast<unsigned>(reason::usage), const_cast<char*>("not possible now or with this")},
    {static_cast<unsigned>(reason::bad_decrypt), const_cast<char*>("bad decrypt")},
    {static_cast<unsigned>(reason::bad_tag), const_cast<char*>("the tag does not match")},
    {0, nullptr}};

/// The provider in one library context of OpenSSL's.
class instance {
 public:
  instance(const OSSL_CORE_HANDLE* core, const OSSL_DISPATCH* offered) : core_(core) {
    for (; offered->function_id != 0; ++offered) {
      if (offered->function_id == OSSL_FUNC_CORE_NEW_ERROR) {
        new_error_ = OSSL_FUNC_core_new_error(offered);
      } else if (offered->function_id == OSSL_FUNC_CORE_VSET_ERROR) {
        vset_error_ = OSSL_FUNC_core_vset_error(offered);
      }
    }
  }

  /// Puts an error in OpenSSL's queue. Returns false.
  bool fail(reason why, const char* what) const {
    if (new_error_ != nullptr && vset_error_ != nullptr) set_error(why, "%s", what);
    return false;
  }

  /// Makes an isolated context. The first one also makes the pool, which nobody needs who only
  /// looks for ciphers.
  std::unique_ptr<isolated::context> make(form as) {
    std::call_once(once_, [&] { machines_ = std::make_shared<isolated::machines>(); });
    if (as == form::session) return std::make_unique<isolated::in_session>(machines_);
    return std::make_unique<isolated::by_calls>(machines_);
  }

 private:
  void set_error(reason why, const char* format, ...) const __attribute__((format(printf, 3, 4))) {
    new_error_(core_);
    std::va_list arguments;
    va_start(arguments, format);
    vset_error_(core_, static_cast<std::uint32_t>(why), format, arguments);
    va_end(arguments);
  }

  const OSSL_CORE_HANDLE* core_;
  OSSL_FUNC_core_new_error_fn* new_error_ = nullptr;
  OSSL_FUNC_core_vset_error_fn* vset_error_ = nullptr;
  std::once_flag once_;
  std::shared_ptr<isolated::machines> machines_;  // Also held by each context.
};

/// What every cipher context has.
class context {
 public:
  context(instance& of, form as) : instance_(of), form_(as) {}
  context(const context& other)
      : instance_(other.instance_), form_(other.form_), encrypts_(other.encrypts_) {
    if (!other.isolated_) return;
    auto made = other.isolated_->copy();
    if (!made) throw virtine::failure(made.error());
    isolated_ = *std::move(made);
  }
  context& operator=(const context&) = delete;

  bool fail(reason why, const char* what) const { return instance_.fail(why, what); }
  /// For what OpenSSL returns when it sets or gets a parameter.
  bool expect_parameter(int done) const {
    return done != 0 || fail(reason::usage, "a parameter is of another type or size");
  }

 protected:
  [[nodiscard]] bool has_key() const { return isolated_ != nullptr; }
  [[nodiscard]] bool encrypts() const { return encrypts_; }
  void set_direction(bool encrypts) { encrypts_ = encrypts; }

  /// Begins with a new key: `what` is the operation that sets it, `text` begins with it.
  bool set_key(operation what, bytes text) {
    // A guest overwrites it itself, but it may not come to that.
    struct cleansed {
      bytes text;
      ~cleansed() { OPENSSL_cleanse(text.data(), text.size()); }
    } const at_the_end{text};
    if (!isolated_) isolated_ = instance_.make(form_);
    return run(what, text);
  }

  /// Does an operation on `text`, in parts if it is long. After a failure, the text is zeros and
  /// the context without a key.
  bool run(operation what, bytes text) {
    bytes rest = text;
    do {
      const bytes part = rest.first(std::min(rest.size(), isolated::text_max));
      if (auto done = isolated_->run(what, part); !done) {
        OPENSSL_cleanse(text.data(), text.size());
        isolated_ = nullptr;
        return instance_.fail(reason::virtine, virtine::to_string(done.error()).c_str());
      }
      rest = rest.subspan(part.size());
    } while (!rest.empty());
    return true;
  }

 private:
  instance& instance_;
  const form form_;
  bool encrypts_ = false;
  std::unique_ptr<isolated::context> isolated_;  // Null until there is a key.
};

inline bytes as_bytes(unsigned char* data, std::size_t size) {
  // Sound: any object may be looked at as bytes.
  return {reinterpret_cast<std::byte*>(data), size};
}

/// Answers a request for a string of octets, which OpenSSL makes in two ways.
inline int set_octets(OSSL_PARAM* wanted, const unsigned char* data, std::size_t size) {
  return wanted->data_type == OSSL_PARAM_OCTET_PTR
             ? OSSL_PARAM_set_octet_ptr(wanted, data, size)
             : OSSL_PARAM_set_octet_string(wanted, data, size);
}

/// Says whether `given` would set another size of the key than there is.
inline bool changes_key_size(const OSSL_PARAM* given) {
  const OSSL_PARAM* const size =
      given == nullptr ? nullptr : OSSL_PARAM_locate_const(given, OSSL_CIPHER_PARAM_KEYLEN);
  std::size_t value = 0;
  return size != nullptr && (OSSL_PARAM_get_size_t(size, &value) == 0 || value != cipher::key_size);
}

/// The constants of a cipher.
struct traits {
  unsigned mode;
  std::size_t block_size;
  std::size_t iv_size;
  bool aead;
};

/// OpenSSL's functions of a cipher, made from its class. No exception gets out.
template <class Cipher, form Form>
class functions {
  /// Does `f`, which returns a pointer or whether it succeeded, for an instance or a context.
  template <class For, class F>
  static auto quietly(const For& its, F&& f) noexcept -> decltype(f()) {
    try {
      return f();
    } catch (const std::exception& why) {
      its.fail(reason::virtine, why.what());
      return {};
    }
  }
  template <class F>
  static int on(void* context, F&& f) noexcept {
    auto& its = *static_cast<Cipher*>(context);
    return quietly(its, [&] { return f(its); });
  }

  static bool set_all(Cipher& its, const OSSL_PARAM* given) {
    if (changes_key_size(given)) return its.fail(reason::usage, "the key is of 16 bytes");
    return its.set(given);
  }

  static void* make(void* of) {
    auto& its = *static_cast<instance*>(of);
    return quietly(its, [&] { return new Cipher(its, Form); });
  }
  static void free(void* context) { delete static_cast<Cipher*>(context); }
  static void* copy(void* context) {
    const auto& its = *static_cast<const Cipher*>(context);
    return quietly(its, [&] { return new Cipher(its); });
  }
  static int init(bool encrypts, void* context, const unsigned char* key, std::size_t key_size,
                  const unsigned char* iv, std::size_t iv_size, const OSSL_PARAM* given) {
    return on(context, [&](Cipher& its) {
      if (key != nullptr && key_size != cipher::key_size) {
        return its.fail(reason::usage, "the key is not of 16 bytes");
      }
      return its.init(encrypts, key, iv, iv_size) && set_all(its, given);
    });
  }
  static int encrypt_init(void* context, const unsigned char* key, std::size_t key_size,
                          const unsigned char* iv, std::size_t iv_size, const OSSL_PARAM* given) {
    return init(true, context, key, key_size, iv, iv_size, given);
  }
  static int decrypt_init(void* context, const unsigned char* key, std::size_t key_size,
                          const unsigned char* iv, std::size_t iv_size, const OSSL_PARAM* given) {
    return init(false, context, key, key_size, iv, iv_size, given);
  }
  static int update(void* context, unsigned char* out, std::size_t* out_size, std::size_t room,
                    const unsigned char* in, std::size_t in_size) {
    return on(context, [&](Cipher& its) { return its.update(out, *out_size, room, in, in_size); });
  }
  static int finish(void* context, unsigned char* out, std::size_t* out_size, std::size_t room) {
    return on(context, [&](Cipher& its) { return its.finish(out, *out_size, room); });
  }
  static int once(void* context, unsigned char* out, std::size_t* out_size, std::size_t room,
                  const unsigned char* in, std::size_t in_size) {
    return on(context, [&](Cipher& its) { return its.once(out, *out_size, room, in, in_size); });
  }
  static int get(void* context, OSSL_PARAM* wanted) {
    return on(context, [&](Cipher& its) { return its.get(wanted); });
  }
  static int set(void* context, const OSSL_PARAM* given) {
    return on(context, [&](Cipher& its) { return set_all(its, given); });
  }

  static int get_traits(OSSL_PARAM* wanted) {
    constexpr traits of = Cipher::constants;
    const auto answer_size = [&](const char* name, std::size_t value) {
      OSSL_PARAM* const found = OSSL_PARAM_locate(wanted, name);
      return found == nullptr || OSSL_PARAM_set_size_t(found, value) != 0;
    };
    const auto answer_int = [&](const char* name, int value) {
      OSSL_PARAM* const found = OSSL_PARAM_locate(wanted, name);
      return found == nullptr || OSSL_PARAM_set_int(found, value) != 0;
    };
    OSSL_PARAM* const mode = OSSL_PARAM_locate(wanted, OSSL_CIPHER_PARAM_MODE);
    return (mode == nullptr || OSSL_PARAM_set_uint(mode, of.mode) != 0) &&
           answer_size(OSSL_CIPHER_PARAM_KEYLEN, cipher::key_size) &&
           answer_size(OSSL_CIPHER_PARAM_IVLEN, of.iv_size) &&
           answer_size(OSSL_CIPHER_PARAM_BLOCK_SIZE, of.block_size) &&
           answer_int(OSSL_CIPHER_PARAM_AEAD, of.aead) &&
           answer_int(OSSL_CIPHER_PARAM_CUSTOM_IV, of.aead);
  }
  static const OSSL_PARAM* gettable_traits(void*) {
    static const OSSL_PARAM all[] = {OSSL_PARAM_uint(OSSL_CIPHER_PARAM_MODE, nullptr),
                                     OSSL_PARAM_size_t(OSSL_CIPHER_PARAM_KEYLEN, nullptr),
                                     OSSL_PARAM_size_t(OSSL_CIPHER_PARAM_IVLEN, nullptr),
                                     OSSL_PARAM_size_t(OSSL_CIPHER_PARAM_BLOCK_SIZE, nullptr),
                                     OSSL_PARAM_int(OSSL_CIPHER_PARAM_AEAD, nullptr),
                                     OSSL_PARAM_int(OSSL_CIPHER_PARAM_CUSTOM_IV, nullptr),
                                     OSSL_PARAM_END};
    return all;
  }
  static const OSSL_PARAM* gettable(void*, void*) { return Cipher::gettable; }
  static const OSSL_PARAM* settable(void*, void*) { return Cipher::settable; }

  template <class F>
  static OSSL_DISPATCH entry(int id, F* function) {
    // Sound: OpenSSL calls it as what `id` says it is.
    return {id, reinterpret_cast<void (*)()>(function)};
  }

 public:
  inline static const OSSL_DISPATCH table[] = {
      entry(OSSL_FUNC_CIPHER_NEWCTX, make),
      entry(OSSL_FUNC_CIPHER_FREECTX, free),
      entry(OSSL_FUNC_CIPHER_DUPCTX, copy),
      entry(OSSL_FUNC_CIPHER_ENCRYPT_INIT, encrypt_init),
      entry(OSSL_FUNC_CIPHER_DECRYPT_INIT, decrypt_init),
      entry(OSSL_FUNC_CIPHER_UPDATE, update),
      entry(OSSL_FUNC_CIPHER_FINAL, finish),
      entry(OSSL_FUNC_CIPHER_CIPHER, once),
      entry(OSSL_FUNC_CIPHER_GET_PARAMS, get_traits),
      entry(OSSL_FUNC_CIPHER_GETTABLE_PARAMS, gettable_traits),
      entry(OSSL_FUNC_CIPHER_GET_CTX_PARAMS, get),
      entry(OSSL_FUNC_CIPHER_GETTABLE_CTX_PARAMS, gettable),
      entry(OSSL_FUNC_CIPHER_SET_CTX_PARAMS, set),
      entry(OSSL_FUNC_CIPHER_SETTABLE_CTX_PARAMS, settable),
      {0, nullptr}};
};

}  // namespace provider
