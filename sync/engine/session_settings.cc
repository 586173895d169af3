// SPDX-License-Identifier: GPL-3.0-or-later
#include "sync/engine/session_settings.h"

namespace rsyncfs {

void apply_settings(const SyncerOptions& options, const ServerFeatures& features, SessionConfig& config) {
  const Source& source = options.source;
  config.peer = source.kind == Source::Kind::kDaemon ? PeerKind::kDaemon : PeerKind::kShell;
  config.module = source.module;
  config.user = source.user;
  config.password = options.password;
  config.root = source.path;
  config.max_protocol = options.max_protocol;
  config.messages_in_band = features.messages_in_band;
  if (options.compress == "zstd") config.compression = CompressionKind::kZstd;
  if (options.compress == "zlibx") config.compression = CompressionKind::kZlibx;
  if (options.checksum.empty()) return;
  if (const auto kind = parse_checksum_name(options.checksum)) config.checksum = *kind;
}

}  // namespace rsyncfs
