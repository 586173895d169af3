// SPDX-License-Identifier: GPL-3.0-or-later
// Versions of others that a push has replaced unseen get names beside the file, as conflict copies do. They
// are linked there from the spare directory, which stays for the caller to remove.
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
  void link();
  void linked(const PushRunResult& result);
  std::string copy_path(size_t version) const;

  std::vector<ReplacedVersion> versions_;
  std::vector<std::string> copies_;  // their new names
};

}  // namespace rsyncfs
