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
  config.compress_level = options.compress_level;
  if (options.checksum.empty()) return;
  if (const auto kind = parse_checksum_name(options.checksum)) config.checksum = *kind;
}

std::optional<ServerAbilities> expected_abilities(const SyncerOptions& options,
                                                  const ServerFeatures& features) {
  if (features.abilities) return features.abilities;
  // A shell's server costs a login more when it is met again.
  const bool daemon = options.source.kind == Source::Kind::kDaemon;
  if (!daemon || !features.may_guess || !options.password.empty()) return std::nullopt;
  return ServerAbilities{.protocol = options.max_protocol};
}

bool may_be_misjudged(const ServerFeatures& features, bool misjudged, const Error& why) {
  if (misjudged || features.abilities_seen) return misjudged;
  // What confuses a server need not make it say so.
  return why.code() == Errc::kProtocol || why.code() == Errc::kDisconnected;
}

}  // namespace rsyncfs
