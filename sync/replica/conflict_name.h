// SPDX-License-Identifier: GPL-3.0-or-later
// What a version of a file that lost its name is called. Pure.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "sync/replica/types.h"

namespace rsyncfs {

constexpr size_t kMaxNameBytes = 255;
// Another name is tried when one is taken, up to this number.
constexpr int kMaxConflictNames = 10'000;

// NAME.conflict-HOST-TIME, at most kMaxNameBytes: HOST without bytes that a shell or another system would
// stumble over, TIME as 20261126T215403.123456Z: two mounts of one machine meet in the same second. `number`
// from 2 on is appended as -2. NAME is shortened where it has to be, not within a UTF-8 character.
std::string conflict_name(std::string_view name, std::string_view host, const FileTime& time, int number = 1);

// The first that is not taken; empty when all are.
std::string free_conflict_name(std::string_view name, std::string_view host, const FileTime& time,
                               const std::function<bool(std::string_view)>& taken);

// False: no conflict copy is called so.
bool may_be_conflict_name(std::string_view name);

// This machine's.
std::string host_name();

}  // namespace rsyncfs
