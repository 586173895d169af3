// SPDX-License-Identifier: GPL-3.0-or-later
// Removes what a push of contents that broke off has left at the source: the spare directory, from which
// others' versions were rescued, and the temporary files of a server that was killed. The contents are
// planned anew.
#pragma once

#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "sync/engine/push_job.h"
#include "sync/engine/remote_names.h"

namespace rsyncfs {

class PushClearJob final : public PushJob {
 public:
  // `spare_too` false: the temporary files only.
  PushClearJob(const Surroundings& around, PushBatch batch, bool spare_too, Finished finished)
      : PushJob(around, std::move(batch), std::move(finished)), spare_too_(spare_too) {}
  void start() override;

 private:
  void next_directory();
  void take_names(const std::string& directory, const std::vector<KeptListedName>& names);
  void keep_known();
  void remove();

  const bool spare_too_;
  std::set<std::string> directories_;  // not looked into yet
  std::unique_ptr<RemoteNames> names_;
  std::vector<Binding> left_;            // temporary files, by their directory and name
  std::vector<std::string> left_paths_;  // of all that is to go
};

// Whether a server that writes the file `name` may call it `temporary` meanwhile: ".NAME.XXXXXX", where the
// last part is drawn from letters and digits. What has no digit and no capital in it is no one's draw, but
// perhaps somebody's file.
bool is_drawn_temporary(std::string_view temporary, std::string_view name);

}  // namespace rsyncfs
