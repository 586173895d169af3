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
  bool hard_links = true;        // PullConfig::hard_links
  bool messages_in_band = true;  // SessionConfig::messages_in_band: rsync 3.1 does not know it
  bool pages = true;             // PullConfig::paged
  int protocol = 0;              // of the last session; 0: none yet
  // For pushing (sync/engine/refused_options.h).
  bool fsync = true;             // --fsync: PushConfig::fsync
  bool append = true;            // --append
  bool acknowledgements = true;  // --remove-source-files: PushConfig::acknowledge
  bool backup = true;            // --backup-dir: moves
  bool deletes = true;           // --delete-missing-args: deletions and moves
  bool moves() const { return backup && deletes; }
  bool keeps = true;  // what contents replace can be put aside (sync/engine/replaced_versions.h)
  bool keeps_replaced() const { return moves() && keeps; }
  bool compresses = true;   // --new-compress, where it is not asked for but saves bytes
  bool anchored = false;    // PushConfig::anchored
  bool moves_seen = false;  // one went well
  bool deletes_seen = false;
};

void apply_settings(const SyncerOptions& options, const ServerFeatures& features, SessionConfig& config);

}  // namespace rsyncfs
