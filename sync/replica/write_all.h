// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "io/base/result.h"

namespace rsyncfs {

// The whole of `data` at `offset`, whatever the kernel takes at once.
Result<void> write_all(int fd, std::span<const std::byte> data, uint64_t offset, std::string_view what);
// kCorrupt when the file ends before.
Result<void> read_all(int fd, std::span<std::byte> out, uint64_t offset, std::string_view what);

}  // namespace rsyncfs
