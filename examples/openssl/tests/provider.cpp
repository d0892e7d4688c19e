// The provider of examples/openssl beside OpenSSL's own, by the EVP interface: same output, same
// refusals, and no key in the host's memory.
// SPDX-License-Identifier: MIT
#include "catch.hpp"

#include <openssl/aes.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <fstream>
#include <memory>
#include <random>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "library.hpp"

namespace {

using provider_tests::calls;
using provider_tests::library;
using provider_tests::native;
using provider_tests::session;
using provider_tests::text;

text hex(std::string_view digits) {
  text out;
  for (std::size_t i = 0; i + 1 < digits.size(); i += 2) {
    out.push_back(
        static_cast<unsigned char>(std::stoi(std::string(digits.substr(i, 2)), nullptr, 16)));
  }
  return out;
}

text pattern(std::size_t size) {
  text out(size);
  std::minstd_rand numbers(static_cast<unsigned>(size) + 1);
  for (auto& each : out) each = static_cast<unsigned char>(numbers() >> 8);
  return out;
}

const text key = hex("2b7e151628aed2a6abf7158809cf4f3c");
const text iv = hex("000102030405060708090a0b0c0d0e0f");
const text nonce = hex("cafebabefacedbaddecaf888");

/// An EVP_CIPHER_CTX of one implementation.
class cipher {
 public:
  cipher(const char* name, const char* implementation)
      : kind_(EVP_CIPHER_fetch(library(), name, implementation), EVP_CIPHER_free) {
    // Not by Catch, which can be used by one thread only.
    if (!kind_ || !context_) throw std::runtime_error("OpenSSL has no such cipher");
  }

  bool init(bool encrypt, const text* with_key, const text* with_iv) {
    // Another time the kind would mean a context without a key.
    EVP_CIPHER* const kind = std::exchange(begun_, true) ? nullptr : kind_.get();
    return EVP_CipherInit_ex2(context_.get(), kind, with_key ? with_key->data() : nullptr,
                              with_iv ? with_iv->data() : nullptr, encrypt, nullptr) == 1;
  }
  bool update(const unsigned char* in, std::size_t size, text& out) {
    const std::size_t before = out.size();
    out.resize(before + size + 32);
    int given = 0;
    const bool done = EVP_CipherUpdate(context_.get(), out.data() + before, &given, in,
                                       static_cast<int>(size)) == 1;
    out.resize(before + static_cast<std::size_t>(done ? given : 0));
    return done;
  }
  bool update(const text& in, text& out) { return update(in.data(), in.size(), out); }
  bool authenticate(const text& in) {
    int given = 0;
    return EVP_CipherUpdate(context_.get(), nullptr, &given, in.data(),
                            static_cast<int>(in.size())) == 1;
  }
  bool finish(text& out) {
    std::array<unsigned char, 32> last;
    int given = 0;
    if (EVP_CipherFinal_ex(context_.get(), last.data(), &given) != 1) return false;
    out.insert(out.end(), last.begin(), last.begin() + given);
    return true;
  }
  bool set_iv_size(int size) {
    return EVP_CIPHER_CTX_ctrl(context_.get(), EVP_CTRL_AEAD_SET_IVLEN, size, nullptr) == 1;
  }
  bool set_tag(text tag) {
    return EVP_CIPHER_CTX_ctrl(context_.get(), EVP_CTRL_AEAD_SET_TAG, static_cast<int>(tag.size()),
                               tag.data()) == 1;
  }
  text tag(std::size_t size = 16) {
    text out(size);
    if (EVP_CIPHER_CTX_ctrl(context_.get(), EVP_CTRL_AEAD_GET_TAG, static_cast<int>(size),
                            out.data()) != 1) {
      out.clear();
    }
    return out;
  }
  bool copy_to(cipher& other) const {
    return EVP_CIPHER_CTX_copy(other.context_.get(), context_.get()) == 1;
  }
  EVP_CIPHER_CTX* get() { return context_.get(); }

 private:
  std::unique_ptr<EVP_CIPHER, decltype(&EVP_CIPHER_free)> kind_;
  bool begun_ = false;
  std::unique_ptr<EVP_CIPHER_CTX, decltype(&EVP_CIPHER_CTX_free)> context_{EVP_CIPHER_CTX_new(),
                                                                           EVP_CIPHER_CTX_free};
};

/// Does a whole message of CBC; nothing if that fails. With the key, without which OpenSSL's own
/// does not change direction.
text cbc(cipher& its, bool encrypt, const text& in, bool pads = true) {
  text out;
  if (!its.init(encrypt, &key, &iv)) return {};
  EVP_CIPHER_CTX_set_padding(its.get(), pads);
  if (!its.update(in, out) || !its.finish(out)) return {};
  return out;
}

struct sealed {
  text content;
  text tag;
  bool operator==(const sealed&) const = default;
};

sealed seal(cipher& its, const text& with_iv, const text& aad, const text& in) {
  sealed out;
  REQUIRE(its.init(true, nullptr, nullptr));
  REQUIRE(its.set_iv_size(static_cast<int>(with_iv.size())));
  REQUIRE(its.init(true, nullptr, &with_iv));
  REQUIRE((aad.empty() || its.authenticate(aad)));
  REQUIRE(its.update(in, out.content));
  REQUIRE(its.finish(out.content));
  out.tag = its.tag();
  return out;
}

/// Returns whether the message is good; `out` is what it says.
bool open(cipher& its, const text& with_iv, const text& aad, const sealed& in, text& out) {
  return its.init(false, nullptr, nullptr) && its.set_iv_size(static_cast<int>(with_iv.size())) &&
         its.init(false, nullptr, &with_iv) && (aad.empty() || its.authenticate(aad)) &&
         its.update(in.content, out) && its.set_tag(in.tag) && its.finish(out);
}

std::vector<std::size_t> sizes() {
  std::vector<std::size_t> all;
  for (std::size_t size = 0; size <= 4096; ++size) all.push_back(size);
  for (std::size_t size = 4096 + 509; size < 65536; size += 509) all.push_back(size);
  for (std::size_t edge = 8192; edge <= 131072; edge *= 2) {
    for (const int by : {-17, -16, -15, -1, 0, 1, 15, 16, 17}) {
      all.push_back(edge + static_cast<std::size_t>(by));
    }
  }
  return all;
}

/// Says why OpenSSL refused last.
std::string last_error() {
  const char* data = nullptr;
  int flags = 0;
  std::string said;
  while (ERR_get_error_all(nullptr, nullptr, nullptr, &data, &flags) != 0) {
    if (data != nullptr && *data != '\0') said = data;
  }
  return said;
}

}  // namespace

TEST_CASE("CBC is what OpenSSL makes of it, whatever the size", "[openssl]") {
  for (const char* form : {calls, session}) {
    INFO(form);
    cipher theirs("AES-128-CBC", native);
    cipher ours("AES-128-CBC", form);
    REQUIRE(theirs.init(true, &key, &iv));
    REQUIRE(ours.init(true, &key, &iv));
    for (const std::size_t size : sizes()) {
      const text plain = pattern(size);
      const text wanted = cbc(theirs, true, plain);
      if (cbc(ours, true, plain) != wanted) FAIL("encrypting " << size);
      if (cbc(ours, false, wanted) != plain) FAIL("decrypting " << size);
      if (size % 16 != 0) continue;
      if (cbc(ours, true, plain, false) != cbc(theirs, true, plain, false)) FAIL("bare " << size);
    }
  }
}

TEST_CASE("GCM is what OpenSSL makes of it, whatever the size", "[openssl]") {
  for (const char* form : {calls, session}) {
    INFO(form);
    cipher theirs("AES-128-GCM", native);
    cipher ours("AES-128-GCM", form);
    REQUIRE(theirs.init(true, &key, nullptr));
    REQUIRE(ours.init(true, &key, nullptr));
    std::size_t turn = 0;
    for (const std::size_t size : sizes()) {
      if (size < 4096 && ++turn % 3 != 0 && size % 16 != 0) continue;
      const text plain = pattern(size);
      const text aad = pattern(size % 61);
      const sealed wanted = seal(theirs, nonce, aad, plain);
      if (seal(ours, nonce, aad, plain) != wanted) FAIL("encrypting " << size);
      text out;
      if (!open(ours, nonce, aad, wanted, out) || out != plain) FAIL("decrypting " << size);
    }
  }
}

TEST_CASE("texts may come in any parts, and may be changed in place", "[openssl]") {
  std::minstd_rand numbers(7);
  const auto parts = [&](cipher& its, const text& in, bool in_place) {
    text out;
    text buffer;
    for (std::size_t at = 0; at < in.size();) {
      const std::size_t size = std::min<std::size_t>(in.size() - at, 1 + numbers() % 700);
      if (in_place) {
        // Room behind for what was held back before.
        buffer.assign(in.begin() + static_cast<std::ptrdiff_t>(at),
                      in.begin() + static_cast<std::ptrdiff_t>(at + size));
        buffer.resize(size + 16);
        int given = 0;
        REQUIRE(EVP_CipherUpdate(its.get(), buffer.data(), &given, buffer.data(),
                                 static_cast<int>(size)) == 1);
        out.insert(out.end(), buffer.begin(), buffer.begin() + given);
      } else {
        REQUIRE(its.update(in.data() + at, size, out));
      }
      at += size;
    }
    REQUIRE(its.finish(out));
    return out;
  };
  for (const char* form : {calls, session}) {
    cipher block("AES-128-CBC", form);
    cipher stream("AES-128-GCM", form);
    cipher theirs("AES-128-GCM", native);
    REQUIRE(block.init(true, &key, &iv));
    REQUIRE(stream.init(true, &key, &nonce));
    REQUIRE(theirs.init(true, &key, &nonce));
    for (int round = 0; round < 40; ++round) {
      const bool in_place = round % 2 == 0;
      const text plain = pattern(numbers() % 9000);
      const text whole = cbc(block, true, plain);
      REQUIRE(block.init(true, nullptr, &iv));
      CHECK(parts(block, plain, in_place) == whole);
      REQUIRE(block.init(false, nullptr, &iv));
      CHECK(parts(block, whole, in_place) == plain);

      const text aad = pattern(numbers() % 100);
      const text first(aad.begin(), aad.begin() + static_cast<std::ptrdiff_t>(aad.size() / 3));
      const text rest(aad.begin() + static_cast<std::ptrdiff_t>(aad.size() / 3), aad.end());
      const sealed wanted = seal(theirs, nonce, aad, plain);
      REQUIRE(stream.init(true, nullptr, &nonce));
      REQUIRE((first.empty() || stream.authenticate(first)));
      REQUIRE((rest.empty() || stream.authenticate(rest)));
      CHECK(parts(stream, plain, in_place) == wanted.content);
      CHECK(stream.tag() == wanted.tag);
    }
  }
}

TEST_CASE("the standards' vectors come out right", "[openssl]") {
  // NIST SP 800-38A, F.2.1 and F.2.2.
  const text plain =
      hex("6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51"
          "30c81c46a35ce411e5fbc1191a0a52eff69f2445df4f9b17ad2b417be66c3710");
  const text wanted =
      hex("7649abac8119b246cee98e9b12e9197d5086cb9b507219ee95db113a917678b2"
          "73bed6b8e3c1743b7116e69e222295163ff1caa1681fac09120eca307586e1a7");

  struct vector {
    const char *key, *iv, *aad, *plain, *content, *tag;
  };
  // The Galois/Counter Mode of Operation (McGrew, Viega), appendix B, test cases 1 to 6.
  constexpr const char* key3 = "feffe9928665731c6d6a8f9467308308";
  constexpr const char* aad4 = "feedfacedeadbeeffeedfacedeadbeefabaddad2";
  constexpr const char* plain3 =
      "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72"
      "1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b391aafd255";
  constexpr const char* plain4 =
      "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72"
      "1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39";
  constexpr const char* zeros = "00000000000000000000000000000000";
  const vector vectors[] = {
      {zeros, "000000000000000000000000", "", "", "", "58e2fccefa7e3061367f1d57a4e7455a"},
      {zeros, "000000000000000000000000", "", zeros, "0388dace60b6a392f328c2b971b2fe78",
       "ab6e47d42cec13bdf53a67b21257bddf"},
      {key3, "cafebabefacedbaddecaf888", "", plain3,
       "42831ec2217774244b7221b784d0d49ce3aa212f2c02a4e035c17e2329aca12e"
       "21d514b25466931c7d8f6a5aac84aa051ba30b396a0aac973d58e091473f5985",
       "4d5c2af327cd64a62cf35abd2ba6fab4"},
      {key3, "cafebabefacedbaddecaf888", aad4, plain4,
       "42831ec2217774244b7221b784d0d49ce3aa212f2c02a4e035c17e2329aca12e"
       "21d514b25466931c7d8f6a5aac84aa051ba30b396a0aac973d58e091",
       "5bc94fbc3221a5db94fae95ae7121a47"},
      {key3, "cafebabefacedbad", aad4, plain4,
       "61353b4c2806934a777ff51fa22a4755699b2a714fcdc6f83766e5f97b6c7423"
       "73806900e49f24b22b097544d4896b424989b5e1ebac0f07c23f4598",
       "3612d2e79e3b0785561be14aaca2fccb"},
      {key3,
       "9313225df88406e555909c5aff5269aa6a7a9538534f7da1e4c303d2a318a728"
       "c3c0c95156809539fcf0e2429a6b525416aedbf5a0de6a57a637b39b",
       aad4, plain4,
       "8ce24998625615b603a033aca13fb894be9112a5c3a211a8ba262a3cca7e2ca7"
       "01e4a9a4fba43c90ccdcb281d48c7c6fd62875d2aca417034c34aee5",
       "619cc5aefffe0bfa462af43c1699d050"}};

  for (const char* form : {native, calls, session}) {
    INFO(form);
    cipher block("AES-128-CBC", form);
    REQUIRE(block.init(true, &key, &iv));
    CHECK(cbc(block, true, plain, false) == wanted);
    CHECK(cbc(block, false, wanted, false) == plain);

    for (const vector& each : vectors) {
      INFO(each.tag);
      cipher stream("AES-128-GCM", form);
      const text with_key = hex(each.key);
      const text with_iv = hex(each.iv);
      const text aad = hex(each.aad);
      REQUIRE(stream.init(true, &with_key, nullptr));
      const sealed made = seal(stream, with_iv, aad, hex(each.plain));
      CHECK(made == sealed{hex(each.content), hex(each.tag)});
      text out;
      CHECK(open(stream, with_iv, aad, made, out));
      CHECK(out == hex(each.plain));
    }
  }
}

TEST_CASE("a message that was changed anywhere is refused", "[openssl]") {
  const text aad = pattern(20);
  const text plain = pattern(33);
  for (const char* form : {calls, session}) {
    cipher its("AES-128-GCM", form);
    REQUIRE(its.init(true, &key, nullptr));
    const sealed made = seal(its, nonce, aad, plain);
    const auto opens = [&](const text& with_aad, const sealed& message) {
      text out;
      return open(its, nonce, with_aad, message, out);
    };
    CHECK(opens(aad, made));
    for (std::size_t at = 0; at < 16; ++at) {
      sealed changed = made;
      changed.tag[at] ^= 1;
      CHECK_FALSE(opens(aad, changed));
      CHECK(last_error() == "the message is not as it was encrypted");
    }
    for (std::size_t at = 0; at < plain.size(); at += 8) {
      sealed changed = made;
      changed.content[at] ^= 0x80;
      CHECK_FALSE(opens(aad, changed));
    }
    text other = aad;
    other[19] ^= 1;
    CHECK_FALSE(opens(other, made));
    CHECK_FALSE(opens({}, made));
    // Shorter tags are possible, as with OpenSSL's own.
    sealed shorter = made;
    shorter.tag.resize(12);
    CHECK(opens(aad, shorter));
    CHECK(opens(aad, made));
  }
}

TEST_CASE("what cannot be done is refused", "[openssl]") {
  for (const char* form : {calls, session}) {
    INFO(form);
    text out;
    cipher block("AES-128-CBC", form);
    REQUIRE(block.init(true, nullptr, &iv));
    for (const std::size_t size : {0U, 1U, 16U}) {
      CHECK_FALSE(block.update(pattern(size), out));
      CHECK(last_error() == "there is no key");
    }
    CHECK_FALSE(block.finish(out));
    REQUIRE(block.init(true, &key, nullptr));  // The IV from before.
    CHECK(block.update(pattern(16), out));
    cipher theirs("AES-128-CBC", native);
    REQUIRE(theirs.init(true, &key, &iv));
    text wanted;
    REQUIRE(theirs.update(pattern(16), wanted));
    CHECK(out == wanted);
    CHECK(EVP_CIPHER_CTX_set_key_length(block.get(), 24) != 1);

    CHECK(cbc(block, true, pattern(17), false).empty());
    CHECK(cbc(block, false, pattern(17)).empty());
    CHECK(cbc(block, false, {}).empty());
    CHECK(cbc(block, false, pattern(48)).empty());
    CHECK(last_error() == "the padding is not right");

    cipher stream("AES-128-GCM", form);
    REQUIRE(stream.init(true, nullptr, &nonce));
    CHECK_FALSE(stream.update(pattern(16), out));
    REQUIRE(stream.init(true, &key, nullptr));
    CHECK(stream.tag().empty());
    CHECK(stream.update(pattern(16), out));
    CHECK_FALSE(stream.authenticate(pattern(16)));
    CHECK(stream.finish(out));
    CHECK_FALSE(stream.set_tag(pattern(16)));
    // One IV is for one message.
    CHECK_FALSE(stream.update(pattern(16), out));
    CHECK_FALSE(stream.finish(out));
    REQUIRE(stream.init(true, &key, nullptr));  // Another key is no other IV.
    CHECK_FALSE(stream.update(pattern(16), out));
    text used(nonce.size());
    CHECK(EVP_CIPHER_CTX_get_original_iv(stream.get(), used.data(), used.size()) == 1);
    CHECK(used == nonce);
    CHECK_FALSE(stream.set_iv_size(0));
    CHECK_FALSE(stream.set_iv_size(129));
    cipher reads("AES-128-GCM", form);
    REQUIRE(reads.init(false, &key, &nonce));
    CHECK(reads.update(pattern(16), out));
    CHECK_FALSE(reads.finish(out));
    CHECK(last_error() == "there is no tag to compare");

    // What libssl sets for TLS 1.2.
    int version = 0x0303;
    const OSSL_PARAM of_tls[] = {OSSL_PARAM_int(OSSL_CIPHER_PARAM_TLS_VERSION, &version),
                                 OSSL_PARAM_END};
    CHECK(EVP_CIPHER_CTX_set_params(block.get(), of_tls) != 1);
    CHECK(last_error() == "there is no TLS before 1.3");
    CHECK(EVP_CIPHER_CTX_ctrl(stream.get(), EVP_CTRL_GCM_SET_IV_FIXED, 4, out.data()) != 1);
    CHECK(last_error() == "there is no TLS before 1.3");
  }
}

TEST_CASE("a copy of a context goes on by itself", "[openssl]") {
  const text plain = pattern(1000);
  for (const char* form : {calls, session}) {
    INFO(form);
    cipher block("AES-128-CBC", form);
    REQUIRE(block.init(true, &key, &iv));
    const text wanted = cbc(block, true, plain);
    REQUIRE(block.init(true, nullptr, &iv));
    text out;
    REQUIRE(block.update(plain.data(), 333, out));
    cipher other("AES-128-CBC", form);
    REQUIRE(block.copy_to(other));
    for (cipher* each : {&block, &other}) {
      text all = out;
      REQUIRE(each->update(plain.data() + 333, plain.size() - 333, all));
      REQUIRE(each->finish(all));
      CHECK(all == wanted);
    }

    cipher stream("AES-128-GCM", form);
    REQUIRE(stream.init(true, &key, &nonce));
    const sealed message = seal(stream, nonce, pattern(5), plain);
    REQUIRE(stream.init(true, nullptr, &nonce));
    REQUIRE(stream.authenticate(pattern(5)));
    text content;
    REQUIRE(stream.update(plain.data(), 333, content));
    cipher copied("AES-128-GCM", form);
    REQUIRE(stream.copy_to(copied));
    for (cipher* each : {&stream, &copied}) {
      text all = content;
      REQUIRE(each->update(plain.data() + 333, plain.size() - 333, all));
      REQUIRE(each->finish(all));
      CHECK(all == message.content);
      CHECK(each->tag() == message.tag);
    }
  }
}

TEST_CASE("contexts do not disturb each other, on whatever threads they are used", "[openssl]") {
  const auto work = [](const char* form, std::size_t contexts, unsigned seed) {
    std::vector<std::unique_ptr<cipher>> ours;
    std::vector<std::unique_ptr<cipher>> theirs;
    for (std::size_t i = 0; i < contexts; ++i) {
      text own = key;
      own[0] = static_cast<unsigned char>(i + seed);
      ours.push_back(std::make_unique<cipher>("AES-128-CBC", form));
      theirs.push_back(std::make_unique<cipher>("AES-128-CBC", native));
      if (!ours[i]->init(true, &own, &iv) || !theirs[i]->init(true, &own, &iv)) return false;
    }
    for (std::size_t round = 0; round < 3; ++round) {
      for (std::size_t i = 0; i < contexts; ++i) {
        const text plain = pattern(seed + i * 16 + round);
        text made;
        text wanted;
        if (!ours[i]->update(plain, made) || !theirs[i]->update(plain, wanted)) return false;
        if (made != wanted) return false;
      }
    }
    return true;
  };
  CHECK(work(calls, 300, 1));
  CHECK(work(session, 5, 1));
  std::array<bool, 6> good{};
  std::vector<std::thread> threads;
  for (std::size_t i = 0; i < good.size(); ++i) {
    threads.emplace_back([&, i] {
      good[i] =
          work(i % 3 == 0 ? session : calls, i % 3 == 0 ? 2 : 40, static_cast<unsigned>(i * 1000));
    });
  }
  for (std::thread& each : threads) each.join();
  for (const bool each : good) CHECK(each);

  for (const char* form : {calls, session}) {
    cipher its("AES-128-CBC", form);
    const text plain = pattern(100);
    std::thread([&] { good[0] = its.init(true, &key, &iv); }).join();
    CHECK(good[0]);
    const text here = cbc(its, true, plain);
    text there;
    std::thread([&] { there = cbc(its, true, plain); }).join();
    CHECK(here.size() == 112);
    CHECK(there == here);
  }
}

TEST_CASE("a child of fork goes on with calls, and is refused sessions", "[openssl]") {
  // One that makes the first machine itself, as with `openssl speed -multi`, is in command.py.
  const text plain = pattern(100);
  text wanted;
  cipher theirs("AES-128-CBC", native);
  REQUIRE(theirs.init(true, &key, &iv));
  REQUIRE(theirs.update(plain, wanted));
  cipher its("AES-128-CBC", calls);
  REQUIRE(its.init(true, &key, &iv));
  const pid_t child = fork();
  if (child == 0) {
    text out;
    const bool goes_on = its.update(plain, out) && out == wanted;
    cipher fresh("AES-128-CBC", calls);
    out.clear();
    const bool begins = fresh.init(true, &key, &iv) && fresh.update(plain, out) && out == wanted;
    _exit(goes_on && begins ? 0 : 1);
  }
  int status = 0;
  REQUIRE(waitpid(child, &status, 0) == child);
  CHECK(status == 0);
  text out;
  CHECK(its.update(plain, out));
  CHECK(out == wanted);

  // A session's machine is its parent's, and so is a copy of it.
  cipher stays("AES-128-CBC", session);
  REQUIRE(stays.init(true, &key, &iv));
  const pid_t another = fork();
  if (another == 0) {
    cipher copied("AES-128-CBC", session);
    const auto is_told_why = [] {
      return last_error().find("opened before the fork") != std::string::npos;
    };
    const bool no_copy = !stays.copy_to(copied) && is_told_why();
    const bool no_text = !stays.update(plain, out) && is_told_why();
    _exit(no_copy && no_text ? 0 : 1);
  }
  REQUIRE(waitpid(another, &status, 0) == another);
  CHECK(status == 0);
  out.clear();
  CHECK(stays.update(plain, out));
  CHECK(out == wanted);
}

// Not where sanitizers have reserved more address space than anybody can look through.
#ifndef VIRTINE_TEST_SANITIZED

namespace {

/// Where in this process's writable memory something is found: names of mappings.
std::vector<std::string> places_of(const std::array<unsigned char, 16>& masked) {
  std::vector<std::string> found;
  std::ifstream maps("/proc/self/maps");
  std::ifstream memory("/proc/self/mem", std::ios::binary);
  std::vector<std::string> lines;
  for (std::string line; std::getline(maps, line);) lines.push_back(line);
  // Read piece by piece into one place, which is not looked at itself.
  alignas(4096) static std::array<unsigned char, 1 << 16> piece;
  for (const std::string& line : lines) {
    std::uint64_t begin = 0;
    std::uint64_t end = 0;
    char access[5] = {};
    if (std::sscanf(line.c_str(), "%lx-%lx %4s", &begin, &end, access) != 3) continue;
    if (std::string_view(access).substr(0, 2) != "rw") continue;
    for (std::uint64_t at = begin; at < end; at += piece.size() - 16) {
      const auto size = std::min<std::uint64_t>(end - at, piece.size());
      memory.clear();
      memory.seekg(static_cast<std::streamoff>(at));
      memory.read(reinterpret_cast<char*>(piece.data()), static_cast<std::streamsize>(size));
      const auto got = static_cast<std::size_t>(memory.gcount());
      const unsigned char* next = piece.data();
      const unsigned char* const last = piece.data() + got;
      while ((next = std::find(next, last, static_cast<unsigned char>(masked[0] ^ 0x5a))) != last) {
        const unsigned char* const here = next++;
        if (last - here < 16) break;
        std::size_t same = 1;
        while (same < 16 && here[same] == (masked[same] ^ 0x5a)) ++same;
        if (same < 16) continue;
        const std::uint64_t where = at + static_cast<std::uint64_t>(here - piece.data());
        // Sound: compared as a number only.
        const auto self = reinterpret_cast<std::uint64_t>(piece.data());
        if (where + 16 > self && where < self + piece.size()) continue;
        const auto name = line.find('/');
        found.push_back(name == std::string::npos ? "host: " + line : line.substr(name));
      }
      OPENSSL_cleanse(piece.data(), got);
    }
  }
  return found;
}

using needle = std::array<unsigned char, 16>;

needle masked(const unsigned char* from) {
  needle out;
  for (std::size_t i = 0; i < 16; ++i) out[i] = from[i] ^ 0x5a;
  return out;
}

/// Gives `its` a key that nobody knows, and forgets it. Returns what to look for, masked: the key
/// and the last part of its schedule.
[[gnu::noinline]] std::array<needle, 2> give_secret_key(EVP_CIPHER_CTX* its,
                                                        const EVP_CIPHER* kind) {
  std::array<unsigned char, 16> secret;
  std::ifstream("/dev/urandom", std::ios::binary)
      .rdbuf()
      ->sgetn(reinterpret_cast<char*>(secret.data()), 16);
  AES_KEY schedule;
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"
  AES_set_encrypt_key(secret.data(), 128, &schedule);
#pragma GCC diagnostic pop
  const std::array<needle, 2> wanted{
      masked(secret.data()),
      // Sound: the words of the schedule are looked at as bytes.
      masked(reinterpret_cast<const unsigned char*>(&schedule.rd_key[40]))};
  REQUIRE(EVP_EncryptInit_ex2(its, kind, secret.data(), iv.data(), nullptr) == 1);
  OPENSSL_cleanse(secret.data(), secret.size());
  OPENSSL_cleanse(&schedule, sizeof schedule);
  return wanted;
}

bool is_guest(const std::string& place) {
  return place.find("memfd:virtine") != std::string::npos;
}

}  // namespace

TEST_CASE("a key is in guests only", "[openssl]") {
  const std::pair<const char*, const char*> kinds[] = {{"AES-128-CBC", native},
                                                       {"AES-128-CBC", calls},
                                                       {"AES-128-GCM", calls},
                                                       {"AES-128-CBC", session},
                                                       {"AES-128-GCM", session}};
  for (const auto& [name, form] : kinds) {
    INFO(name << " " << form);
    const std::unique_ptr<EVP_CIPHER, decltype(&EVP_CIPHER_free)> kind(
        EVP_CIPHER_fetch(library(), name, form), EVP_CIPHER_free);
    std::unique_ptr<EVP_CIPHER_CTX, decltype(&EVP_CIPHER_CTX_free)> its(EVP_CIPHER_CTX_new(),
                                                                        EVP_CIPHER_CTX_free);
    const auto wanted = give_secret_key(its.get(), kind.get());
    text data(1000);
    int size = 0;
    REQUIRE(EVP_EncryptUpdate(its.get(), data.data(), &size, data.data(), 1000) == 1);

    std::size_t inside = 0;
    std::size_t outside = 0;
    for (const needle& each : wanted) {
      for (const std::string& place : places_of(each)) {
        UNSCOPED_INFO(place);
        ++(is_guest(place) ? inside : outside);
      }
    }
    if (form == native) {
      CHECK(outside > 0);  // So it would be found.
    } else {
      CHECK(outside == 0);
      // Between calls it is not even there.
      CHECK((inside > 0) == (form == session));
    }
    its.reset();
    for (const needle& each : wanted) CHECK(places_of(each).empty());
  }
}

#endif
