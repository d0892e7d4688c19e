// The guest: AES-128-CBC and AES-128-GCM on OpenSSL's own code for AES, GHASH and key wrap, whose
// objects are linked in as the distribution ships them. What is written here is how GCM puts the
// first two together, and what of a context leaves the guest how.
// SPDX-License-Identifier: MIT
#include <cpuid.h>
#include <immintrin.h>
#include <openssl/aes.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

#include <virtine/guest.hpp>

#include "cipher.hpp"

using bytes = std::span<std::byte>;
using cipher::block;

extern "C" {
// What OpenSSL's code asks of its library: bits of CPUID, as OPENSSL_ia32cap(3) has them.
std::uint32_t OPENSSL_ia32cap_P[4];

// aesni-x86_64
int aesni_set_encrypt_key(const void* key, int bits, AES_KEY* schedule);
int aesni_set_decrypt_key(const void* key, int bits, AES_KEY* schedule);
void aesni_encrypt(const void* in, void* out, const AES_KEY* schedule);
void aesni_decrypt(const void* in, void* out, const AES_KEY* schedule);
void aesni_cbc_encrypt(const void* in, void* out, std::size_t size, const AES_KEY* schedule,
                       void* iv, int encrypt);
void aesni_ctr32_encrypt_blocks(const void* in, void* out, std::size_t blocks,
                                const AES_KEY* schedule, const void* counter);
// ghash-x86_64
void gcm_init_clmul(void* table, const std::uint64_t* h);
void gcm_init_avx(void* table, const std::uint64_t* h);
void gcm_gmult_clmul(void* hash, const void* table);
void gcm_gmult_avx(void* hash, const void* table);
void gcm_ghash_clmul(void* hash, const void* table, const void* in, std::size_t size);
void gcm_ghash_avx(void* hash, const void* table, const void* in, std::size_t size);
// aesni-gcm-x86_64: both at once. Return how much they did, and count `counter` on.
std::size_t aesni_gcm_encrypt(const void* in, void* out, std::size_t size, const AES_KEY* schedule,
                              void* counter, void* hash);
std::size_t aesni_gcm_decrypt(const void* in, void* out, std::size_t size, const AES_KEY* schedule,
                              void* counter, void* hash);
// wrap128. With a null `iv` the check is that of RFC 3394; 0 if it fails.
using block_cipher = void(const void* in, void* out, const AES_KEY* schedule);
std::size_t CRYPTO_128_wrap(const AES_KEY* schedule, const void* iv, void* out, const void* in,
                            std::size_t size, block_cipher* encrypt);
std::size_t CRYPTO_128_unwrap(const AES_KEY* schedule, const void* iv, void* out, const void* in,
                              std::size_t size, block_cipher* decrypt);

// What that asks of the rest of OpenSSL.
void OPENSSL_cleanse(void* what, std::size_t size) {
  std::memset(what, 0, size);
  asm volatile("" : : "r"(what) : "memory");
}
int CRYPTO_memcmp(const void* left, const void* right, std::size_t size) {
  // Every byte, whatever those before it are: how long it takes tells nothing.
  auto* const a = static_cast<const volatile unsigned char*>(left);
  auto* const b = static_cast<const volatile unsigned char*>(right);
  int different = 0;
  for (std::size_t i = 0; i < size; ++i) different |= a[i] ^ b[i];
  return different;
}
}

namespace {

void require(bool right) {
  if (!right) __builtin_trap();  // Ends the call; the host is told where.
}

std::uint64_t load(const std::byte* from) {
  std::uint64_t word;
  std::memcpy(&word, from, sizeof word);
  return __builtin_bswap64(word);
}

void store(std::byte* to, std::uint64_t value) {
  value = __builtin_bswap64(value);
  std::memcpy(to, &value, sizeof value);
}

/// Key wrap of RFC 3394, which hides and authenticates without a nonce.
class key_wrap {
 public:
  [[gnu::target("rdrnd")]] void draw_key() {
    std::array<unsigned long long, 2> key{};
    for (auto& word : key) {
      int tries = 0;
      while (_rdrand64_step(&word) == 0) require(++tries < 100);
    }
    aesni_set_encrypt_key(key.data(), 128, &encrypt_);
    aesni_set_decrypt_key(key.data(), 128, &decrypt_);
  }

  /// Makes of `open`, whole words, something that is a word longer.
  void close(std::span<const std::byte> open, std::byte* sealed) const {
    require(CRYPTO_128_wrap(&encrypt_, nullptr, sealed, open.data(), open.size(), aesni_encrypt) !=
            0);
  }

  void open(const std::byte* sealed, bytes open) const {
    require(CRYPTO_128_unwrap(&decrypt_, nullptr, open.data(), sealed, open.size() + 8,
                              aesni_decrypt) == open.size());
  }

 private:
  AES_KEY encrypt_;
  AES_KEY decrypt_;
};

key_wrap wrap;

/// What a context is between two operations.
struct context_state {
  block key{};
  block chain{};  // CBC: the last ciphertext block. GCM: the hash so far.
  // Of GCM only:
  block first_counter{};
  std::uint64_t aad_size = 0;
  std::uint64_t text_size = 0;
};
static_assert(sizeof(context_state) + 8 == sizeof(cipher::sealed_state::secret));

/// GHASH of one key.
class hasher {
 public:
  void set_key(const AES_KEY& schedule) {
    wide_ = (OPENSSL_ia32cap_P[1] >> 22 & 0x41) == 0x41;  // AVX and MOVBE.
    h_ = {};
    aesni_encrypt(h_.data(), h_.data(), &schedule);
    const std::array<std::uint64_t, 2> h{load(h_.data()), load(h_.data() + 8)};
    (wide_ ? gcm_init_avx : gcm_init_clmul)(table_, h.data());
  }

  /// Takes in `text`, which begins `offset` bytes into its block. end_block() is to follow the
  /// last.
  void add(std::size_t offset, std::span<const std::byte> text) {
    for (; !text.empty() && offset % 16 != 0; text = text.subspan(1)) add(offset++, text[0]);
    const std::size_t whole = text.size() / 16 * 16;
    if (whole != 0)
      (wide_ ? gcm_ghash_avx : gcm_ghash_clmul)(hash_.data(), table_, text.data(), whole);
    offset = 0;
    for (std::byte each : text.subspan(whole)) add(offset++, each);
  }
  void add(std::size_t offset, std::byte each) {
    hash_[offset % 16] ^= each;
    if (offset % 16 == 15) multiply();
  }
  /// Fills up a block of which there are `size` bytes with zeros.
  void end_block(std::size_t size) {
    if (size % 16 != 0) multiply();
  }

  [[nodiscard]] block& hash() { return hash_; }
  [[nodiscard]] bool wide() const { return wide_; }

 private:
  void multiply() { (wide_ ? gcm_gmult_avx : gcm_gmult_clmul)(hash_.data(), table_); }

  // The stitched code finds h and the table by their distance from the hash.
  alignas(16) block hash_;
  block h_;
  std::byte table_[256];
  bool wide_;
};

class context {
 public:
  void run(cipher::operation what, bytes text) {
    using enum cipher::operation;
    switch (what) {
      case cbc_key:
        set_key(text.first(cipher::key_size));
        [[fallthrough]];
      case cbc_iv:
        require(text.size() >= cipher::block_size);
        std::memcpy(state_.chain.data(), text.last(cipher::block_size).data(), cipher::block_size);
        return;
      case cbc_encrypt:
        prepare(encrypt_ready_, aesni_set_encrypt_key, encrypt_);
        return aesni_cbc_encrypt(text.data(), text.data(), text.size(), &encrypt_,
                                 state_.chain.data(), 1);
      case cbc_decrypt:
        prepare(decrypt_ready_, aesni_set_decrypt_key, decrypt_);
        return aesni_cbc_encrypt(text.data(), text.data(), text.size(), &decrypt_,
                                 state_.chain.data(), 0);
      case gcm_key:
        return set_key(text);
      case gcm_iv:
      case gcm_aad:
      case gcm_encrypt:
      case gcm_decrypt:
      case gcm_tag:
        prepare_hash();
        hasher_.hash() = state_.chain;
        gcm(what, text);
        state_.chain = hasher_.hash();
        return;
      case seal:
        return store_state(sealed_in(text));
      case unseal:
        return load_state(sealed_in(text));
    }
    require(false);
  }

  // Of CBC only the key is a secret, and sealed once.

  void load_key(const cipher::sealed_state& from) {
    wrap.open(from.secret.data(), state_.key);
    forget_schedules();
  }
  void store_key(cipher::sealed_state& to) const { wrap.close(state_.key, to.secret.data()); }
  void load_chain(const cipher::sealed_state& from) { state_.chain = from.chain; }
  void store_chain(cipher::sealed_state& to) const { to.chain = state_.chain; }

  // Of GCM all is, because hashes tell of the key of the hash.

  void load_state(const cipher::sealed_state& from) {
    wrap.open(from.secret.data(), std::as_writable_bytes(std::span(&state_, 1)));
    forget_schedules();
  }
  void store_state(cipher::sealed_state& to) const {
    wrap.close(std::as_bytes(std::span(&state_, 1)), to.secret.data());
  }

 private:
  static cipher::sealed_state& sealed_in(bytes text) {
    require(text.size() == sizeof(cipher::sealed_state));
    // Sound: all its bytes are there, it asks for no alignment, and any bytes are one.
    return *reinterpret_cast<cipher::sealed_state*>(text.data());
  }

  void set_key(bytes key) {
    require(key.size() == cipher::key_size);
    state_ = {};
    std::memcpy(state_.key.data(), key.data(), key.size());
    std::memset(key.data(), 0, key.size());
    forget_schedules();
  }

  void forget_schedules() { encrypt_ready_ = decrypt_ready_ = hash_ready_ = false; }

  void prepare(bool& ready, decltype(aesni_set_encrypt_key) set, AES_KEY& schedule) {
    if (!ready) set(state_.key.data(), 8 * cipher::key_size, &schedule);
    ready = true;
  }

  void prepare_hash() {
    prepare(encrypt_ready_, aesni_set_encrypt_key, encrypt_);
    if (!hash_ready_) hasher_.set_key(encrypt_);
    hash_ready_ = true;
  }

  void gcm(cipher::operation what, bytes text) {
    using enum cipher::operation;
    switch (what) {
      case gcm_iv:
        return begin_message(text);
      case gcm_aad:
        require(state_.text_size == 0 && text.size() <= (1ULL << 61) - state_.aad_size);
        hasher_.add(state_.aad_size, text);
        state_.aad_size += text.size();
        return;
      case gcm_encrypt:
      case gcm_decrypt:
        if (text.empty()) return;
        require(text.size() <= (1ULL << 36) - 32 - state_.text_size);
        if (state_.text_size == 0) hasher_.end_block(state_.aad_size);
        crypt(what == gcm_encrypt, text);
        return;
      default:
        return end_message(text);
    }
  }

  void begin_message(std::span<const std::byte> iv) {
    state_.aad_size = state_.text_size = 0;
    hasher_.hash() = {};
    if (iv.size() == 12) {
      std::memcpy(state_.first_counter.data(), iv.data(), iv.size());
      state_.first_counter[12] = state_.first_counter[13] = state_.first_counter[14] = {};
      state_.first_counter[15] = std::byte{1};
      return;
    }
    require(!iv.empty());
    hasher_.add(0, iv);
    hasher_.end_block(iv.size());
    add_sizes(0, iv.size());
    state_.first_counter = hasher_.hash();
    hasher_.hash() = {};
  }

  void end_message(bytes tag) {
    require(tag.size() == cipher::block_size);
    hasher_.end_block(state_.text_size != 0 ? state_.text_size : state_.aad_size);
    add_sizes(state_.aad_size, state_.text_size);
    alignas(16) block mask;
    aesni_encrypt(state_.first_counter.data(), mask.data(), &encrypt_);
    for (std::size_t i = 0; i < tag.size(); ++i) tag[i] = mask[i] ^ hasher_.hash()[i];
  }

  void add_sizes(std::uint64_t first, std::uint64_t second) {
    block sizes;
    store(sizes.data(), first * 8);
    store(sizes.data() + 8, second * 8);
    hasher_.add(0, sizes);
  }

  /// Returns the counter of the block that comes next.
  [[nodiscard]] block counter() const {
    block next = state_.first_counter;
    const std::uint64_t low = load(next.data() + 8);
    const auto count = static_cast<std::uint32_t>(low + 1 + state_.text_size / 16);
    store(next.data() + 8, (low & ~std::uint64_t{0xffffffff}) | count);
    return next;
  }

  void crypt(bool encrypt, bytes text) {
    if (state_.text_size % 16 != 0) {
      text = crypt_part(encrypt, text, 16 - state_.text_size % 16);
    }
    alignas(16) block next = counter();
    if (hasher_.wide()) {
      const std::size_t done = (encrypt ? aesni_gcm_encrypt : aesni_gcm_decrypt)(
          text.data(), text.data(), text.size(), &encrypt_, next.data(), hasher_.hash().data());
      state_.text_size += done;
      text = text.subspan(done);
      next = counter();
    }
    if (const std::size_t whole = text.size() / 16 * 16; whole != 0) {
      if (!encrypt) hasher_.add(0, text.first(whole));
      aesni_ctr32_encrypt_blocks(text.data(), text.data(), whole / 16, &encrypt_, next.data());
      if (encrypt) hasher_.add(0, text.first(whole));
      state_.text_size += whole;
      text = text.subspan(whole);
    }
    crypt_part(encrypt, text, text.size());
  }

  /// Encrypts or decrypts `most` bytes, all in the next block. Returns the rest.
  bytes crypt_part(bool encrypt, bytes text, std::size_t most) {
    alignas(16) block mask = counter();
    aesni_encrypt(mask.data(), mask.data(), &encrypt_);
    const std::size_t size = std::min(text.size(), most);
    for (std::byte& each : text.first(size)) {
      const std::size_t at = state_.text_size++ % 16;
      const std::byte other = each ^ mask[at];
      hasher_.add(at, encrypt ? other : each);
      each = other;
    }
    return text.subspan(size);
  }

  context_state state_;
  bool encrypt_ready_ = false;
  bool decrypt_ready_ = false;
  bool hash_ready_ = false;
  AES_KEY encrypt_;
  AES_KEY decrypt_;
  hasher hasher_;
};

context current;

// Before the snapshot, so that every call finds the same key of the seal.
void prepare() {
  unsigned a = 0;
  unsigned b = 0;
  unsigned c = 0;
  unsigned d = 0;
  __cpuid(1, a, b, c, d);
  OPENSSL_ia32cap_P[0] = d & ~(1U << 30);  // Which tells it of an old processor of Intel's.
  OPENSSL_ia32cap_P[1] = c & ~(1U << 11);  // And this one of AMD's XOP.
  require((c & bit_AES) != 0 && (c & bit_PCLMUL) != 0 && (c & bit_RDRND) != 0);
  __cpuid_count(7, 0, a, b, c, d);
  OPENSSL_ia32cap_P[2] = b;
  wrap.draw_key();
}

/// Does an operation on a context that stays in this guest: for sessions.
void step(cipher::operation what, bytes text) {
  current.run(what, text);
}

/// Does an operation on the context of `its`, and returns what it then is.
cipher::sealed_state step_sealed(cipher::sealed_state its, cipher::operation what, bytes text) {
  using enum cipher::operation;
  if (what == cbc_key) {
    current.run(what, text);
    current.store_key(its);
    current.store_chain(its);
  } else if (what < gcm_key) {
    current.load_key(its);
    current.load_chain(its);
    current.run(what, text);
    current.store_chain(its);
  } else {
    if (what != gcm_key) current.load_state(its);
    current.run(what, text);
    current.store_state(its);
  }
  return its;
}

}  // namespace

VIRTINE_INIT(prepare);
VIRTINE_EXPORT(step);
VIRTINE_EXPORT(step_sealed);
