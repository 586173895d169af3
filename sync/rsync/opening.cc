// SPDX-License-Identifier: GPL-3.0-or-later
#include "sync/rsync/opening.h"

#include <algorithm>
#include <array>

#include "io/base/text.h"
#include "sync/rsync/server_text.h"

namespace rsyncfs {

namespace {

// Compatibility flags (compat.c CF_*).
constexpr uint32_t kCompatIncRecurse = 0x1;
constexpr uint32_t kCompatSafeLists = 0x8;
constexpr uint32_t kCompatAvoidXattrOptimisation = 0x10;
constexpr uint32_t kCompatSeedFirst = 0x20;
constexpr uint32_t kCompatVarintFlags = 0x80;
constexpr uint32_t kCompatId0Names = 0x100;

// Both sides take the first of their own names that the other has, so the order must be rsync's.
constexpr std::string_view kChecksumNames = "xxh128 xxh3 xxh64 md5 md4 sha1";
constexpr std::string_view kCompressionNames = "zstd zlibx";
constexpr size_t kMaxNames = 255;

constexpr size_t kMaxLines = 10'000;  // greeting, message of the day, login
constexpr int kFirstNegotiatingShellProtocol = 32;
constexpr int kMinProtocol = 30;
constexpr int kMaxBelievableProtocol = 40;

bool names_include(std::string_view names, std::string_view name) {
  while (!names.empty()) {
    const size_t end = std::min(names.find(' '), names.size());
    if (names.substr(0, end) == name) return true;
    names.remove_prefix(std::min(end + 1, names.size()));
  }
  return false;
}

// The first of `ours` in `theirs`; empty if there is none.
std::string_view first_common(std::string_view ours, std::string_view theirs) {
  while (!ours.empty()) {
    const size_t end = std::min(ours.find(' '), ours.size());
    const std::string_view name = ours.substr(0, end);
    if (names_include(theirs, name)) return name;
    ours.remove_prefix(std::min(end + 1, ours.size()));
  }
  return {};
}

Error nothing_common(const char* what, std::string_view ours, std::string_view theirs) {
  return Error(Errc::kUnsupported, std::string("no common ") + what + ": ours are " + std::string(ours) +
                                       ", the server's " + escape_control(theirs));
}

}  // namespace

Error unusable_server(const SessionConfig& config) {
  return Error(Errc::kUnsupported, config.compression == CompressionKind::kZstd
                                       ? "the server cannot negotiate compression; zlibx may work"
                                       : "the server is older than it was taken for");
}

Opening::Opening(const SessionConfig& config, OpeningScript script, size_t max_line_bytes, ByteQueue& out)
    : config_(config),
      script_(std::move(script)),
      max_line_bytes_(max_line_bytes),
      out_(out),
      step_(config.peer == PeerKind::kDaemon ? Step::kGreeting : Step::kVersion) {
  agreement_.protocol = config.max_protocol;
  if (config.peer == PeerKind::kDaemon) {
    out_.append(client_greeting(config.max_protocol));
    out_.append(config.module + "\n");
    if (config.one_flight) send_arguments();
  } else {
    out_.append_le32(static_cast<uint32_t>(config.max_protocol));
    arguments_sent_ = true;
  }
  if (config.one_flight) send_rest();
}

Result<void> Opening::receive(std::span<const std::byte> data) {
  input_.append(data);
  while (!established()) {
    auto advanced = advance();
    if (!advanced.ok()) return advanced.error();
    if (!*advanced) return {};
  }
  return {};
}

Result<bool> Opening::advance() {
  if (step_ == Step::kGreeting || step_ == Step::kLogin) return take_line();
  WireReader in(input_.readable());
  Result<void> taken;
  switch (step_) {
    case Step::kVersion: {
      const int32_t version = in.le32_signed();
      if (in.ok()) taken = on_version(version);
      break;
    }
    case Step::kCompat: {
      const uint32_t flags = in.varint_unsigned();
      if (in.ok()) taken = on_compat_flags(flags);
      break;
    }
    case Step::kChecksums:
    case Step::kCompressions: {
      const std::string_view names = in.vstring();
      // The length is known before the rest: a peer need not be waited for to send too much.
      if (names.size() > kMaxNames || (in.is_short() && in.need() > kMaxNames + 2)) {
        return Error(Errc::kProtocol, "over-long list of names from the server");
      }
      if (in.ok()) taken = step_ == Step::kChecksums ? on_checksum_names(names) : on_compression_names(names);
      break;
    }
    case Step::kSeed: {
      agreement_.checksum_seed = in.le32_signed();
      if (in.ok()) step_ = Step::kEstablished;
      break;
    }
    case Step::kGreeting:
    case Step::kLogin:
    case Step::kEstablished:
      return false;
  }
  if (in.is_bad()) return Error(Errc::kProtocol, std::string("in the server's opening: ") + in.bad());
  if (!taken.ok()) return taken.error();
  if (in.is_short()) return false;
  input_.consume(in.position());
  return true;
}

Result<bool> Opening::take_line() {
  const auto data = input_.readable();
  const auto end =
      std::find(data.begin() + static_cast<std::ptrdiff_t>(scanned_), data.end(), std::byte{'\n'});
  const auto size = static_cast<size_t>(end - data.begin());
  if (size > max_line_bytes_) return Error(Errc::kLimit, "over-long line from the server");
  if (end == data.end()) {
    scanned_ = size;
    return false;
  }
  std::string line(reinterpret_cast<const char*>(data.data()), size);
  input_.consume(size + 1);
  scanned_ = 0;
  if (++lines_ > kMaxLines) return Error(Errc::kLimit, "too many lines before the server's login");
  if (line.ends_with('\r')) line.pop_back();
  const auto taken = step_ == Step::kGreeting ? on_greeting(line) : on_login_line(line);
  if (!taken.ok()) return taken.error();
  return true;
}

Result<void> Opening::on_greeting(std::string_view line) {
  if (line.starts_with("@ERROR")) return session_error(line, Errc::kRefused);
  auto greeting = parse_daemon_greeting(line);
  if (!greeting.ok()) return greeting.error();
  greeting_ = std::move(*greeting);
  server_version_ = line;
  agreement_.protocol = negotiated_protocol(greeting_, config_.max_protocol);
  if (agreement_.protocol < kMinProtocol) {
    return Error(Errc::kUnsupported, "the server speaks a pre-release of rsync protocol 30");
  }
  if (config_.one_flight && agreement_.protocol != config_.max_protocol) {
    return Error(Errc::kUnsupported, "the server is older than it was taken for");
  }
  step_ = Step::kLogin;
  return {};
}

Result<void> Opening::on_login_line(std::string_view line) {
  constexpr std::string_view kChallenge = "@RSYNCD: AUTHREQD ";
  if (line.starts_with(kChallenge)) return log_in(line.substr(kChallenge.size()));
  if (line == "@RSYNCD: OK") {
    if (!arguments_sent_) send_arguments();
    // Daemons that name their digests are new enough to honour 'v': no need to see their flags first.
    if (greeting_.names_digests && !rest_sent_) send_rest();
    step_ = Step::kCompat;
    return {};
  }
  if (line.starts_with("@ERROR")) return session_error(line, Errc::kRefused);
  if (line == "@RSYNCD: EXIT") return Error(Errc::kDisconnected, "the server ended the conversation");
  script_.on_motd(line);
  return {};
}

Result<void> Opening::log_in(std::string_view challenge) {
  if (config_.one_flight) return Error(Errc::kAuth, "the module asks for a login that was not expected");
  if (config_.user.empty()) return Error(Errc::kAuth, "the module asks for a user name and password");
  const auto digest = choose_auth_digest(greeting_);
  if (!digest.ok()) return digest.error();
  const auto response = auth_response(*digest, config_.password, challenge);
  if (!response.ok()) return response.error();
  out_.append(config_.user + " " + *response + "\n");
  return {};
}

Result<void> Opening::on_version(int32_t version) {
  if (version < 20 || version > kMaxBelievableProtocol) {
    return Error(Errc::kProtocol,
                 "the remote command does not speak rsync (does its shell print something?)");
  }
  agreement_.protocol = std::min(config_.max_protocol, static_cast<int>(version));
  if (agreement_.protocol < kMinProtocol) {
    return Error(Errc::kUnsupported, "the remote rsync speaks protocol " + std::to_string(version) +
                                         "; 30 (rsync 3.0) or later is needed");
  }
  if (config_.one_flight && agreement_.protocol != config_.max_protocol) {
    return Error(Errc::kUnsupported, "the server is older than it was taken for");
  }
  if (version >= kFirstNegotiatingShellProtocol && !rest_sent_) send_rest();
  step_ = Step::kCompat;
  return {};
}

Result<void> Opening::on_compat_flags(uint32_t flags) {
  agreement_.incremental = (flags & kCompatIncRecurse) != 0;
  if (agreement_.incremental && !script_.incremental) {
    return Error(Errc::kProtocol, "the server chose an incremental list that was not offered");
  }
  agreement_.varint_flags = (flags & kCompatVarintFlags) != 0;
  agreement_.id0_names = (flags & kCompatId0Names) != 0;
  agreement_.seed_first = (flags & kCompatSeedFirst) != 0;
  agreement_.safe_lists = agreement_.protocol >= 31 || (flags & kCompatSafeLists) != 0;
  agreement_.spares_xattrs = agreement_.protocol >= 31 && (flags & kCompatAvoidXattrOptimisation) == 0;
  agreement_.unusable = !agreement_.varint_flags && (rest_sent_ || negotiates_compression());
  agreement_.checksum = config_.checksum.value_or(ChecksumKind::kMd5);
  agreement_.compression = config_.compression;
  const bool strings = agreement_.varint_flags;
  if (!rest_sent_) send_rest();
  step_ = strings && negotiates_checksum()      ? Step::kChecksums
          : strings && negotiates_compression() ? Step::kCompressions
                                                : Step::kSeed;
  return {};
}

Result<void> Opening::on_checksum_names(std::string_view names) {
  const std::string_view chosen = first_common(kChecksumNames, names);
  if (chosen.empty()) return nothing_common("checksum", kChecksumNames, names);
  agreement_.checksum = *parse_checksum_name(chosen);
  step_ = negotiates_compression() ? Step::kCompressions : Step::kSeed;
  return {};
}

Result<void> Opening::on_compression_names(std::string_view names) {
  const std::string_view chosen = first_common(kCompressionNames, names);
  if (chosen.empty()) return nothing_common("compression", kCompressionNames, names);
  agreement_.compression = chosen == "zstd" ? CompressionKind::kZstd : CompressionKind::kZlibx;
  step_ = Step::kSeed;
  return {};
}

void Opening::send_arguments() {
  for (const std::string& argument : script_.daemon_arguments) {
    out_.append(argument);
    out_.append_u8(0);
  }
  out_.append_u8(0);
  arguments_sent_ = true;
}

void Opening::send_rest() {
  rest_sent_ = true;
  Agreement assumed = agreement_;
  if (step_ != Step::kCompat) assumed.varint_flags = assumed.id0_names = true;
  if (assumed.varint_flags) {
    if (negotiates_checksum()) write_vstring(out_, kChecksumNames);
    if (negotiates_compression()) write_vstring(out_, kCompressionNames);
  }
  script_.first_data(assumed, out_);
}

Error Opening::cut_short() const {
  if (step_ == Step::kGreeting || step_ == Step::kVersion) {
    return Error(Errc::kDisconnected, "the server closed the connection before saying anything");
  }
  return Error(Errc::kDisconnected, "the server closed the connection during the opening");
}

}  // namespace rsyncfs
