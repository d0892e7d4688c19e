// SPDX-License-Identifier: MIT
#include <cstring>

#include <openssl/evp.h>

#include "library.hpp"

LIBRARY(libcrypto) {
  unsigned char hash[EVP_MAX_MD_SIZE];
  unsigned size = 0;
  EXPECT(EVP_Digest("abc", 3, hash, &size, EVP_sha256(), nullptr) == 1 && size == 32);
  EXPECT(hash[0] == 0xba && hash[31] == 0xad);
  EVP_CIPHER_CTX* const context = EVP_CIPHER_CTX_new();
  unsigned char key[16] = {}, nonce[12] = {}, text[16] = {}, made[16], tag[16];
  int length = 0;
  EXPECT(EVP_EncryptInit_ex(context, EVP_aes_128_gcm(), nullptr, key, nonce) == 1);
  EXPECT(EVP_EncryptUpdate(context, made, &length, text, 16) == 1 && length == 16);
  EXPECT(EVP_EncryptFinal_ex(context, tag, &length) == 1);
  EXPECT(EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_GCM_GET_TAG, 16, tag) == 1);
  EXPECT(made[0] == 0x03 && made[15] == 0x78 && tag[0] == 0xab && tag[15] == 0xdf);
  EVP_CIPHER_CTX_free(context);
  return 0;
}

#ifdef VIRTINE_GUEST
// What the library makes for itself when something of it is first used, once for all calls.
static void prepare() {
  libcrypto_works();
}
VIRTINE_INIT(prepare);
#endif
