// SPDX-License-Identifier: GPL-3.0-or-later
// Puts a received list into the order that gives every entry its index. Source: rsync's flist.c,
// f_name_cmp().
#pragma once

#include <cstddef>

#include "sync/rsync/file_list.h"

namespace rsyncfs {

// What sorting needs per entry beside the entry: its key, its rank, and its directory's places.
constexpr size_t kSortBytesPerEntry = 32;

// Stable, and nothing is dropped: the sender numbers repeated names too. Linear but for the directories'
// paths and the names within a directory.
void sort_file_list(FileList& list);

}  // namespace rsyncfs
