// SPDX-License-Identifier: GPL-3.0-or-later
// Small text helpers that more than one box needs.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <string_view>

namespace rsyncfs {

// Bytes below 0x20 and 0x7f as \ooo, a backslash doubled; other bytes unchanged.
std::string escape_control(std::string_view text);

// "1.4 GiB", "12 KiB", "17 B".
std::string human_bytes(uint64_t bytes);

// A device as the kernel writes it, "0:54"; 0 when it is none.
dev_t parse_device(std::string_view text);

}  // namespace rsyncfs
