// SPDX-License-Identifier: GPL-3.0-or-later
#include "sync/engine/remote_session.h"

#include <algorithm>
#include <cerrno>
#include <utility>

#include "io/base/log.h"
#include "sync/engine/session_settings.h"
#include "sync/rsync/server_arguments.h"

namespace rsyncfs {

namespace {

// Of the server's error texts: some thousands of unreadable directories.
constexpr size_t kMaxKeptErrorBytes = 1 << 20;
// A server's own io timeout is usually tens of seconds; a paused stream says hello this often.
constexpr std::chrono::seconds kKeepAliveEvery{2};
// SessionSpec::narrow: what may be on the wire beyond what was read; what TCP begins with anyway (RFC 6928).
constexpr uint32_t kNarrowBytes = 16 * 1024;
constexpr uint32_t kWideBytes = 1 << 20;
// Waiting for the list of a whole tree: a large cold tree is silent for long, and nobody is held up by it.
constexpr int kTreeListPatience = 4;

// Of a page, about; one that takes more, for its attributes, counts as more entries.
constexpr uint64_t kBytesOfAnEntry = 256;

// rsync.h MAX_FILECNT_LOOKAHEAD: a server reads no further ahead of what it was told of, but to the end of a
// directory.
constexpr uint64_t kServerLookAhead = 10'000;

// As a whole, a tree is not to be larger than is given up for pages.
PullLimits limits_of(const SyncerOptions& options, const ServerFeatures& features, const SessionSpec& spec) {
  PullLimits limits;
  if (spec.purpose == SessionSpec::Purpose::kTree && !spec.paged && features.pages)
    limits.max_entries = options.max_whole_tree;
  return limits;
}

PullConfig make_config(const SyncerOptions& options, const ServerFeatures& features,
                       const SessionSpec& spec) {
  PullConfig config;
  apply_settings(options, features, config);
  config.acls = options.acls && features.acls && spec.attributes;
  config.xattrs = options.xattrs && features.xattrs && spec.attributes;
  config.report_missing = features.report_missing;
  config.hard_links = features.hard_links;
  config.numeric_ids = options.numeric_ids;
  // What is about to be replaced or removed there is looked at as a whole.
  if (!spec.for_push) config.filters = options.filters;
  if (spec.append) config.extra_args.emplace_back("--append");
  // Runs of blocks that are here are named by a few bytes then.
  if (spec.delta && config.compression == CompressionKind::kNone && features.compresses) {
    config.compression = CompressionKind::kZlibx;
    config.compress_level = 1;
  }
  config.paths = spec.paths;
  config.taken_for = expected_abilities(options, features);
  if (spec.first_offset) {
    // Its place is behind the directories above it.
    const auto depth = std::ranges::count(spec.paths.front(), '/');
    config.first_request = {.ndx = static_cast<uint32_t>(depth), .offset = *spec.first_offset};
  }
  config.paged = spec.paged;
  return config;
}

WirePurpose first_purpose(const SessionSpec& spec) {
  if (spec.for_push) return WirePurpose::kPush;
  if (spec.polls) return WirePurpose::kPoll;
  if (spec.purpose != SessionSpec::Purpose::kStream) return WirePurpose::kList;
  return spec.demanded ? WirePurpose::kRead : WirePurpose::kReady;
}

Urgency urgency_of(const SessionSpec& spec) {
  if (spec.for_push) return Urgency::kPush;
  if (spec.demanded) return Urgency::kReadMiss;
  return spec.purpose == SessionSpec::Purpose::kStream ? Urgency::kReadAhead : Urgency::kPoll;
}

}  // namespace

RemoteSession::RemoteSession(Loop& loop, Resolver& resolver, RemoteShell& shell, BandwidthLimit* bandwidth,
                             const SyncerOptions& options, ServerFeatures features, SessionSpec spec,
                             SessionUser& user, Keeper& keeper, std::optional<PreparedStream> prepared)
    : loop_(loop),
      resolver_(resolver),
      shell_(shell),
      bandwidth_(bandwidth),
      urgency_(urgency_of(spec)),
      options_(options),
      features_(features),
      spec_(std::move(spec)),
      config_(make_config(options, features_, spec_)),
      user_(&user),
      keeper_(keeper),
      opened_at_(Clock::now()),
      opened_at_s_(std::chrono::duration_cast<std::chrono::seconds>(
                       std::chrono::system_clock::now().time_since_epoch())
                       .count()),
      last_used_(opened_at_),
      waiting_since_(opened_at_),
      purpose_(first_purpose(spec_)) {
  if (prepared) {
    config_.logged_in = std::move(prepared->login);
    stream_ = std::move(prepared->stream);
  }
  PullEvents& events = *this;
  wire_ = std::make_unique<PullSession>(config_, events, limits_of(options_, features_, spec_));
}

RemoteSession::~RemoteSession() = default;

void RemoteSession::start() {
  if (!stream_) return connect();
  begin_on_stream();
}

void RemoteSession::begin_on_stream() {
  stream_->pace(bandwidth_, urgency_);
  stream_->start(*this);
  flush();
}

void RemoteSession::set_urgency(Urgency urgency) {
  urgency_ = urgency;
  if (stream_) stream_->set_urgency(urgency);
}

void RemoteSession::connect() {
  const Source& source = options_.source;
  auto done = [this](Result<std::unique_ptr<Stream>> stream) { attached(std::move(stream)); };
  if (source.kind == Source::Kind::kDaemon) {
    attempt_ = connect_tcp(loop_, resolver_, options_.tcp, options_.connect_timeout, std::move(done),
                           spec_.narrow ? kNarrowBytes : 0);
    return;
  }
  attempt_ = shell_.connect(shell_arguments(config_), std::move(done));
}

void RemoteSession::attached(Result<std::unique_ptr<Stream>> stream) {
  if (ended_) return;
  if (!stream) {
    fail(stream.error());
    return;
  }
  stream_ = std::move(*stream);
  waiting_since_ = Clock::now();
  begin_on_stream();
}

void RemoteSession::flush() {
  if (stream_ && !ended_) stream_->send(wire_->output());
}

void RemoteSession::on_bytes(std::span<const std::byte> data) {
  if (ended_) return;  // given up, but what had come before is still being delivered
  waiting_since_ = Clock::now();
  heard_ = true;
  keeper_.session_received(*this);
  const Result<void> result = wire_->receive(data);
  if (ended_) return;
  if (!foreseen_) {
    fail(Error(Errc::kProtocol, "the list is not what was foreseen"));
    return;
  }
  if (!result) {
    const bool whole_tree = spec_.purpose == SessionSpec::Purpose::kTree && !spec_.paged;
    outgrown_ = whole_tree && result.error().code() == Errc::kLimit && wire_->state() == PullState::kListing;
    fail(outgrown_ ? Error(Errc::kCanceled, result.error().message()) : result.error());
    return;
  }
  if (wire_->state() == PullState::kPaging) {
    turn_pages();
  } else {
    awaiting_ = wire_->state() != PullState::kArmed || wire_->unanswered() > 0;
  }
  user_->session_drained(*this);
  flush();
}

void RemoteSession::on_end(Result<void> why) {
  if (ended_) return;
  const Result<void> end = wire_->end_of_input();
  if (ended_) return;
  const bool told_why = !end && end.error().code() != Errc::kDisconnected;
  if (!why && !told_why) {
    fail(with_last_words(Error(Errc::kDisconnected, "connection lost: " + why.error().message())));
  } else if (!end) {
    fail(with_last_words(end.error()));
  } else {
    fail(Error(Errc::kDisconnected, "the server closed the session"));
  }
}

// A remote shell says on its standard error why it could not run rsync.
Error RemoteSession::with_last_words(const Error& why) const {
  const std::string words = stream_ ? stream_->last_words() : std::string();
  if (words.empty()) return why;
  const bool refused = words.find("Permission denied") != std::string::npos;
  return Error(!established_ && refused ? Errc::kAuth : why.code(), words + " (" + why.message() + ")");
}

void RemoteSession::on_established() {
  established_ = true;
  keeper_.session_established(*this);
}

// The first request was for the right entry, if there is one.
bool RemoteSession::list_is_foreseen(const FileList& list) const {
  if (!config_.first_request) return true;
  const auto ndx = list.find(spec_.paths.front());
  return !ndx || *ndx == config_.first_request->ndx;
}

void RemoteSession::on_list(const FileList& list) {
  foreseen_ = list_is_foreseen(list);
  if (!foreseen_) return;
  listed_ = true;
  awaiting_ = false;
  keeper_.session_showed(*this);
  user_->session_listed(*this);
}

void RemoteSession::on_page(ListPage page) {
  if (!std::exchange(listed_, true)) keeper_.session_showed(*this);
  TreePage out;
  out.began = page_began(entries_paged_);
  for (; errors_paged_ < errors_.texts.size(); ++errors_paged_)
    out.errors.push_back(errors_.texts[errors_paged_]);
  out.errors_cut = errors_.cut;
  entries_paged_ += page.list.size();
  out.weight = std::max<uint64_t>(page.list.size() + 1, page.list.memory_bytes() / kBytesOfAnEntry);
  entries_waiting_ += out.weight;
  out.page = std::move(page);
  user_->session_page(*this, std::move(out));
}

void RemoteSession::on_pages_end() {
  awaiting_ = false;
  user_->session_pages_end(*this);
}

// It reads on when it knows that all before the newest page has arrived.
void RemoteSession::turn_pages() {
  awaiting_ = entries_waiting_ < kMaxWaitingEntries;
  if (stream_) stream_->set_paused(entries_waiting_ > kMostUnreadEntries);
  if (!awaiting_) return;
  if (turns_.empty() || turns_.back().entries < entries_paged_)
    turns_.push_back({Clock::now(), entries_paged_});
  wire_->turn_pages();
}

void RemoteSession::pages_done(uint64_t weight) {
  entries_waiting_ -= weight;
  if (!paging() || awaiting_) return;
  waiting_since_ = Clock::now();
  turn_pages();
  flush();
}

Clock::time_point RemoteSession::page_began(uint64_t entries_before) {
  while (turns_.size() > 1 && turns_[1].entries + kServerLookAhead <= entries_before) turns_.pop_front();
  const bool told = !turns_.empty() && turns_.front().entries + kServerLookAhead <= entries_before;
  return told ? turns_.front().at : opened_at_;
}

void RemoteSession::on_xattrs(uint32_t ndx, std::vector<std::pair<std::string, std::string>> values) {
  keeper_.session_xattrs(*this, ndx, std::move(values));
}

void RemoteSession::on_message(MessageKind kind, std::string_view text) {
  const bool trusted = listed_ || !config_.taken_for || features_.abilities_seen;
  if (trusted && (kind == MessageKind::kError || kind == MessageKind::kWarning)) {
    log_info("server: " + std::string(text));
    if (kind == MessageKind::kError) keep_error(text);
  } else {
    log_debug("server: " + std::string(text));
    if (kind == MessageKind::kError) keep_error(text);
  }
}

void RemoteSession::keep_error(std::string_view text) {
  error_bytes_ += text.size();
  errors_.cut = errors_.cut || error_bytes_ > kMaxKeptErrorBytes;
  if (!errors_.cut) errors_.texts.emplace_back(text);
}

// A daemon shows paths from its module's top, another server from its host's.
std::string RemoteSession::shown_root() const {
  const std::string root = clean_root(config_.root);
  return config_.peer == PeerKind::kDaemon ? "/" + root : root;
}

std::optional<Clock::time_point> RemoteSession::list_heard_at() const {
  if (wire_->state() == PullState::kOpening) return std::nullopt;
  return waiting_since_;
}

// What did not wait for the server's answers, and went wrong for it, is done again before anybody hears of
// it: at most once for each reason.
bool RemoteSession::begin_again(const Error& why) {
  if (listed_ || why.code() == Errc::kCanceled || !stream_) return false;
  if (!foreseen_) {
    config_.first_request.reset();
    foreseen_ = true;
  } else if (config_.logged_in && !heard_) {
    // It was at its end when it was taken.
  } else if (config_.taken_for && may_be_misjudged(features_, wire_->misjudged(), why)) {
    config_.taken_for.reset();
    keeper_.session_misjudged(why);
  } else {
    return false;
  }
  log_debug("once more, on another connection: " + why.message());
  config_.logged_in.reset();
  past_in_ += stream_->bytes_in();
  past_out_ += stream_->bytes_out();
  stream_.reset();
  errors_ = {};
  error_bytes_ = 0;
  heard_ = established_ = false;
  awaiting_ = true;
  waiting_since_ = Clock::now();
  PullEvents& events = *this;
  wire_ = std::make_unique<PullSession>(config_, events, limits_of(options_, features_, spec_));
  connect();
  return true;
}

void RemoteSession::fail(const Error& why) {
  if (ended_ || begin_again(why)) return;
  ended_ = true;
  if (why.code() != Errc::kCanceled) broken_ = why;
  attempt_.reset();
  const bool was_established = established_;
  const bool come_again = !was_established && keeper_.refused_for_a_moment(why);
  user_->session_ended(*this, come_again ? Error(Errc::kCanceled, why.message()) : why);
  keeper_.session_over(*this, why, was_established);
}

void RemoteSession::attribute(WirePurpose purpose) {
  if (purpose == purpose_) return;
  WireTotals& counted = counted_[static_cast<size_t>(purpose_)];
  counted.bytes_in += bytes_in() - std::exchange(counted_in_, bytes_in());
  counted.bytes_out += bytes_out() - std::exchange(counted_out_, bytes_out());
  purpose_ = purpose;
}

void RemoteSession::add_wire(WireByPurpose& totals) const {
  for (size_t i = 0; i < kWirePurposes; ++i) {
    totals[i].bytes_in += counted_[i].bytes_in;
    totals[i].bytes_out += counted_[i].bytes_out;
  }
  WireTotals& now = totals[static_cast<size_t>(purpose_)];
  now.bytes_in += bytes_in() - counted_in_;
  now.bytes_out += bytes_out() - counted_out_;
}

void RemoteSession::request_file(uint32_t ndx, FileSink& sink, uint64_t bytes, WirePurpose purpose) {
  if (answers_.empty()) attribute(purpose);
  answers_.push_back(purpose);
  last_used_ = waiting_since_ = Clock::now();
  awaiting_ = true;
  outstanding_bytes_ += bytes;
  wire_->request_file(ndx, BlockSums{}, sink);
  flush();
}

void RemoteSession::request_append(uint32_t ndx, uint64_t offset, FileSink& sink) {
  last_used_ = waiting_since_ = Clock::now();
  awaiting_ = true;
  wire_->request_append(ndx, offset, sink);
  flush();
}

void RemoteSession::request_delta(uint32_t ndx, const BlockSums& sums, FileSink& sink,
                                  std::chrono::milliseconds silence, uint64_t bytes) {
  last_used_ = waiting_since_ = Clock::now();
  awaiting_ = true;
  silence_ = wire_->unanswered() > 0 ? std::max(silence_, silence) : silence;
  outstanding_bytes_ += bytes;
  wire_->request_file(ndx, sums, sink);
  flush();
}

void RemoteSession::request_done(uint64_t bytes) {
  last_used_ = Clock::now();
  outstanding_bytes_ -= std::min(bytes, outstanding_bytes_);
  if (!answers_.empty()) answers_.pop_front();
  if (!answers_.empty()) attribute(answers_.front());
}

bool RemoteSession::request_xattrs(uint32_t ndx) {
  if (!wire_->request_xattrs(ndx)) return false;
  last_used_ = Clock::now();
  if (wire_->unanswered() > 0) {  // else it was answered at once
    waiting_since_ = last_used_;
    awaiting_ = true;
  }
  flush();
  return true;
}

void RemoteSession::set_paused(bool paused) {
  if (paused_ == paused) return;
  paused_ = paused;
  waiting_since_ = last_keep_alive_ = Clock::now();
  if (stream_) stream_->set_paused(paused);
}

void RemoteSession::expect(uint64_t bytes) {
  if (!spec_.narrow || !stream_) return;
  stream_->limit_unread(
      bytes == 0 ? 0 : static_cast<uint32_t>(std::clamp<uint64_t>(bytes, kNarrowBytes, kWideBytes)));
}

void RemoteSession::tick(Clock::time_point now, std::chrono::milliseconds stall) {
  if (ended_ || !stream_) return;  // connecting has its own limit
  if (paused_) {
    if (now - last_keep_alive_ >= kKeepAliveEvery) {
      last_keep_alive_ = now;
      wire_->keep_alive();
      flush();
    }
    return;
  }
  if (!awaiting_) return;
  if (stream_->held_back()) waiting_since_ = now;
  const bool listing = wire_->state() == PullState::kListing || wire_->state() == PullState::kPaging;
  const bool tree_list = spec_.purpose == SessionSpec::Purpose::kTree && listing;
  auto limit = (tree_list ? stall * kTreeListPatience : stall) + silence_;
  // A remote shell is a stream before it has logged in, and a daemon may look its client up before it speaks.
  if (!established_) limit = std::max(limit, options_.connect_timeout);
  if (now - waiting_since_ < limit) return;
  fail(Error(Errc::kTimedOut, "the server stopped answering").with_errno(ETIMEDOUT));
}

SessionStatus RemoteSession::status() const {
  SessionStatus out;
  switch (spec_.purpose) {
    case SessionSpec::Purpose::kTree:
      out.purpose = "tree";
      break;
    case SessionSpec::Purpose::kDirectories:
      out.purpose = "directory";
      break;
    case SessionSpec::Purpose::kStream:
      out.purpose = "stream";
      break;
  }
  if (!stream_) {
    out.state = "connecting";
  } else {
    switch (wire_->state()) {
      case PullState::kOpening:
        out.state = "opening";
        break;
      case PullState::kListing:
      case PullState::kPaging:
        out.state = "listing";
        break;
      case PullState::kArmed:
        out.state = paused_ ? "parked" : "armed";
        break;
      case PullState::kClosing:
      case PullState::kEnded:
        out.state = "closing";
        break;
    }
  }
  out.entries = armed() ? list().size() : entries_paged_;
  out.unanswered = wire_->unanswered();
  out.bytes_in = bytes_in();
  out.bytes_out = bytes_out();
  return out;
}

std::string RemoteSession::describe() const {
  std::string out = "connected, protocol " + std::to_string(wire_->protocol()) + ", ";
  out += checksum_name(wire_->checksum());
  if (wire_->compression() == CompressionKind::kZstd) out += ", zstd";
  if (wire_->compression() == CompressionKind::kZlibx) out += ", zlibx";
  return out;
}

}  // namespace rsyncfs
