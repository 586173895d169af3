// SPDX-License-Identifier: GPL-3.0-or-later
// Reads, writes, syncs and removals of regular files by plain system calls, which wait for the disk.
#pragma once

#include <fcntl.h>

#include <cstddef>
#include <cstdint>
#include <span>

#include "io/file_batch.h"

namespace rsyncfs {

// Move everything, or up to the end of file, or before an error, which the next call gets; bytes, or -errno.
int64_t read_whole(int fd, std::span<std::byte> into, uint64_t offset);
int64_t write_whole(int fd, std::span<const std::byte> from, uint64_t offset);
// 0 or -errno.
int64_t sync_file(int fd, bool data_only);
// Asks the kernel to begin writing the file's pages, without waiting for them. What fails, the sync that
// follows tells.
void start_writeback(int fd);

void read_now(FileRead& read);
void sync_now(FileSync& sync);
void load_now(FileLoad& load);
void remove_now(FileRemoval& removal);

// How a FileLoad opens its file.
constexpr int kLoadFlags = O_RDONLY | O_CLOEXEC | O_NOFOLLOW;

}  // namespace rsyncfs
