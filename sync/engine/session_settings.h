// SPDX-License-Identifier: GPL-3.0-or-later
// What every session of one source has in common, whichever way the files go.
#pragma once

#include "sync/engine/syncer.h"
#include "sync/rsync/session_config.h"

namespace rsyncfs {

// What the server turned out to be able to do; shared by all sessions, may shrink on the way.
struct ServerFeatures {
  bool acls = true;
  bool xattrs = true;
  bool report_missing = true;    // PullConfig::report_missing: rrsync refuses it
  bool messages_in_band = true;  // SessionConfig::messages_in_band: rsync 3.1 does not know it
  int protocol = 0;              // of the last session; 0: none yet
  // For pushing.
  bool fsync = true;       // PushConfig::fsync
  bool backup = true;      // --backup-dir: moves
  bool deletes = true;     // --delete-missing-args
  bool compresses = true;  // --new-compress, where it is not asked for but saves bytes
};

void apply_settings(const SyncerOptions& options, const ServerFeatures& features, SessionConfig& config);

}  // namespace rsyncfs
