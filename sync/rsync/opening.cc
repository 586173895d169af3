// SPDX-License-Identifier: GPL-3.0-or-later
#include "sync/rsync/opening.h"

#include <algorithm>

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

constexpr int kFirstNegotiatingShellProtocol = 32;
constexpr int kMinProtocol = 30;
constexpr int kMaxBelievableProtocol = 40;
// Names to list, and entries of special files, are as since then, or as before.
constexpr int kFramedNamesProtocol = 31;

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

Opening::Opening(const SessionConfig& config, OpeningScript script, size_t max_line_bytes, ByteQueue& out)
    : config_(config),
      script_(std::move(script)),
      out_(out),
      assumed_(config.taken_for),
      step_(config.peer == PeerKind::kDaemon ? Step::kLines : Step::kVersion) {
  agreement_.protocol = config.max_protocol;
  if (assumed_) agreement_.protocol = std::min(agreement_.protocol, assumed_->protocol);
  if (config.peer == PeerKind::kShell) {
    out_.append_le32(static_cast<uint32_t>(config.max_protocol));
    arguments_sent_ = true;
  } else if (config.logged_in) {
    go_on_logged_in(*config.logged_in);
    return;
  } else {
    login_.emplace(config, max_line_bytes, script_.on_motd, out_);
  }
  if (assumed_ && !assumed_->asks_login) send_what_may_be();
}

void Opening::go_on_logged_in(const LoggedIn& login) {
  version_ = login.server_version;
  asked_ = login.asked;
  names_digests_ = login.greeting.names_digests;
  agreement_.protocol = negotiated_protocol(login.greeting, config_.max_protocol);
  if (assumed_ && assumed_->protocol != agreement_.protocol) assumed_.reset();
  on_ok();
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
  if (step_ == Step::kLines) return advance_login();
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
    case Step::kLines:
    case Step::kEstablished:
      return false;
  }
  if (in.is_bad()) return Error(Errc::kProtocol, std::string("in the server's opening: ") + in.bad());
  if (!taken.ok()) return taken.error();
  if (in.is_short()) return false;
  input_.consume(in.position());
  return true;
}

Result<bool> Opening::advance_login() {
  const auto took = login_->take(input_);
  if (!took.ok()) return took.error();
  Result<void> taken;
  switch (*took) {
    case DaemonLogin::Took::kNothing:
      return false;
    case DaemonLogin::Took::kLine:
      break;
    case DaemonLogin::Took::kGreeting:
      taken = on_greeting();
      break;
    case DaemonLogin::Took::kChallenge:
      taken = on_challenge();
      break;
    case DaemonLogin::Took::kOk:
      on_ok();
      break;
  }
  if (!taken.ok()) return taken.error();
  return true;
}

Error Opening::misjudge(Errc code, const char* message) {
  misjudged_ = true;
  return Error(code, message);
}

Result<void> Opening::on_greeting() {
  const DaemonGreeting& greeting = login_->so_far().greeting;
  names_digests_ = greeting.names_digests;
  const bool assumed_framed = agreement_.protocol >= kFramedNamesProtocol;
  agreement_.protocol = negotiated_protocol(greeting, config_.max_protocol);
  if (agreement_.protocol < kMinProtocol) {
    return Error(Errc::kUnsupported, "the server speaks a pre-release of rsync protocol 30");
  }
  if (assumed_framed == (agreement_.protocol >= kFramedNamesProtocol)) return {};
  if (rest_sent_) return misjudge(Errc::kUnsupported, "the server is of another age than it was taken for");
  assumed_.reset();
  return {};
}

// The server reads on when it is content with the response; otherwise it says so and closes.
Result<void> Opening::on_challenge() {
  asked_ = true;
  if (arguments_sent_) return misjudge(Errc::kAuth, "the module asks for a login that was not expected");
  send_what_may_be();
  return {};
}

void Opening::on_ok() {
  send_what_may_be();
  step_ = Step::kCompat;
}

Result<void> Opening::on_version(int32_t version) {
  if (version < 20 || version > kMaxBelievableProtocol) {
    return Error(Errc::kProtocol,
                 "the remote command does not speak rsync (does its shell print something?)");
  }
  const int assumed = agreement_.protocol;
  agreement_.protocol = std::min(config_.max_protocol, static_cast<int>(version));
  if (agreement_.protocol < kMinProtocol) {
    return Error(Errc::kUnsupported, "the remote rsync speaks protocol " + std::to_string(version) +
                                         "; 30 (rsync 3.0) or later is needed");
  }
  if (rest_sent_ && (assumed >= kFramedNamesProtocol) != (agreement_.protocol >= kFramedNamesProtocol)) {
    return misjudge(Errc::kUnsupported, "the server is of another age than it was taken for");
  }
  if (version >= kFirstNegotiatingShellProtocol && !rest_sent_) send_rest(true);
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
  const bool negotiates = agreement_.varint_flags;
  agreement_.unusable = !negotiates && ((rest_sent_ && assumed_names_) || negotiates_compression());
  if (negotiates && rest_sent_ && !assumed_names_)
    return misjudge(Errc::kUnsupported, "the server is younger than it was taken for");
  agreement_.checksum = config_.checksum.value_or(ChecksumKind::kMd5);
  agreement_.compression = config_.compression;
  if (!rest_sent_) send_rest(negotiates);
  step_ = negotiates && negotiates_checksum()      ? Step::kChecksums
          : negotiates && negotiates_compression() ? Step::kCompressions
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

// Daemons that name their digests are new enough to honour 'v': no need to see their flags first.
std::optional<bool> Opening::expects_negotiation() const {
  if (names_digests_) return true;
  return assumed_ ? std::optional(assumed_->negotiates) : std::nullopt;
}

void Opening::send_what_may_be() {
  if (!arguments_sent_) send_arguments();
  const auto negotiates = expects_negotiation();
  if (negotiates && !rest_sent_) send_rest(*negotiates);
}

void Opening::send_rest(bool negotiates) {
  rest_sent_ = true;
  assumed_names_ = negotiates;
  Agreement assumed = agreement_;
  assumed.varint_flags = assumed.id0_names = negotiates;
  // The flags have come.
  if (step_ == Step::kCompat) assumed.id0_names = agreement_.id0_names;
  if (negotiates) {
    if (negotiates_checksum()) write_vstring(out_, kChecksumNames);
    if (negotiates_compression()) write_vstring(out_, kCompressionNames);
  }
  script_.first_data(assumed, out_);
}

ServerAbilities Opening::shown() const {
  return {.protocol = agreement_.protocol, .negotiates = agreement_.varint_flags, .asks_login = asked_};
}

Error Opening::unusable() {
  return misjudge(Errc::kUnsupported, config_.compression == CompressionKind::kZstd
                                          ? "the server cannot negotiate compression; zlibx may work"
                                          : "the server is older than it was taken for");
}

bool Opening::misjudged(const Error& why) const {
  return config_.taken_for && (misjudged_ || (agreement_.unusable && why.code() != Errc::kUnsupported));
}

Error Opening::cut_short() const {
  if (step_ == Step::kVersion || (login_ && !login_->greeted())) {
    return Error(Errc::kDisconnected, "the server closed the connection before saying anything");
  }
  return Error(Errc::kDisconnected, "the server closed the connection during the opening");
}

}  // namespace rsyncfs
