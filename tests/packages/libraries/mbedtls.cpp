// SPDX-License-Identifier: MIT
#include <cstring>

#include <mbedtls/gcm.h>
#include <mbedtls/sha256.h>

#include "library.hpp"

LIBRARY(mbedtls) {
  unsigned char hash[32];
  EXPECT(mbedtls_sha256_ret(reinterpret_cast<const unsigned char*>("abc"), 3, hash, 0) == 0);
  EXPECT(hash[0] == 0xba && hash[31] == 0xad);
  mbedtls_gcm_context gcm;
  mbedtls_gcm_init(&gcm);
  unsigned char key[16] = {}, nonce[12] = {}, text[16] = {}, made[16], tag[16];
  EXPECT(mbedtls_gcm_setkey(&gcm, MBEDTLS_CIPHER_ID_AES, key, 128) == 0);
  EXPECT(mbedtls_gcm_crypt_and_tag(&gcm, MBEDTLS_GCM_ENCRYPT, 16, nonce, 12, nullptr, 0, text, made,
                                   16, tag) == 0);
  EXPECT(made[0] == 0x03 && made[15] == 0x78 && tag[0] == 0xab && tag[15] == 0xdf);
  mbedtls_gcm_free(&gcm);
  return 0;
}
