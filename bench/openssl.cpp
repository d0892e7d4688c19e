// What OpenSSL pays for a cipher that runs in virtines: 16 KiB of AES-128-CBC and AES-128-GCM, and
// smaller blocks of the former, by its own EVP interface, beside its own implementation in the same
// program. The session wants two processors that have nothing else to do.
// SPDX-License-Identifier: MIT
#include <openssl/evp.h>
#include <openssl/provider.h>

#include <array>
#include <cstddef>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "floor_exit.hpp"
#include "harness.hpp"

namespace {

constexpr std::array<unsigned char, 16> key{1, 2, 3};
constexpr std::array<unsigned char, 16> iv{4, 5, 6};

/// A cipher of one implementation, which encrypts a text again and again.
class encryption {
 public:
  encryption(const char* name, const char* implementation, std::size_t size)
      : cipher_(EVP_CIPHER_fetch(nullptr, name, implementation), EVP_CIPHER_free),
        context_(EVP_CIPHER_CTX_new(), EVP_CIPHER_CTX_free),
        text_(size) {
    bench::check(cipher_ != nullptr, implementation);
    bench::check(
        EVP_EncryptInit_ex2(context_.get(), cipher_.get(), key.data(), iv.data(), nullptr) == 1,
        "EVP_EncryptInit_ex2");
    EVP_CIPHER_CTX_set_padding(context_.get(), 0);
  }

  void operator()() {
    int size = 0;
    const int done = EVP_EncryptUpdate(context_.get(), text_.data(), &size, text_.data(),
                                       static_cast<int>(text_.size()));
    bench::check(done == 1 && size == static_cast<int>(text_.size()), "EVP_EncryptUpdate");
    ++count_;
  }

  /// Ends the program unless `other`, made alike, gets the same text in as many steps.
  void compare(encryption& other) {
    while (other.count_ < count_) other();
    while (count_ < other.count_) (*this)();
    bench::check(text_ == other.text_, "ciphertext");
  }

 private:
  std::unique_ptr<EVP_CIPHER, decltype(&EVP_CIPHER_free)> cipher_;
  std::unique_ptr<EVP_CIPHER_CTX, decltype(&EVP_CIPHER_CTX_free)> context_;
  std::vector<unsigned char> text_;
  long count_ = 0;
};

void measure(bench::program& program, const char* cipher, const std::string& prefix,
             std::size_t size) {
  const bench::floor_exit exit;
  encryption native(cipher, "provider=default", size);
  encryption calls(cipher, "virtine.form=calls", size);
  encryption session(cipher, "virtine.form=session", size);

  // As in bench/session.cpp: a burst makes little of its first calls.
  bench::group rows({.samples = 5000, .burst = 500});
  rows.row(prefix + ".exit", [&] { exit(); });
  rows.floor(prefix + ".native", [&] { native(); });
  rows.row(prefix + ".call", [&] { calls(); });
  rows.row(prefix + ".session", [&] { session(); });
  program.measure(std::move(rows));
  native.compare(calls);
  native.compare(session);
}

}  // namespace

int main(int argc, char** argv) {
  bench::require_kvm();
  bench::check(OSSL_PROVIDER_set_default_search_path(nullptr, VIRTINE_PROVIDER_PATH) == 1 &&
                   OSSL_PROVIDER_load(nullptr, "default") != nullptr &&
                   OSSL_PROVIDER_load(nullptr, "virtine") != nullptr,
               "OSSL_PROVIDER_load");
  bench::program program("openssl", argc, argv);
  measure(program, "AES-128-CBC", "openssl.cbc16k", 16 << 10);
  measure(program, "AES-128-GCM", "openssl.gcm16k", 16 << 10);
  // The other block sizes of `openssl speed`.
  for (const std::size_t size : {16U, 64U, 256U, 1024U, 8192U}) {
    measure(program, "AES-128-CBC", "openssl.cbc." + std::to_string(size), size);
  }
  return program.finish();
}
