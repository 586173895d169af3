// SPDX-License-Identifier: GPL-3.0-or-later
// What every session of one source has in common, whichever way the files go.
#pragma once

#include <optional>

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
  // What it showed itself to be when a session got its list, maybe in an earlier mount.
  std::optional<ServerAbilities> abilities;
  bool abilities_seen = false;  // in this mount
  bool may_guess = true;        // what it was taken for was never wrong
  int64_t remembered_since_s =
      0;  // sync/engine/server_memory.h: Unix time of the first refusal; 0: there is none
  // For pushing (sync/engine/refused_options.h).
  bool fsync = true;             // --fsync: PushConfig::fsync
  bool append = true;            // --append
  bool acknowledgements = true;  // --remove-source-files: PushConfig::acknowledge
  bool backup = true;            // --backup-dir: moves
  bool deletes = true;           // --delete-missing-args: deletions and moves
  bool trees = true;             // PushConfig::exact: a tree goes in one session
  bool moves() const { return backup && deletes; }
  bool keeps = true;  // what contents replace can be put aside (sync/engine/replaced_versions.h)
  bool keeps_replaced() const { return moves() && keeps; }
  bool compresses = true;   // --new-compress, where it is not asked for but saves bytes
  bool anchored = false;    // PushConfig::anchored
  bool moves_seen = false;  // one went well
  bool deletes_seen = false;
};

// Whatever depends neither on the role nor on what the session is for.
void apply_settings(const SyncerOptions& options, const ServerFeatures& features, SessionConfig& config);

// What a server is taken for by a session that may be begun again. A daemon that nobody has met: a modern
// one, that asks for no login unless there is a password.
std::optional<ServerAbilities> expected_abilities(const SyncerOptions& options,
                                                  const ServerFeatures& features);

// Whether a session that relied on expected_abilities(), and got no list, may have ended for that.
// `misjudged`: as its wire says.
bool may_be_misjudged(const ServerFeatures& features, bool misjudged, const Error& why);

}  // namespace rsyncfs
