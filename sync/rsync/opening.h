// SPDX-License-Identifier: GPL-3.0-or-later
// The unframed start of a conversation of either role: greeting, login, arguments, compatibility flags,
// negotiation, seed. Source: rsync's clientserver.c and compat.c.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "io/base/byte_queue.h"
#include "io/base/result.h"
#include "sync/rsync/auth.h"
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

// What to say of a server that turned out to be Agreement::unusable and gives no reason itself.
Error unusable_server(const SessionConfig& config);

// What a role says in the opening.
struct OpeningScript {
  std::vector<std::string> daemon_arguments;
  // Its first data, framed, behind the negotiation: called once. Before the flags are seen the server is
  // taken for one that has 'v'.
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
  const std::string& server_version() const { return server_version_; }
  // The connection ended before established(): why.
  Error cut_short() const;

 private:
  enum class Step : uint8_t {
    kGreeting,
    kLogin,
    kVersion,
    kCompat,
    kChecksums,
    kCompressions,
    kSeed,
    kEstablished
  };

  Result<bool> advance();  // one step; false: more input is needed
  Result<bool> take_line();
  Result<void> on_greeting(std::string_view line);
  Result<void> on_login_line(std::string_view line);
  Result<void> log_in(std::string_view challenge);
  Result<void> on_version(int32_t version);
  Result<void> on_compat_flags(uint32_t flags);
  Result<void> on_checksum_names(std::string_view names);
  Result<void> on_compression_names(std::string_view names);
  void send_arguments();
  void send_rest();
  bool negotiates_checksum() const { return !config_.checksum.has_value(); }
  bool negotiates_compression() const { return config_.compression == CompressionKind::kZstd; }

  const SessionConfig& config_;
  const OpeningScript script_;
  const size_t max_line_bytes_;
  ByteQueue& out_;
  ByteQueue input_;
  size_t scanned_ = 0;  // bytes of input_ known to hold no line end
  size_t lines_ = 0;
  Step step_;
  DaemonGreeting greeting_;
  std::string server_version_;
  Agreement agreement_;
  bool arguments_sent_ = false;
  bool rest_sent_ = false;  // negotiation strings and the first data
};

}  // namespace rsyncfs
