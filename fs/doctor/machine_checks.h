// SPDX-License-Identifier: GPL-3.0-or-later
// Whether this machine, and this user on it, can mount at all, and how well.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <utility>

#include "fs/control/places.h"
#include "fs/daemon/options.h"
#include "fs/doctor/finding.h"
#include "sync/transport/source.h"

namespace rsyncfs {

// Below this much free space in the store's file system, or so few inodes, mounts fail or soon will.
constexpr uint64_t kDoctorLeastBytes = 16 << 20;
constexpr uint64_t kDoctorLowBytes = 256 << 20;
constexpr uint64_t kDoctorLeastInodes = 64;
constexpr uint64_t kDoctorLowInodes = 1024;

// Looks only; a missing directory is not made. `source`: what is to be mounted; null: not known.
Findings check_machine(const UserPlaces& user, const MountOptions& options, const Source* source);

// ---- parts of it ----
// "6.12.3-amd64" -> 6, 12.
std::pair<unsigned, unsigned> kernel_version(std::string_view release);
Finding check_disk(const std::string& directory, uint64_t free_bytes, uint64_t free_inodes, bool has_inodes);

}  // namespace rsyncfs
