// The provider beside OpenSSL's own in whatever order its calls come: every return value, length,
// output and parameter is the same. What differs on purpose is kept out of the sequences, each at
// one place that says why, and is what the last test cases show.
// SPDX-License-Identifier: MIT
#include "catch.hpp"

#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/params.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <random>
#include <sstream>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "library.hpp"

namespace {

using provider_tests::calls;
using provider_tests::library;
using provider_tests::native;
using provider_tests::session;
using provider_tests::text;

using kind_ptr = std::unique_ptr<EVP_CIPHER, decltype(&EVP_CIPHER_free)>;
using context_ptr = std::unique_ptr<EVP_CIPHER_CTX, decltype(&EVP_CIPHER_CTX_free)>;

kind_ptr fetch(const char* name, const char* implementation) {
  kind_ptr found(EVP_CIPHER_fetch(library(), name, implementation), EVP_CIPHER_free);
  if (!found) throw std::runtime_error("OpenSSL has no such cipher");
  return found;
}

context_ptr make_context() {
  return {EVP_CIPHER_CTX_new(), EVP_CIPHER_CTX_free};
}

/// All that a caller sees of one call.
struct outcome {
  long returned = 0;
  std::vector<long> numbers;  // Lengths, and parameters that are numbers.
  text bytes;                 // All that may have been written to, and was, if it succeeded.
};

constexpr unsigned char untouched = 0xa5;
constexpr std::size_t block_size = 16;

/// One context of each provider, to which the same is done.
class twins {
 public:
  twins(const char* name, const char* form, unsigned seed)
      : is_gcm_(std::string_view(name) == "AES-128-GCM"),
        kinds_{fetch(name, native), fetch(name, form)},
        numbers_(seed) {}

  /// Does some calls.
  void run() {
    init_first();
    for (std::size_t steps = 4 + pick(20); steps > 0 && !is_at_end_; --steps) {
      if (needs_iv_) {
        init(true, true);
        continue;
      }
      const std::size_t what = pick(100);
      if (what < 18) {
        init(pick(3) == 0, pick(2) == 0);
      } else if (what < 50) {
        update();
      } else if (what < 58) {
        finish();
      } else if (what < 64) {
        once();
      } else if (what < 76) {
        get();
      } else if (what < 86) {
        set();
      } else if (what < 91) {
        copy();
      } else if (what < 98) {
        open_message();
      } else {
        reset();
      }
    }
  }

 private:
  std::size_t pick(std::size_t below) { return numbers_() % below; }
  text random_text(std::size_t size) {
    text out(size);
    for (auto& each : out) each = static_cast<unsigned char>(numbers_());
    return out;
  }
  std::size_t pick_size() {
    constexpr std::size_t common[] = {0, 1, 5, 15, 16, 17, 31, 32, 33, 48, 64, 100, 1000, 4096};
    if (pick(200) == 0) return 70000 + pick(40);  // More than one operation of a guest takes.
    return pick(3) == 0 ? pick(70) : common[pick(std::size(common))];
  }

  [[noreturn]] void differ(const std::string& what) {
    std::ostringstream all;
    all << what << ", after:";
    for (const std::string& each : trace_) all << "\n  " << each;
    throw std::runtime_error(all.str());
  }

  /// Does `call` with both, and compares. `call` takes a context and whether it is ours. Returns
  /// whether it succeeded.
  template <class Call>
  bool both(const std::string& what, Call&& call, bool same_bytes = true) {
    trace_.push_back(what);
    std::array<outcome, 2> seen;
    std::array<bool, 2> raised{};
    for (std::size_t i = 0; i < 2; ++i) {
      ERR_clear_error();
      seen[i] = call(contexts_[i].get(), i == 1);
      raised[i] = ERR_peek_error() != 0;
    }
    const auto& [theirs, ours] = seen;
    const bool good = theirs.returned > 0 || (theirs.returned == 0 && succeeds_by_zero_);
    if (theirs.returned != ours.returned) {
      differ("returned " + std::to_string(ours.returned) + ", not " +
             std::to_string(theirs.returned));
    }
    for (std::size_t i = 0; i < theirs.numbers.size(); ++i) {
      if (theirs.numbers[i] != ours.numbers[i]) {
        differ("number " + std::to_string(i) + " is " + std::to_string(ours.numbers[i]) + ", not " +
               std::to_string(theirs.numbers[i]));
      }
    }
    if (good && same_bytes && theirs.bytes != ours.bytes) {
      const auto at = std::ranges::mismatch(theirs.bytes, ours.bytes).in1 - theirs.bytes.begin();
      differ("the output differs at " + std::to_string(at));
    }
    // Ours says why where OpenSSL's own returns without a word, as for a wrong tag.
    if (raised[0] && !raised[1]) differ("there is no error in the queue");
    if (good && raised[1] && !raised[0]) differ("there is an error in the queue");
    return good;
  }

  void init_first() {
    contexts_[0] = make_context();
    contexts_[1] = make_context();
    start_over();
    init(pick(4) != 0, pick(4) != 0, true);
  }

  void start_over() {
    has_key_ = has_iv_ = is_begun_ = needs_iv_ = tag_is_spoilt_ = false;
    pads_ = true;
    key_encrypts_.reset();
    held_ = 0;
  }

  /// Another key, IV, direction, or none of these.
  void init(bool with_key, bool with_iv, bool with_kind = false) {
    const bool was_encrypting = with_kind || EVP_CIPHER_CTX_is_encrypting(contexts_[0].get()) == 1;
    int direction = static_cast<int>(pick(3)) - 1;
    if (with_kind && direction < 0) direction = 1;
    if (needs_iv_) direction = static_cast<int>(pick(2));
    const bool encrypts = direction < 0 ? was_encrypting : direction == 1;
    // Without a key OpenSSL's CBC goes on with the schedule of the other direction.
    if (!is_gcm_ && has_key_ && key_encrypts_ != encrypts) with_key = true;
    // In the middle of a message it takes a new key with a counter that begins with zero.
    if (is_gcm_ && is_begun_ && with_key) with_iv = true;
    if (with_key) key_ = random_text(16);
    std::size_t iv_size = is_gcm_ ? iv_size_ : block_size;
    if (with_kind) iv_size_ = iv_size = is_gcm_ ? 12 : block_size;
    const text iv = random_text(128);
    unsigned padding = static_cast<unsigned>(pick(2));
    const bool with_padding = pick(8) == 0;
    const std::array<OSSL_PARAM, 2> given{
        OSSL_PARAM_construct_uint(OSSL_CIPHER_PARAM_PADDING, &padding), OSSL_PARAM_construct_end()};
    std::ostringstream what;
    what << "init " << direction << (with_kind ? " kind" : "") << (with_key ? " key" : "")
         << (with_iv ? " iv" : "") << (with_padding ? " padding " + std::to_string(padding) : "");
    const bool good = both(what.str(), [&](EVP_CIPHER_CTX* its, bool ours) {
      return outcome{.returned = EVP_CipherInit_ex2(
                         its, with_kind ? kinds_[ours ? 1 : 0].get() : nullptr,
                         with_key ? key_.data() : nullptr, with_iv ? iv.data() : nullptr, direction,
                         with_padding ? given.data() : nullptr),
                     .numbers = {EVP_CIPHER_CTX_is_encrypting(its)},
                     .bytes = {}};
    });
    held_ = 0;
    if (!good) return;
    if (with_padding) pads_ = padding != 0;
    if (with_key) {
      has_key_ = true;
      key_encrypts_ = encrypts;
    }
    if (with_iv) {
      has_iv_ = true;
      is_begun_ = needs_iv_ = false;
      iv_ = text(iv.begin(), iv.begin() + static_cast<std::ptrdiff_t>(iv_size));
    }
  }

  bool encrypts() const { return EVP_CIPHER_CTX_is_encrypting(contexts_[0].get()) == 1; }

  /// Says whether OpenSSL's own makes an IV at random now, which nothing can be compared with.
  [[nodiscard]] bool makes_iv() const { return is_gcm_ && !has_iv_ && encrypts(); }

  void update() {
    const std::size_t size = pick_size();
    const text in = random_text(size);
    const bool is_aad = is_gcm_ && pick(3) == 0;
    const bool is_null = size == 0 ? pick(2) == 0 : is_gcm_ && pick(40) == 0;
    const bool in_place =
        !is_null && pick(3) == 0 && (is_gcm_ || (held_ == 0 && size % block_size == 0));
    // OpenSSL's own may then read what it has written. Ours does not.
    const std::size_t shift = !in_place && !is_null && pick(4) == 0 ? 1 + pick(40) : 0;
    const bool behind = pick(2) == 0;
    const bool by_one_call = pick(2) == 0;
    const bool makes = makes_iv() && size > 0 && has_key_;
    std::ostringstream what;
    what << "update " << size << (is_aad ? " aad" : "") << (is_null ? " null" : "")
         << (in_place ? " in place" : "") << (shift != 0 ? " overlapping" : "");
    const bool good = both(
        what.str(),
        [&](EVP_CIPHER_CTX* its, bool ours) {
          text room(size + 64 + 40, untouched);
          text overlapped(room.size() + 80, untouched);
          unsigned char* out = room.data();
          const unsigned char* from = in.data();
          if (in_place) {
            std::ranges::copy(in, out);
            from = out;
          } else if (shift != 0 && ours) {
            unsigned char* const at = overlapped.data() + 40;
            std::ranges::copy(in, at);
            from = at;
            out = behind ? at + shift : at - shift;
          }
          if (is_null) from = nullptr;
          int length = -77;
          unsigned char* const to = is_aad ? nullptr : out;
          const int bytes = static_cast<int>(size);
          outcome seen;
          if (by_one_call) {
            seen.returned = EVP_CipherUpdate(its, to, &length, from, bytes);
          } else if (EVP_CIPHER_CTX_is_encrypting(its) == 1) {
            seen.returned = EVP_EncryptUpdate(its, to, &length, from, bytes);
          } else {
            seen.returned = EVP_DecryptUpdate(its, to, &length, from, bytes);
          }
          seen.numbers = {length};
          // All of its room; where ours overlaps, what it says it has written.
          const std::size_t all =
              shift != 0 ? static_cast<std::size_t>(std::max(length, 0)) : size + 64;
          if (!is_aad && seen.returned == 1) seen.bytes.assign(out, out + all);
          return seen;
        },
        !makes);
    if (makes) is_at_end_ = true;
    if (size > 0 && has_iv_ && has_key_) is_begun_ = true;
    if (good && !is_gcm_) count_held(size);
    if (is_null && size > 0) ended(good);
  }

  void count_held(std::size_t size) {
    held_ += size;
    const bool keeps = !encrypts() && pads_ && held_ != 0 && held_ % block_size == 0;
    held_ = keeps ? block_size : held_ % block_size;
  }

  /// After what ends a message of GCM.
  void ended(bool good) {
    if (!is_gcm_ || !has_key_ || !has_iv_) return;
    is_begun_ = true;
    if (good) tag_is_spoilt_ = false;
    // After a wrong tag OpenSSL's own still takes text.
    if (!good && !encrypts()) needs_iv_ = true;
  }

  void finish() {
    const bool makes = makes_iv() && has_key_;
    const bool good = both("final", [&](EVP_CIPHER_CTX* its, bool) {
      text room(64, untouched);
      int length = -77;
      outcome seen;
      seen.returned = pick_final_ % 2 == 0 || EVP_CIPHER_CTX_is_encrypting(its) != 1
                          ? EVP_CipherFinal_ex(its, room.data(), &length)
                          : EVP_EncryptFinal_ex(its, room.data(), &length);
      seen.numbers = {length};
      seen.bytes = room;
      return seen;
    });
    ++pick_final_;
    if (makes) is_at_end_ = true;
    if (good) held_ = 0;
    ended(good);
  }

  /// EVP_Cipher(), which returns a length, or a negative number.
  void once() {
    std::size_t size = pick_size();
    // Of CBC it takes whole blocks; OpenSSL's own writes more than it says of others. Of GCM no
    // empty text, which in OpenSSL's own ends the authenticated data's block.
    if (!is_gcm_) size = size / block_size * block_size;
    const bool is_null = is_gcm_ && pick(4) == 0;
    if (is_gcm_ && !is_null && size == 0) size = 1;
    const bool is_aad = is_gcm_ && !is_null && pick(3) == 0;
    const text in = random_text(size);
    const bool makes = makes_iv() && has_key_;
    succeeds_by_zero_ = true;
    const bool good = both(
        "once " + std::to_string(size) + (is_aad ? " aad" : "") + (is_null ? " null" : ""),
        [&](EVP_CIPHER_CTX* its, bool) {
          text room(size + 64, untouched);
          outcome seen;
          seen.returned = EVP_Cipher(its, is_aad ? nullptr : room.data(),
                                     is_null ? nullptr : in.data(), static_cast<unsigned>(size));
          if (!is_aad) seen.bytes = room;
          return seen;
        },
        !makes);
    succeeds_by_zero_ = false;
    if (makes) is_at_end_ = true;
    if (has_iv_ && has_key_) is_begun_ = true;
    if (is_null) ended(good);
  }

  void get_octets(const char* name, std::size_t size) {
    both(std::string("get ") + name + " of " + std::to_string(size),
         [&](EVP_CIPHER_CTX* its, bool) {
           outcome seen;
           seen.bytes.assign(size + 8, untouched);
           std::array<OSSL_PARAM, 2> wanted{
               OSSL_PARAM_construct_octet_string(name, seen.bytes.data(), size),
               OSSL_PARAM_construct_end()};
           seen.returned = EVP_CIPHER_CTX_get_params(its, wanted.data());
           if (seen.returned == 1) seen.numbers = {static_cast<long>(wanted[0].return_size)};
           return seen;
         });
  }

  void get() {
    if (pick(4) == 0) return get_any();
    constexpr std::size_t sizes[] = {0, 1, 4, 11, 12, 13, 15, 16, 17, 128, 200};
    switch (pick(6)) {
      case 0:
        both("get numbers", [&](EVP_CIPHER_CTX* its, bool) {
          return outcome{
              .returned = 1,
              .numbers = {EVP_CIPHER_CTX_get_iv_length(its), EVP_CIPHER_CTX_get_key_length(its),
                          EVP_CIPHER_CTX_get_tag_length(its), EVP_CIPHER_CTX_get_block_size(its),
                          EVP_CIPHER_CTX_get_num(its), EVP_CIPHER_CTX_get_nid(its),
                          EVP_CIPHER_CTX_get_mode(its), EVP_CIPHER_CTX_get_type(its),
                          static_cast<long>(EVP_CIPHER_get_flags(EVP_CIPHER_CTX_get0_cipher(its)))},
              .bytes = {}};
        });
        return;
      case 1: {
        both("get parameters", [&](EVP_CIPHER_CTX* its, bool) {
          std::size_t sizes_of[3] = {77, 77, 77};
          unsigned others[2] = {77, 77};
          std::array<OSSL_PARAM, 7> wanted{
              OSSL_PARAM_construct_size_t(OSSL_CIPHER_PARAM_KEYLEN, &sizes_of[0]),
              OSSL_PARAM_construct_size_t(OSSL_CIPHER_PARAM_IVLEN, &sizes_of[1]),
              OSSL_PARAM_construct_size_t(OSSL_CIPHER_PARAM_AEAD_TAGLEN, &sizes_of[2]),
              OSSL_PARAM_construct_uint(OSSL_CIPHER_PARAM_PADDING, &others[0]),
              OSSL_PARAM_construct_uint(OSSL_CIPHER_PARAM_NUM, &others[1]),
              OSSL_PARAM_construct_uint("nothing", &others[1]),
              OSSL_PARAM_construct_end()};
          return outcome{.returned = EVP_CIPHER_CTX_get_params(its, wanted.data()),
                         .numbers = {static_cast<long>(sizes_of[0]), static_cast<long>(sizes_of[1]),
                                     static_cast<long>(sizes_of[2]), others[0], others[1]},
                         .bytes = {}};
        });
        return;
      }
      case 2:
      case 3: {
        const std::size_t size = pick(2) == 0 ? iv_size_ : sizes[pick(std::size(sizes))];
        if (makes_iv()) return;  // Later versions of OpenSSL do so here, too.
        get_octets(pick(2) == 0 ? OSSL_CIPHER_PARAM_IV : OSSL_CIPHER_PARAM_UPDATED_IV, size);
        return;
      }
      case 4: {
        const std::size_t size = pick(2) == 0 ? iv_size_ : sizes[pick(std::size(sizes))];
        const bool updated = pick(2) == 0;
        if (makes_iv()) return;
        both("get iv " + std::to_string(size), [&](EVP_CIPHER_CTX* its, bool) {
          outcome seen;
          seen.bytes.assign(size + 8, untouched);
          seen.returned = updated ? EVP_CIPHER_CTX_get_updated_iv(its, seen.bytes.data(), size)
                                  : EVP_CIPHER_CTX_get_original_iv(its, seen.bytes.data(), size);
          return seen;
        });
        return;
      }
      default:
        if (is_gcm_ && !tag_is_spoilt_) {
          const std::size_t size = pick(2) == 0 ? block_size : sizes[pick(std::size(sizes))];
          both("get tag " + std::to_string(size), [&](EVP_CIPHER_CTX* its, bool) {
            outcome seen;
            seen.bytes.assign(size + 8, untouched);
            seen.returned = EVP_CIPHER_CTX_ctrl(its, EVP_CTRL_AEAD_GET_TAG, static_cast<int>(size),
                                                seen.bytes.data());
            return seen;
          });
        }
        return;
    }
  }

  /// A parameter of any type, with a value that may be of any.
  struct parameter {
    std::array<std::uint64_t, 4> data{};
    OSSL_PARAM its{};
    const void* pointer = nullptr;
  };
  void pick_type(parameter& of, const char* name) {
    of.data.fill(pick(3) == 0 ? pick(20) : numbers_());
    constexpr unsigned types[] = {OSSL_PARAM_INTEGER, OSSL_PARAM_UNSIGNED_INTEGER,
                                  OSSL_PARAM_OCTET_STRING, OSSL_PARAM_UTF8_STRING,
                                  OSSL_PARAM_OCTET_PTR};
    const unsigned type = types[pick(std::size(types))];
    const bool is_number = type == OSSL_PARAM_INTEGER || type == OSSL_PARAM_UNSIGNED_INTEGER;
    constexpr std::size_t sizes[] = {4, 8};
    of.its = {.key = name,
              .data_type = type,
              .data = of.data.data(),
              .data_size = is_number ? sizes[pick(2)] : pick(33),
              .return_size = OSSL_PARAM_UNMODIFIED};
    if (pick(10) == 0) of.its.data = nullptr;
  }

  void set_any() {
    constexpr const char* names[] = {OSSL_CIPHER_PARAM_PADDING, OSSL_CIPHER_PARAM_NUM,
                                     OSSL_CIPHER_PARAM_IVLEN, OSSL_CIPHER_PARAM_AEAD_TAG,
                                     "nothing"};
    std::array<parameter, 2> picked;
    const std::size_t first = pick(std::size(names));
    const std::size_t more = 1 + pick(std::size(names) - 1);  // One name twice is for nobody.
    pick_type(picked[0], names[first]);
    pick_type(picked[1], names[(first + more) % std::size(names)]);
    // OpenSSL itself follows a null pointer to a number.
    for (const parameter& each : picked) {
      if (each.its.data == nullptr && each.its.data_type <= OSSL_PARAM_UNSIGNED_INTEGER) return;
    }
    const std::array<OSSL_PARAM, 3> given{picked[0].its, picked[1].its, OSSL_PARAM_construct_end()};
    both(std::string("set ") + given[0].key + " and " + given[1].key,
         [&](EVP_CIPHER_CTX* its, bool) {
           return outcome{
               .returned = EVP_CIPHER_CTX_set_params(its, given.data()),
               .numbers = {EVP_CIPHER_CTX_get_iv_length(its), EVP_CIPHER_CTX_get_tag_length(its)},
               .bytes = {}};
         });
    if (is_gcm_) {
      iv_size_ = static_cast<std::size_t>(EVP_CIPHER_CTX_get_iv_length(contexts_[0].get()));
    }
    tag_is_spoilt_ = true;
    unsigned padding = 1;
    std::array<OSSL_PARAM, 2> wanted{OSSL_PARAM_construct_uint(OSSL_CIPHER_PARAM_PADDING, &padding),
                                     OSSL_PARAM_construct_end()};
    if (!is_gcm_ && EVP_CIPHER_CTX_get_params(contexts_[0].get(), wanted.data()) == 1) {
      pads_ = padding != 0;
    }
  }

  void get_any() {
    constexpr const char* names[] = {OSSL_CIPHER_PARAM_PADDING,     OSSL_CIPHER_PARAM_NUM,
                                     OSSL_CIPHER_PARAM_IVLEN,       OSSL_CIPHER_PARAM_KEYLEN,
                                     OSSL_CIPHER_PARAM_AEAD_TAGLEN, OSSL_CIPHER_PARAM_IV,
                                     OSSL_CIPHER_PARAM_UPDATED_IV,  "nothing"};
    if (makes_iv()) return;
    parameter picked;
    pick_type(picked, names[pick(std::size(names))]);
    // Which versions of OpenSSL take for a question after the size, or do not.
    if (picked.its.data == nullptr) return;
    both(std::string("get ") + picked.its.key + " of type " + std::to_string(picked.its.data_type),
         [&](EVP_CIPHER_CTX* its, bool) {
           parameter own = picked;
           const bool is_pointer = own.its.data_type == OSSL_PARAM_OCTET_PTR;
           own.its.data = own.data.data();
           if (is_pointer) own.its.data = &own.pointer;
           std::array<OSSL_PARAM, 2> wanted{own.its, OSSL_PARAM_construct_end()};
           outcome seen;
           seen.returned = EVP_CIPHER_CTX_get_params(its, wanted.data());
           if (seen.returned != 1) return seen;
           seen.numbers = {static_cast<long>(wanted[0].return_size)};
           for (const std::uint64_t each : own.data) {
             for (int i = 0; i < 64; i += 8) {
               seen.bytes.push_back(static_cast<unsigned char>(each >> i));
             }
           }
           if (own.pointer != nullptr) {
             const auto* const begin = static_cast<const unsigned char*>(own.pointer);
             seen.bytes.insert(seen.bytes.end(), begin, begin + wanted[0].return_size);
           }
           return seen;
         });
  }

  void set() {
    if (pick(4) == 0) return set_any();
    switch (pick(6)) {
      case 0: {
        const int padding = static_cast<int>(pick(2));
        const bool good =
            both("set padding " + std::to_string(padding), [&](EVP_CIPHER_CTX* its, bool) {
              return outcome{
                  .returned = EVP_CIPHER_CTX_set_padding(its, padding), .numbers = {}, .bytes = {}};
            });
        if (good) pads_ = padding != 0;
        return;
      }
      case 1: {
        const int size = static_cast<int>(pick(4) == 0 ? 0 : 16);
        const int number = size == 16 ? static_cast<int>(pick(16)) : 0;
        both("set key length and number", [&](EVP_CIPHER_CTX* its, bool) {
          return outcome{.returned = EVP_CIPHER_CTX_set_key_length(its, 16),
                         .numbers = {EVP_CIPHER_CTX_set_num(its, number)},
                         .bytes = {}};
        });
        return;
      }
      case 2:
      case 3: {
        constexpr int sizes[] = {12, 12, 12, 1, 7, 8, 11, 13, 16, 60, 128, 129, 0, 1000};
        const int size = sizes[pick(std::size(sizes))];
        const bool good =
            both("set iv length " + std::to_string(size), [&](EVP_CIPHER_CTX* its, bool) {
              return outcome{
                  .returned = EVP_CIPHER_CTX_ctrl(its, EVP_CTRL_AEAD_SET_IVLEN, size, nullptr),
                  .numbers = {EVP_CIPHER_CTX_get_iv_length(its)},
                  .bytes = {}};
            });
        if (good && is_gcm_) iv_size_ = static_cast<std::size_t>(size);
        return;
      }
      default: {
        const std::size_t size = pick(2) == 0 ? block_size : pick(20);
        text tag = random_text(20);
        const bool is_null = pick(8) == 0;
        const bool good =
            both("set tag " + std::to_string(size) + (is_null ? " null" : ""),
                 [&](EVP_CIPHER_CTX* its, bool) {
                   return outcome{.returned = EVP_CIPHER_CTX_ctrl(its, EVP_CTRL_AEAD_SET_TAG,
                                                                  static_cast<int>(size),
                                                                  is_null ? nullptr : tag.data()),
                                  .numbers = {EVP_CIPHER_CTX_get_tag_length(its)},
                                  .bytes = {}};
                 });
        // OpenSSL's own writes over the tag before it refuses.
        if (!good) tag_is_spoilt_ = true;
        return;
      }
    }
  }

  /// Goes on with a copy, or with what was copied.
  void copy() {
    std::array<context_ptr, 2> copies{make_context(), make_context()};
    const bool good = both("copy", [&](EVP_CIPHER_CTX* its, bool ours) {
      return outcome{.returned = EVP_CIPHER_CTX_copy(copies[ours ? 1 : 0].get(), its),
                     .numbers = {},
                     .bytes = {}};
    });
    if (good && pick(2) == 0) std::swap(copies, contexts_);
  }

  void reset() {
    both("reset", [&](EVP_CIPHER_CTX* its, bool) {
      return outcome{.returned = EVP_CIPHER_CTX_reset(its), .numbers = {}, .bytes = {}};
    });
    start_over();
    init(pick(4) != 0, pick(4) != 0, true);
  }

  /// Decrypts what OpenSSL encrypted, so that something succeeds; or what was changed.
  void open_message() {
    const text key = random_text(16);
    const text iv = random_text(is_gcm_ ? iv_size_ : block_size);
    const text aad = random_text(pick(40));
    const text plain = random_text(pick(100));
    const context_ptr seals = make_context();
    std::array<OSSL_PARAM, 2> size_of_iv{
        OSSL_PARAM_construct_size_t(OSSL_CIPHER_PARAM_IVLEN, &iv_size_),
        OSSL_PARAM_construct_end()};
    text sealed(plain.size() + 32);
    text tag(16);
    int size = 0;
    int rest = 0;
    EVP_EncryptInit_ex2(seals.get(), kinds_[0].get(), nullptr, nullptr,
                        is_gcm_ ? size_of_iv.data() : nullptr);
    EVP_EncryptInit_ex2(seals.get(), nullptr, key.data(), iv.data(), nullptr);
    if (is_gcm_ && !aad.empty()) {
      EVP_EncryptUpdate(seals.get(), nullptr, &size, aad.data(), static_cast<int>(aad.size()));
    }
    size = 0;
    EVP_EncryptUpdate(seals.get(), sealed.data(), &size, plain.data(),
                      static_cast<int>(plain.size()));
    EVP_EncryptFinal_ex(seals.get(), sealed.data() + size, &rest);
    sealed.resize(static_cast<std::size_t>(size + rest));
    const std::size_t tag_size = pick(3) == 0 ? 1 + pick(16) : 16;
    if (is_gcm_) EVP_CIPHER_CTX_ctrl(seals.get(), EVP_CTRL_AEAD_GET_TAG, 16, tag.data());
    const bool is_changed = !sealed.empty() && pick(3) == 0;
    if (is_changed) sealed[sealed.size() - 1 - pick(std::min<std::size_t>(sealed.size(), 20))] ^= 1;
    const bool tag_first = pick(2) == 0;

    const bool good = both(
        "message of " + std::to_string(plain.size()) + (is_changed ? ", changed" : ""),
        [&](EVP_CIPHER_CTX* its, bool) {
          outcome seen;
          const auto count = [&](long returned) { seen.numbers.push_back(returned); };
          seen.bytes.assign(sealed.size() + 64, untouched);
          count(EVP_DecryptInit_ex2(its, nullptr, key.data(), iv.data(), nullptr));
          const auto set_tag = [&] {
            if (is_gcm_) {
              count(EVP_CIPHER_CTX_ctrl(its, EVP_CTRL_AEAD_SET_TAG, static_cast<int>(tag_size),
                                        tag.data()));
            }
          };
          if (tag_first) set_tag();
          int length = -77;
          if (is_gcm_) {
            count(
                EVP_DecryptUpdate(its, nullptr, &length, aad.data(), static_cast<int>(aad.size())));
            count(length);
          }
          length = -77;
          count(EVP_DecryptUpdate(its, seen.bytes.data(), &length, sealed.data(),
                                  static_cast<int>(sealed.size())));
          count(length);
          if (!tag_first) set_tag();
          int last = -77;
          seen.returned = EVP_DecryptFinal_ex(its, seen.bytes.data() + std::max(length, 0), &last);
          count(last);
          return seen;
        });
    has_key_ = has_iv_ = is_begun_ = true;
    key_encrypts_ = false;
    if (good) held_ = 0;
    needs_iv_ = is_gcm_ && !good;
    if (!good && !is_gcm_) held_ = block_size;
  }

  const bool is_gcm_;
  std::array<kind_ptr, 2> kinds_;
  std::array<context_ptr, 2> contexts_{make_context(), make_context()};
  std::minstd_rand numbers_;
  std::vector<std::string> trace_;
  text key_;
  text iv_;
  std::size_t iv_size_ = 12;
  std::size_t held_ = 0;  // Of CBC: how much has yet to be done.
  unsigned pick_final_ = 0;
  bool has_key_ = false;
  bool has_iv_ = false;
  bool is_begun_ = false;  // Whether a message of GCM is.
  bool needs_iv_ = false;
  bool pads_ = true;
  bool tag_is_spoilt_ = false;
  bool succeeds_by_zero_ = false;
  bool is_at_end_ = false;
  std::optional<bool> key_encrypts_;
};

void compare(const char* form, unsigned sequences) {
  for (const char* name : {"AES-128-CBC", "AES-128-GCM"}) {
    for (unsigned seed = 1; seed <= sequences; ++seed) {
      try {
        twins(name, form, seed).run();
      } catch (const std::runtime_error& why) {
        FAIL(name << ", " << form << ", sequence " << seed << ": " << why.what());
      }
    }
  }
  SUCCEED();
}

}  // namespace

TEST_CASE("calls in any order do what they do with OpenSSL's own", "[openssl][differential]") {
  compare(calls, 4000);
}

TEST_CASE("sessions do so, too", "[openssl][differential]") {
  compare(session, 300);
}

namespace {

/// A context of ours that has a key and an IV.
struct one {
  kind_ptr kind;
  context_ptr its = make_context();
  text key = text(16, 1);
  text iv = text(16, 2);

  one(const char* name, const char* form, bool encrypts) : kind(fetch(name, form)) {
    REQUIRE(EVP_CipherInit_ex2(its.get(), kind.get(), key.data(), iv.data(), encrypts, nullptr) ==
            1);
  }
  bool init(bool encrypts, const text* with_key, const text* with_iv) {
    return EVP_CipherInit_ex2(its.get(), nullptr, with_key ? with_key->data() : nullptr,
                              with_iv ? with_iv->data() : nullptr, encrypts, nullptr) == 1;
  }
  /// Returns what becomes of `in`; nothing if that fails.
  text update(text in) {
    text out(in.size() + 32);
    int size = 0;
    if (EVP_CipherUpdate(its.get(), out.data(), &size, in.data(), static_cast<int>(in.size())) !=
        1) {
      return {};
    }
    out.resize(static_cast<std::size_t>(size));
    return out;
  }
  bool finish() {
    text out(32);
    int size = 0;
    return EVP_CipherFinal_ex(its.get(), out.data(), &size) == 1;
  }
  bool set_tag(text tag) {
    return EVP_CIPHER_CTX_ctrl(its.get(), EVP_CTRL_AEAD_SET_TAG, static_cast<int>(tag.size()),
                               tag.data()) == 1;
  }
  text tag() {
    text out(16);
    const bool got = EVP_CIPHER_CTX_ctrl(its.get(), EVP_CTRL_AEAD_GET_TAG, 16, out.data()) == 1;
    return got ? out : text{};
  }
};

}  // namespace

TEST_CASE("what differs from OpenSSL's own does so on purpose", "[openssl][differential]") {
  const text plain(40, 3);
  const text other(16, 4);
  for (const char* form : {calls, session}) {
    INFO(form);

    // The other direction works without the key, too.
    one block("AES-128-CBC", form, true);
    const text sealed = block.update(plain);
    REQUIRE(block.init(false, nullptr, &block.iv));
    REQUIRE(EVP_CIPHER_CTX_set_padding(block.its.get(), 0) == 1);
    CHECK(block.update(sealed) == text(plain.begin(), plain.begin() + 32));
    // Parts of blocks are not what EVP_Cipher() can do.
    text room(64, untouched);
    CHECK(EVP_Cipher(block.its.get(), room.data(), plain.data(), 17) == -1);
    CHECK(room == text(64, untouched));
    // The key stays one of 16 bytes.
    std::size_t size = 24;
    const OSSL_PARAM longer[] = {OSSL_PARAM_construct_size_t(OSSL_CIPHER_PARAM_KEYLEN, &size),
                                 OSSL_PARAM_construct_end()};
    CHECK(EVP_CIPHER_CTX_set_params(block.its.get(), longer) != 1);
    CHECK(EVP_CIPHER_CTX_get_key_length(block.its.get()) == 16);

    // A new key in the middle of a message begins it anew, with its IV.
    one stream("AES-128-GCM", form, true);
    CHECK_FALSE(stream.update(plain).empty());
    REQUIRE(stream.init(true, &other, nullptr));
    one fresh("AES-128-GCM", native, true);
    REQUIRE(fresh.init(true, &other, &fresh.iv));
    CHECK(stream.update(plain) == fresh.update(plain));
    CHECK(stream.finish());
    REQUIRE(fresh.finish());
    CHECK(stream.tag() == fresh.tag());
    // A tag that is refused changes nothing.
    CHECK_FALSE(stream.set_tag(other));
    CHECK(stream.tag() == fresh.tag());
    // No text in the middle of authenticated data does not end its block.
    REQUIRE(stream.init(true, nullptr, &stream.iv));
    REQUIRE(fresh.init(true, nullptr, &fresh.iv));
    CHECK(EVP_Cipher(stream.its.get(), nullptr, plain.data(), 5) == 5);
    CHECK(EVP_Cipher(stream.its.get(), room.data(), plain.data(), 0) == 0);
    CHECK(EVP_Cipher(stream.its.get(), nullptr, plain.data(), 5) == 5);
    CHECK(EVP_Cipher(fresh.its.get(), nullptr, plain.data(), 10) == 10);
    CHECK(stream.finish());
    REQUIRE(fresh.finish());
    CHECK(stream.tag() == fresh.tag());
    // After a wrong tag there is no more text with this IV.
    REQUIRE(stream.init(false, nullptr, &stream.iv));
    CHECK_FALSE(stream.update(plain).empty());
    REQUIRE(stream.set_tag(other));
    CHECK_FALSE(stream.finish());
    CHECK(stream.update(plain).empty());
    REQUIRE(stream.init(false, nullptr, &stream.iv));
    CHECK_FALSE(stream.update(plain).empty());

    // What TLS 1.2 asks for is refused.
    text record(13, 1);
    const std::pair<int, int> of_tls[] = {{EVP_CTRL_AEAD_TLS1_AAD, 13},
                                          {EVP_CTRL_GCM_SET_IV_FIXED, 4},
                                          {EVP_CTRL_GCM_SET_IV_FIXED, -1},
                                          {EVP_CTRL_GCM_IV_GEN, 8},
                                          {EVP_CTRL_GCM_SET_IV_INV, 8}};
    for (const auto& [control, size_of] : of_tls) {
      INFO(control);
      CHECK(EVP_CIPHER_CTX_ctrl(stream.its.get(), control, size_of, record.data()) <= 0);
      CHECK(record == text(13, 1));
    }

    // Null pointers are refused where OpenSSL's own follows them.
    REQUIRE(block.init(true, &block.key, &block.iv));
    int length = -77;
    CHECK(EVP_CipherUpdate(block.its.get(), nullptr, &length, plain.data(), 40) != 1);
    CHECK(EVP_CipherUpdate(block.its.get(), room.data(), &length, nullptr, 40) != 1);
    CHECK(EVP_Cipher(block.its.get(), nullptr, plain.data(), 16) == -1);
    CHECK(EVP_Cipher(block.its.get(), room.data(), nullptr, 16) == -1);
    CHECK_FALSE(block.update(plain).empty());
  }
}

TEST_CASE("an IV that nobody gave is random, and can be asked for", "[openssl][differential]") {
  std::vector<text> seen;
  for (const char* form : {native, calls, session}) {
    INFO(form);
    const kind_ptr kind = fetch("AES-128-GCM", form);
    for (int turn = 0; turn < 3; ++turn) {
      const context_ptr its = make_context();
      const text key(16, 1);
      REQUIRE(EVP_EncryptInit_ex2(its.get(), kind.get(), key.data(), nullptr, nullptr) == 1);
      text out(16);
      int size = 0;
      REQUIRE(EVP_EncryptUpdate(its.get(), out.data(), &size, key.data(), 16) == 1);
      text iv(12);
      REQUIRE(EVP_CIPHER_CTX_get_original_iv(its.get(), iv.data(), iv.size()) == 1);
      CHECK(std::ranges::find(seen, iv) == seen.end());
      seen.push_back(iv);
      // It is the one that was used.
      one again("AES-128-GCM", native, true);
      REQUIRE(again.init(true, &key, &iv));
      CHECK(again.update(key) == out);

      // There is none to decrypt with, and none that would be too short.
      REQUIRE(EVP_DecryptInit_ex2(its.get(), kind.get(), key.data(), nullptr, nullptr) == 1);
      CHECK(EVP_DecryptUpdate(its.get(), out.data(), &size, key.data(), 16) != 1);
      std::size_t shorter = 11;
      const OSSL_PARAM given[] = {OSSL_PARAM_construct_size_t(OSSL_CIPHER_PARAM_IVLEN, &shorter),
                                  OSSL_PARAM_construct_end()};
      REQUIRE(EVP_EncryptInit_ex2(its.get(), kind.get(), key.data(), nullptr, given) == 1);
      CHECK(EVP_EncryptUpdate(its.get(), out.data(), &size, key.data(), 16) != 1);
    }
  }
}
