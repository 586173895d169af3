// SPDX-License-Identifier: GPL-3.0-or-later
// Versions of others that a push has replaced unseen get names beside the file, as conflict copies do. Files
// are linked there from the spare directory, which stays for the caller to remove; symbolic links are made
// anew.
#pragma once

#include <string>
#include <vector>

#include "sync/engine/push_job.h"
#include "sync/engine/replaced_versions.h"

namespace rsyncfs {

class PushRescueJob final : public PushJob {
 public:
  // `batch`: that has replaced them.
  PushRescueJob(const Surroundings& around, PushBatch batch, std::vector<ReplacedVersion> versions,
                Finished finished);

  void start() override;

 private:
  void give_up(const ReplacedVersion& version, const Error& why);
  void make_symlinks();
  void link();
  static bool is_cut(const PushRunResult& result);
  // Of the version, and the entry that it was to become.
  void note_copy(size_t which, const PushRunResult& result, size_t entry);
  void record(Result<void> end);
  std::string copy_path(size_t version) const;

  std::vector<ReplacedVersion> versions_;
  std::vector<std::string> copies_;  // their new names
  std::vector<ConflictRecord> records_;
};

}  // namespace rsyncfs
