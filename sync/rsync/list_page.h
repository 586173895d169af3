// SPDX-License-Identifier: GPL-3.0-or-later
// A part of a list that comes directory by directory.
#pragma once

#include <string>

#include "sync/rsync/file_list.h"

namespace rsyncfs {

struct ListPage {
  std::string directory;  // "" = the root, whose list has itself as "."
  // The names in it. Hard-link groups are those of all pages; those of an earlier page are told in full.
  FileList list;  // io_error: as of this page and those before
};

}  // namespace rsyncfs
