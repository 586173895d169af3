// SPDX-License-Identifier: GPL-3.0-or-later
// MD4 (RFC 1320). OpenSSL 3 keeps it in a provider that may not be installed, and rsync still speaks it.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

namespace rsyncfs {

class Md4 {
 public:
  void update(std::span<const std::byte> data);
  std::array<std::byte, 16> finish();  // once

 private:
  void compress(const std::byte* block);

  std::array<uint32_t, 4> state_{0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476};
  uint64_t length_ = 0;
  std::array<std::byte, 64> pending_{};
};

}  // namespace rsyncfs
