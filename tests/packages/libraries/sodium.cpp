// SPDX-License-Identifier: MIT
#include <cstring>

#include <sodium.h>

#include "library.hpp"

LIBRARY(sodium) {
  unsigned char hash[crypto_hash_sha256_BYTES];
  crypto_hash_sha256(hash, reinterpret_cast<const unsigned char*>("abc"), 3);
  EXPECT(hash[0] == 0xba && hash[31] == 0xad);
  unsigned char key[crypto_secretbox_KEYBYTES] = {1}, nonce[crypto_secretbox_NONCEBYTES] = {2};
  unsigned char box[crypto_secretbox_MACBYTES + 5], back[5];
  EXPECT(crypto_secretbox_easy(box, reinterpret_cast<const unsigned char*>("hello"), 5, nonce,
                               key) == 0);
  EXPECT(crypto_secretbox_open_easy(back, box, sizeof box, nonce, key) == 0);
  EXPECT(std::memcmp(back, "hello", 5) == 0);
  box[3] ^= 1;
  EXPECT(crypto_secretbox_open_easy(back, box, sizeof box, nonce, key) == -1);
  return 0;
}
