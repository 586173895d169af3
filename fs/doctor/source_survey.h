// SPDX-License-Identifier: GPL-3.0-or-later
// Asks a source what it is and what it takes, with a store that is thrown away. What it does there: it lists;
// and unless it is told not to write, it makes one file with a name of its own at the top and takes it away
// again.
#pragma once

#include <chrono>
#include <optional>
#include <string>

#include "fs/daemon/mount_plan.h"
#include "io/base/result.h"
#include "sync/engine/session_settings.h"
#include "sync/engine/status.h"

namespace rsyncfs {

struct SourceFacts {
  std::optional<Error> no_contact;  // why it was not reached; nothing below is known then
  SyncerStatus status;
  ServerFeatures features;  // what it turned out to refuse
  std::string read_only;    // its own word, when it takes no changes
  bool wrote = false;       // the file was made there
  std::optional<Error> write_failure;
  std::string left_behind;  // the file, where it could not be taken away again
  // Of that file, as the source listed it afterwards.
  std::optional<bool> keeps_fractions;  // of a second, of times
  std::optional<bool> keeps_mode;
  // One round trip to it, and the quickest of some lists of its top; of a daemon. 0: not known.
  std::chrono::milliseconds round_trip{0};
  std::chrono::milliseconds listing{0};
  // How far its clock is ahead of ours, at least; seconds. From the time of the directory that got the file.
  std::optional<double> clock_ahead_s;
};

struct SurveyRequest {
  Source source;  // with the user who logs in
  std::string password;
  std::string remote_shell;
  MountOptions options;
  bool may_write = true;
};

// Blocks, for some times timeout= at most. kOs: there is no place for the store, or no loop.
Result<SourceFacts> survey_source(const SurveyRequest& request);

}  // namespace rsyncfs
