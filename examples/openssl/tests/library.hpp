// What the tests of the provider share: OpenSSL with both providers, and how one asks for each.
// SPDX-License-Identifier: MIT
#pragma once

#include <openssl/crypto.h>
#include <openssl/provider.h>

#include <stdexcept>
#include <vector>

namespace provider_tests {

using text = std::vector<unsigned char>;

inline constexpr const char* native = "provider=default";
inline constexpr const char* calls = "virtine.form=calls";
inline constexpr const char* session = "virtine.form=session";

inline OSSL_LIB_CTX* library() {
  static OSSL_LIB_CTX* const made = [] {
    OSSL_LIB_CTX* const its = OSSL_LIB_CTX_new();
    if (OSSL_PROVIDER_set_default_search_path(its, VIRTINE_PROVIDER_PATH) != 1 ||
        OSSL_PROVIDER_load(its, "default") == nullptr ||
        OSSL_PROVIDER_load(its, "virtine") == nullptr) {
      throw std::runtime_error("OpenSSL cannot load the providers");
    }
    return its;
  }();
  return made;
}

}  // namespace provider_tests
