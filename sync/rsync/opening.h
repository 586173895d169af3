// SPDX-License-Identifier: GPL-3.0-or-later
// The unframed start of a conversation of either role: greeting, login, arguments, compatibility flags,
// negotiation, seed. Source: rsync's clientserver.c and compat.c.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "io/base/byte_queue.h"
#include "io/base/result.h"
#include "sync/rsync/daemon_login.h"
#include "sync/rsync/session_config.h"
#include "sync/rsync/wire.h"

namespace rsyncfs {

// What both sides agreed on.
struct Agreement {
  int protocol = 0;
  bool varint_flags = false;
  bool id0_names = false;
  ChecksumKind checksum = ChecksumKind::kMd5;
  CompressionKind compression = CompressionKind::kNone;
  int32_t checksum_seed = 0;
  // Block sums are seeded as block_sum() does it.
  bool seed_first = false;
  // An item that a local copy or link settles has no extended attributes asked for.
  bool spares_xattrs = false;
  // The list comes directory by directory.
  bool incremental = false;
  // The end of each list says whether the source could read all of it; otherwise a message does, later.
  bool safe_lists = false;
  // The server did not take the capabilities that we had to assume: it is old, or it refuses an option and is
  // about to say so. Nothing it sends but messages can be understood.
  bool unusable = false;
};

// What a role says in the opening.
struct OpeningScript {
  std::vector<std::string> daemon_arguments;
  // Its first data, framed, behind the negotiation: called once, with what is known or assumed by then.
  std::function<void(const Agreement&, ByteQueue&)> first_data;
  // Gets lines that are no part of the protocol.
  std::function<void(std::string_view)> on_motd;
  // The arguments offer an incremental list.
  bool incremental = false;
};

class Opening {
 public:
  // Writes to `out` whatever may be written by then. Longer lines are Errc::kLimit.
  Opening(const SessionConfig& config, OpeningScript script, size_t max_line_bytes, ByteQueue& out);

  // Once established(), what is left of the input belongs to the multiplexed stream: rest().
  Result<void> receive(std::span<const std::byte> data);
  bool established() const { return step_ == Step::kEstablished; }
  ByteQueue& rest() { return input_; }
  const Agreement& agreement() const { return agreement_; }
  const std::string& server_version() const { return login_ ? login_->so_far().server_version : version_; }
  // What the server has shown itself to be; once established().
  ServerAbilities shown() const;
  // The connection ended before established(): why.
  Error cut_short() const;
  // The server is Agreement::unusable and sends what cannot be understood.
  Error unusable();
  // Whether the session, which ended for `why`, would not have without SessionConfig::taken_for.
  bool misjudged(const Error& why) const;

 private:
  enum class Step : uint8_t { kLines, kVersion, kCompat, kChecksums, kCompressions, kSeed, kEstablished };

  Result<bool> advance();  // one step; false: more input is needed
  Result<bool> advance_login();
  void go_on_logged_in(const LoggedIn& login);
  Result<void> on_greeting();
  Result<void> on_challenge();
  void on_ok();
  Result<void> on_version(int32_t version);
  Result<void> on_compat_flags(uint32_t flags);
  Result<void> on_checksum_names(std::string_view names);
  Result<void> on_compression_names(std::string_view names);
  Error misjudge(Errc code, const char* message);
  // Whether the server will take 'v'; absent: not known before its flags.
  std::optional<bool> expects_negotiation() const;
  void send_arguments();
  void send_rest(bool negotiates);
  void send_what_may_be();
  bool negotiates_checksum() const { return !config_.checksum.has_value(); }
  bool negotiates_compression() const { return config_.compression == CompressionKind::kZstd; }

  const SessionConfig& config_;
  const OpeningScript script_;
  ByteQueue& out_;
  ByteQueue input_;
  std::optional<DaemonLogin> login_;
  std::optional<ServerAbilities> assumed_;
  Step step_;
  bool names_digests_ = false;
  bool asked_ = false;   // for a login
  std::string version_;  // of a connection that was logged in before
  Agreement agreement_;
  bool arguments_sent_ = false;
  bool rest_sent_ = false;      // negotiation strings and the first data
  bool assumed_names_ = false;  // the rest was for a server that negotiates
  bool misjudged_ = false;
};

}  // namespace rsyncfs
