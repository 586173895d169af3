// SPDX-License-Identifier: GPL-3.0-or-later
#include "sync/replica/sweep.h"

#include <filesystem>
#include <string>
#include <system_error>

#include "io/base/log.h"

namespace rsyncfs {
namespace {

constexpr Sql kSlabKnown{"SELECT 1 FROM slabs WHERE id=?"};
constexpr Sql kBlockFileKnown{
    "SELECT 1 FROM contents WHERE slab=0 AND position>0 AND position=?1"
    " UNION ALL SELECT 1 FROM layers WHERE block_file<>0 AND block_file=?1"};

// Unknown when the database can't say.
bool surely_unknown(Connection& db, const Sql& sql, uint64_t number) {
  Query query(db, sql);
  query.unsigned_integer(number);
  const auto row = query.step();
  return row.ok() && !*row;
}

size_t sweep_directory(const std::filesystem::path& path, Connection& db, const Sql& sql,
                       uint64_t first_new) {
  size_t removed = 0;
  std::error_code failure;
  for (std::filesystem::directory_iterator entry(path, failure), end; !failure && entry != end;
       entry.increment(failure)) {
    const uint64_t number = file_number(entry->path().filename().native());
    if (number == 0 || number >= first_new || !surely_unknown(db, sql, number)) continue;
    std::error_code ignored;
    if (std::filesystem::remove(entry->path(), ignored)) ++removed;
  }
  return removed;
}

}  // namespace

void sweep_leftovers(const StateDirectory& directory, Connection& db, uint64_t first_new_slab,
                     uint64_t first_new_block_file) {
  size_t removed = sweep_directory(directory.slabs(), db, kSlabKnown, first_new_slab);
  std::error_code failure;
  for (std::filesystem::directory_iterator shard(directory.blocks(), failure), end; !failure && shard != end;
       shard.increment(failure)) {
    removed += sweep_directory(shard->path(), db, kBlockFileKnown, first_new_block_file);
  }
  if (removed > 0) log_info("removed " + std::to_string(removed) + " unfinished files from the store");
}

}  // namespace rsyncfs
