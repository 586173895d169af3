// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <string_view>

namespace rsyncfs::support {

// All throw SetupFailure.
void write_file(const std::string& path, std::string_view contents, mode_t mode = 0644);
std::string read_file(const std::string& path);
void make_dirs(const std::string& path);  // with its parents
// A file of `size` bytes that is a hole except for `mark` at `mark_offset`.
void make_sparse_file(const std::string& path, uint64_t size, std::string_view mark, uint64_t mark_offset);
// Nanoseconds since 1970, negative before; for the entry itself if it is a symbolic link.
void set_mtime(const std::string& path, int64_t seconds, int64_t nanoseconds);

// The same bytes for the same seed.
std::string random_bytes(size_t size, uint64_t seed);
// `dirs` directories d000.. with `files` files f0000.. of `bytes` bytes each. 400 x 500 is the 200k-file
// tree.
void make_many_files(const std::string& root, int dirs, int files, size_t bytes);

// A name as people can read it: bytes that do not print become \xHH.
std::string printable(std::string_view name);

}  // namespace rsyncfs::support
