// SPDX-License-Identifier: GPL-3.0-or-later
#include "sync/rsync/checksum.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <utility>
#include <variant>

#include <openssl/evp.h>

#include "io/base/xxh.h"
#include "sync/rsync/md4.h"

namespace rsyncfs {

namespace {

struct KindRow {
  ChecksumKind kind;
  std::string_view name;
  size_t size;
};
constexpr KindRow kKinds[] = {
    {ChecksumKind::kNone, "none", 1},      {ChecksumKind::kMd4, "md4", 16},
    {ChecksumKind::kMd5, "md5", 16},       {ChecksumKind::kSha1, "sha1", 20},
    {ChecksumKind::kXxh64, "xxh64", 8},    {ChecksumKind::kXxh3, "xxh3", 8},
    {ChecksumKind::kXxh128, "xxh128", 16},
};

const KindRow& row(ChecksumKind kind) {
  for (const KindRow& r : kKinds) {
    if (r.kind == kind) return r;
  }
  check_failed(__FILE__, __LINE__, "a known checksum kind");
}

void store_le64(uint64_t value, std::byte* out) {
  for (size_t i = 0; i < 8; ++i) out[i] = std::byte((value >> (8 * i)) & 0xff);
}

ChecksumValue from_u64(uint64_t value) {
  ChecksumValue out;
  out.size = 8;
  store_le64(value, out.bytes.data());
  return out;
}

ChecksumValue from_xxh128(Xxh128 value) {
  ChecksumValue out;
  out.size = 16;
  store_le64(value.low, out.bytes.data());
  store_le64(value.high, out.bytes.data() + 8);
  return out;
}

// MD5 and SHA-1 by OpenSSL.
class EvpDigest {
 public:
  explicit EvpDigest(const EVP_MD* md) : context_(EVP_MD_CTX_new()) {
    RSYNCFS_CHECK(context_ != nullptr && EVP_DigestInit_ex(context_, md, nullptr) == 1);
  }
  EvpDigest(EvpDigest&& other) noexcept : context_(std::exchange(other.context_, nullptr)) {}
  EvpDigest& operator=(EvpDigest&& other) noexcept {
    std::swap(context_, other.context_);
    return *this;
  }
  EvpDigest(const EvpDigest&) = delete;
  EvpDigest& operator=(const EvpDigest&) = delete;
  ~EvpDigest() { EVP_MD_CTX_free(context_); }
  void update(std::span<const std::byte> data) {
    RSYNCFS_CHECK(EVP_DigestUpdate(context_, data.data(), data.size()) == 1);
  }
  ChecksumValue finish() {
    std::array<unsigned char, EVP_MAX_MD_SIZE> buffer{};
    unsigned size = 0;
    RSYNCFS_CHECK(EVP_DigestFinal_ex(context_, buffer.data(), &size) == 1 && size <= kMaxChecksumBytes);
    ChecksumValue out;
    out.size = static_cast<uint8_t>(size);
    std::memcpy(out.bytes.data(), buffer.data(), size);
    return out;
  }

 private:
  EVP_MD_CTX* context_;
};

// Looked up once: for each block of 700 bytes it would take as long as its digest.
const EVP_MD* md5() {
  static const EVP_MD* const found = EVP_MD_fetch(nullptr, "MD5", nullptr);
  return found;
}
const EVP_MD* sha1() {
  static const EVP_MD* const found = EVP_MD_fetch(nullptr, "SHA1", nullptr);
  return found;
}

struct Xxh64Digest {
  Xxh64State state;
  void update(std::span<const std::byte> data) { state.update(data); }
  ChecksumValue finish() const { return from_u64(state.digest()); }
};

struct Xxh3Digest {
  Xxh3State state;
  void update(std::span<const std::byte> data) { state.update(data); }
  ChecksumValue finish() const { return from_u64(state.digest_64()); }
};

struct Xxh128Digest {
  Xxh3State state;
  void update(std::span<const std::byte> data) { state.update(data); }
  ChecksumValue finish() const { return from_xxh128(state.digest_128()); }
};

struct Md4Digest {
  Md4 state;
  void update(std::span<const std::byte> data) { state.update(data); }
  ChecksumValue finish() {
    ChecksumValue out;
    out.size = 16;
    const auto bytes = state.finish();
    std::copy(bytes.begin(), bytes.end(), out.bytes.begin());
    return out;
  }
};

// rsync's "none" puts one zero byte where the digest would be.
struct NoDigest {
  void update(std::span<const std::byte> /*data*/) {}
  static ChecksumValue finish() {
    ChecksumValue out;
    out.size = 1;
    return out;
  }
};

ChecksumValue digest_of(const EVP_MD* md, std::span<const std::byte> first,
                        std::span<const std::byte> second) {
  EvpDigest digest(md);
  digest.update(first);
  digest.update(second);
  return digest.finish();
}

std::array<std::byte, 4> seed_bytes(int32_t seed) {
  const auto bits = static_cast<uint32_t>(seed);
  return {std::byte(bits & 0xff), std::byte(bits >> 8 & 0xff), std::byte(bits >> 16 & 0xff),
          std::byte(bits >> 24)};
}

}  // namespace

std::string_view checksum_name(ChecksumKind kind) {
  return row(kind).name;
}
size_t checksum_size(ChecksumKind kind) {
  return row(kind).size;
}

Result<ChecksumKind> parse_checksum_name(std::string_view name) {
  if (name == "xxhash") return ChecksumKind::kXxh64;  // rsync's older name for it
  for (const KindRow& r : kKinds) {
    if (r.name == name) return r.kind;
  }
  return Error(Errc::kUsage, "unknown checksum \"" + std::string(name) + "\"");
}

bool ChecksumValue::operator==(const ChecksumValue& other) const {
  return size == other.size && std::equal(bytes.begin(), bytes.begin() + size, other.bytes.begin());
}

std::string ChecksumValue::hex() const {
  constexpr char kDigits[] = "0123456789abcdef";
  std::string out;
  for (const std::byte b : span()) {
    out += kDigits[std::to_integer<unsigned>(b) >> 4];
    out += kDigits[std::to_integer<unsigned>(b) & 15];
  }
  return out;
}

struct Digest::State {
  std::variant<NoDigest, Md4Digest, EvpDigest, Xxh64Digest, Xxh3Digest, Xxh128Digest> digest;
  explicit State(ChecksumKind kind) {
    switch (kind) {
      case ChecksumKind::kNone:
        break;
      case ChecksumKind::kMd4:
        digest.emplace<Md4Digest>();
        break;
      case ChecksumKind::kMd5:
        digest.emplace<EvpDigest>(md5());
        break;
      case ChecksumKind::kSha1:
        digest.emplace<EvpDigest>(sha1());
        break;
      case ChecksumKind::kXxh64:
        digest.emplace<Xxh64Digest>();
        break;
      case ChecksumKind::kXxh3:
        digest.emplace<Xxh3Digest>();
        break;
      case ChecksumKind::kXxh128:
        digest.emplace<Xxh128Digest>();
        break;
    }
  }
};

Digest::Digest(ChecksumKind kind) : state_(std::make_unique<State>(kind)) {}
Digest::~Digest() = default;
Digest::Digest(Digest&&) noexcept = default;
Digest& Digest::operator=(Digest&&) noexcept = default;

void Digest::update(std::span<const std::byte> data) {
  if (data.empty()) return;
  std::visit([&](auto& digest) { digest.update(data); }, state_->digest);
}

ChecksumValue Digest::finish() {
  return std::visit([](auto& digest) { return digest.finish(); }, state_->digest);
}

ChecksumValue block_sum(ChecksumKind kind, int32_t seed, std::span<const std::byte> block) {
  const auto wide_seed = static_cast<uint64_t>(int64_t{seed});
  const auto seed_le = seed_bytes(seed);
  const std::span<const std::byte> seed_part(seed_le.data(), seed == 0 ? 0 : seed_le.size());
  switch (kind) {
    case ChecksumKind::kNone:
      return NoDigest::finish();
    case ChecksumKind::kMd4: {
      // The one algorithm whose seed stays behind the data whatever the 'C' capability says.
      Md4Digest digest;
      digest.update(block);
      digest.update(seed_part);
      return digest.finish();
    }
    case ChecksumKind::kMd5:
      return digest_of(md5(), seed_part, block);
    case ChecksumKind::kSha1:
      return digest_of(sha1(), seed_part, block);
    case ChecksumKind::kXxh64:
      return from_u64(xxh64(block, wide_seed));
    case ChecksumKind::kXxh3:
      return from_u64(xxh3_64(block, wide_seed));
    case ChecksumKind::kXxh128:
      return from_xxh128(xxh3_128(block, wide_seed));
  }
  check_failed(__FILE__, __LINE__, "a known checksum kind");
}

}  // namespace rsyncfs
