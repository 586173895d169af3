// SPDX-License-Identifier: GPL-3.0-or-later
#include "sync/rsync/pull_session.h"

#include <algorithm>
#include <utility>

#include "io/base/text.h"
#include "sync/rsync/file_list_decoder.h"
#include "sync/rsync/item_stream.h"
#include "sync/rsync/last_words.h"
#include "sync/rsync/mux.h"
#include "sync/rsync/opening.h"
#include "sync/rsync/paged_list.h"
#include "sync/rsync/pull_arguments.h"
#include "sync/rsync/replies.h"
#include "sync/rsync/server_arguments.h"
#include "sync/rsync/server_messages.h"
#include "sync/rsync/server_text.h"

namespace rsyncfs {

class PullSession::Impl : public MuxHandler {
 public:
  Impl(PullConfig config, PullEvents& events, const PullLimits& limits)
      : config_(std::move(config)),
        events_(events),
        limits_(limits),
        mux_(limits.max_text_bytes, std::min(limits.max_frame_bytes, kMaxMuxFrame)),
        messages_(LastWords(), [this](MessageKind kind, std::string_view text) { on_message(kind, text); }) {
    if (auto valid = validate_pull_config(config_); !valid.ok()) {
      failure_ = valid.error();
      return;
    }
    clean_session_root(config_);
    OpeningScript script{
        .daemon_arguments = {}, .first_data = {}, .on_motd = {}, .incremental = config_.paged};
    if (config_.peer == PeerKind::kDaemon) script.daemon_arguments = daemon_arguments(config_);
    script.first_data = [this](const Agreement& agreed, ByteQueue& out) { ask_for_list(agreed, out); };
    script.on_motd = [this](std::string_view line) { events_.on_message(MessageKind::kMotd, line); };
    opening_.emplace(config_, std::move(script), limits_.max_text_bytes, output_);
  }

  Result<void> receive(std::span<const std::byte> data) {
    if (failure_) return *failure_;
    auto taken = take(data);
    if (!taken.ok()) failure_ = taken.error();
    return taken;
  }

  Result<void> end_of_input() {
    if (failure_) return *failure_;
    if (state_ == PullState::kEnded) return {};
    failure_ = state_ == PullState::kOpening ? opening_->cut_short()
               : empty_list_                 ? words().nothing_listed()
                                             : words().closed();
    return *failure_;
  }

  void request(uint32_t ndx, const BlockSums& sums, FileSink& sink) {
    check_armed();
    ByteQueue bytes;
    replies_->request_file(ndx, sums, sink, bytes);
    mux_write_data(output_, bytes.readable());
  }

  void request_append(uint32_t ndx, uint64_t offset, FileSink& sink) {
    check_armed();
    ByteQueue bytes;
    replies_->request_append(ndx, offset, sink, bytes);
    mux_write_data(output_, bytes.readable());
  }

  bool request_xattrs(uint32_t ndx) {
    check_armed();
    ByteQueue bytes;
    const bool coming = replies_->request_xattrs(ndx, bytes);
    mux_write_data(output_, bytes.readable());
    return coming;
  }

  void turn_pages() {
    RSYNCFS_CHECK(state_ == PullState::kPaging);
    if (pages_->done() || pages_->lists() == 0) return;
    const uint64_t old = pages_->lists() - 1 - pages_->released();
    if (old == 0) return;
    const std::vector<std::byte> dones(static_cast<size_t>(old));  // an NDX_DONE is a zero
    pages_->release(old);
    mux_write_data(output_, dones);
  }

  void keep_alive() {
    const bool framed =
        state_ == PullState::kListing || state_ == PullState::kPaging || state_ == PullState::kArmed;
    if (framed && !failure_) mux_write_message(output_, MuxTag::kData, {});
  }

  void finish() {
    check_armed();
    RSYNCFS_CHECK(unanswered() == 0);
    state_ = PullState::kClosing;
    // Two transfer phases, the end of sending, and the goodbye, which protocol 31 made one longer.
    ByteQueue bytes;
    const int count = agreement().protocol >= 31 ? 5 : 4;
    for (int i = 0; i < count; ++i) replies_->write_done(bytes);
    mux_write_data(output_, bytes.readable());
  }

  ByteQueue& output() { return output_; }
  PullState state() const { return state_; }
  bool paged() const { return agreement().incremental; }
  const FileList& list() const { return list_; }
  size_t unanswered() const { return replies_ ? replies_->unanswered() : 0; }
  bool established() const { return opening_ && opening_->established(); }
  const Agreement& agreement() const { return established() ? opening_->agreement() : nothing_agreed_; }
  int server_io_timeout_s() const { return messages_.io_timeout_s(); }
  std::string_view server_version() const {
    return opening_ ? std::string_view(opening_->server_version()) : std::string_view();
  }
  ServerAbilities shown() const { return opening_ ? opening_->shown() : ServerAbilities(); }
  bool misjudged() const { return opening_ && failure_ && opening_->misjudged(*failure_); }

 private:
  void check_armed() const { RSYNCFS_CHECK(state_ == PullState::kArmed && replies_); }

  // Filter rules and the names to list.
  void ask_for_list(const Agreement& agreed, ByteQueue& out) {
    ByteQueue data;
    for (const std::string& filter : config_.filters) {
      data.append_le32(static_cast<uint32_t>(filter.size()));
      data.append(filter);
    }
    data.append_le32(0);
    const std::string names = config_.paths.empty() ? std::string() : files_from_data(config_);
    // Protocol 30 takes the names outside any frame.
    const bool framed = agreed.protocol >= 31;
    if (framed) data.append(names);
    if (!framed) config_.first_request.reset();
    if (config_.first_request) write_first_request(*config_.first_request, data);
    mux_write_data(out, data.readable());
    if (!framed) out.append(names);
  }

  Result<void> take(std::span<const std::byte> data) {
    if (state_ != PullState::kOpening) return mux_.feed(data, *this);
    if (auto opened = opening_->receive(data); !opened.ok()) return opened;
    if (!opening_->established()) return {};
    const Agreement& agreed = opening_->agreement();
    const ListFormat format{.protocol = agreed.protocol,
                            .varint_flags = agreed.varint_flags,
                            .id0_names = agreed.id0_names,
                            .acls = config_.acls,
                            .xattrs = config_.xattrs,
                            .numeric_ids = config_.numeric_ids,
                            .incremental = agreed.incremental};
    const ListLimits limits{limits_.max_entries, limits_.max_list_bytes};
    if (agreed.incremental) {
      pages_.emplace(format, limits, [this](ListPage page) { take_page(std::move(page)); });
    } else {
      decoder_.emplace(format, limits);
    }
    state_ = agreed.incremental ? PullState::kPaging : PullState::kListing;
    events_.on_established();
    const auto rest = opening_->rest().readable();
    const std::vector<std::byte> copy(rest.begin(), rest.end());
    opening_->rest().clear();
    return mux_.feed(copy, *this);
  }

  Result<void> on_mux_data(std::span<const std::byte> data) override {
    if (agreement().unusable) return opening_->unusable();
    return stream_.feed(data, [this](std::span<const std::byte> bytes) { return parse(bytes); });
  }

  // Each state takes what is its own; the next one gets the rest.
  Result<Parsed> parse(std::span<const std::byte> data) {
    Parsed total;
    while (total.consumed < data.size()) {
      const PullState before = state_;
      auto parsed = parse_in_state(data.subspan(total.consumed));
      if (!parsed.ok()) return parsed.error();
      total.consumed += parsed->consumed;
      total.need = parsed->need;
      if (state_ == before && (parsed->consumed == 0 || parsed->need != 0)) break;
    }
    return total;
  }

  Result<Parsed> parse_in_state(std::span<const std::byte> data) {
    switch (state_) {
      case PullState::kOpening:
        break;
      case PullState::kListing:
        return parse_list(data);
      case PullState::kPaging:
        return parse_pages(data);
      case PullState::kArmed:
        return parse_replies(data);
      case PullState::kClosing:
        return parse_goodbye(data);
      case PullState::kEnded:
        return Parsed{data.size(), 0};
    }
    return Error(Errc::kProtocol, "data before the session was established");
  }

  // The server ends by itself when it cannot go on, as if we had asked it to.
  Result<Parsed> parse_replies(std::span<const std::byte> data) {
    auto parsed = replies_->parse(data);
    if (parsed.ok() || parsed.error().code() != Errc::kDisconnected) return parsed;
    return words().stopped(parsed.error());
  }

  Result<Parsed> parse_list(std::span<const std::byte> data) {
    if (empty_list_) return Error(Errc::kProtocol, "the server sent more after an empty list");
    auto parsed = decoder_->parse(data);
    if (!parsed.ok() || !decoder_->done()) return parsed;
    const uint32_t early_errors = list_.io_error;
    list_ = decoder_->take();
    list_.io_error |= early_errors;
    if (list_.size() == 0) {
      empty_list_ = true;
      if (words().any_error()) return words().nothing_listed();
      return parsed;  // the server may still say why
    }
    const bool append_mode = std::ranges::count(config_.extra_args, "--append") > 0;
    replies_.emplace(agreement(), limits_, append_mode, list_, decoder_->xattr_numbers(), events_);
    if (config_.first_request) replies_->expect_first(*config_.first_request);
    decoder_.reset();
    state_ = PullState::kArmed;
    words().listed();
    if (list_.unusable > 0) warn_of_unusable(list_);
    events_.on_list(list_);
    return parsed;
  }

  Result<Parsed> parse_pages(std::span<const std::byte> data) {
    if (empty_list_) return Error(Errc::kProtocol, "the server sent more after an empty list");
    const bool before = pages_->done();
    auto parsed = pages_->parse(data);
    if (!parsed.ok()) {
      return parsed.error().code() == Errc::kDisconnected ? words().stopped(parsed.error()) : parsed.error();
    }
    if (empty_list_ && words().any_error()) return words().nothing_listed();
    if (pages_->done() && !before) events_.on_pages_end();
    return parsed;
  }

  void take_page(ListPage page) {
    if (pages_->lists() == 1) {
      if (page.list.size() == 0) {
        empty_list_ = true;
        return;
      }
      words().listed();
    }
    if (page.list.unusable > 0) warn_of_unusable(page.list);
    events_.on_page(std::move(page));
  }

  void on_message(MessageKind kind, std::string_view text) {
    // What it is about may be in a list that says nothing of it.
    if (pages_ && kind == MessageKind::kError && !agreement().safe_lists)
      pages_->add_io_error(FileList::kIoErrorGeneral);
    events_.on_message(kind, text);
  }

  void warn_of_unusable(const FileList& list) {
    const auto example = std::ranges::find_if(list.entries, [](const FileEntry& e) { return !e.usable(); });
    std::string shown = shown_text(list.path(*example));
    std::ranges::replace(shown, '"', '\'');  // what a server quotes is a place it could not read
    events_.on_message(MessageKind::kWarning,
                       std::to_string(list.unusable) +
                           " entries of the source are left out: the names are too long, "
                           "or the type is unknown here. One is " +
                           shown);
  }

  // The echoes of finish(): DONE three times, five statistics, from protocol 31 on DONE once more.
  Result<Parsed> parse_goodbye(std::span<const std::byte> data) {
    constexpr int kStatistics = 5;
    constexpr int kDones = 3;
    Parsed parsed;
    while (state_ == PullState::kClosing) {
      WireReader in(data.subspan(parsed.consumed));
      const bool statistic = goodbye_items_ >= kDones && goodbye_items_ < kDones + kStatistics;
      if (statistic) {
        in.varlong(3);
      } else if (replies_->in_ndx().read(in) != kNdxDone && in.ok()) {
        return Error(Errc::kProtocol, "unexpected data in the server's goodbye");
      }
      if (in.is_bad()) return Error(Errc::kProtocol, "unexpected data in the server's goodbye");
      if (in.is_short()) {
        parsed.need = in.need();
        return parsed;
      }
      parsed.consumed += in.position();
      ++goodbye_items_;
      if (goodbye_items_ == kDones + kStatistics + (agreement().protocol >= 31 ? 1 : 0))
        state_ = PullState::kEnded;
    }
    return parsed;
  }

  Result<void> on_mux_message(MuxTag tag, std::span<const std::byte> payload) override {
    const auto taken = messages_.take(tag, payload);
    if (!taken.ok()) {
      const bool left_empty = empty_list_ && messages_.exit_code().has_value();
      return left_empty ? words().nothing_listed() : taken.error();
    }
    if (*taken) return {};
    if (tag != MuxTag::kIoError && tag != MuxTag::kNoSend) {
      return Error(Errc::kProtocol, "a message that no sender sends");
    }
    const auto number = ServerMessages::number(payload);
    if (!number.ok()) return number.error();
    if (tag == MuxTag::kIoError) {
      if (state_ == PullState::kListing) list_.io_error |= *number & kIoErrorMask;
      if (state_ == PullState::kPaging) pages_->add_io_error(*number & kIoErrorMask);
      return {};
    }
    if (state_ != PullState::kArmed)
      return Error(Errc::kProtocol, "the server declined a file too early or late");
    return replies_->not_sent(*number, words().declined());
  }

  LastWords& words() { return messages_.words(); }
  const LastWords& words() const { return messages_.words(); }

  PullConfig config_;
  PullEvents& events_;
  PullLimits limits_;
  ByteQueue output_;
  PullState state_ = PullState::kOpening;
  std::optional<Error> failure_;
  std::optional<Opening> opening_;
  Agreement nothing_agreed_;
  MuxReader mux_;
  ItemStream stream_;
  std::optional<FileListDecoder> decoder_;
  std::optional<PagedListDecoder> pages_;
  FileList list_;
  bool empty_list_ = false;
  std::optional<Replies> replies_;
  int goodbye_items_ = 0;
  ServerMessages messages_;
};

PullSession::PullSession(PullConfig config, PullEvents& events, PullLimits limits)
    : impl_(std::make_unique<Impl>(std::move(config), events, limits)) {}
PullSession::~PullSession() = default;

ByteQueue& PullSession::output() {
  return impl_->output();
}
Result<void> PullSession::receive(std::span<const std::byte> data) {
  return impl_->receive(data);
}
Result<void> PullSession::end_of_input() {
  return impl_->end_of_input();
}
void PullSession::request_file(uint32_t ndx, const BlockSums& sums, FileSink& sink) {
  impl_->request(ndx, sums, sink);
}
void PullSession::request_append(uint32_t ndx, uint64_t offset, FileSink& sink) {
  impl_->request_append(ndx, offset, sink);
}
bool PullSession::request_xattrs(uint32_t ndx) {
  return impl_->request_xattrs(ndx);
}
void PullSession::turn_pages() {
  impl_->turn_pages();
}
void PullSession::keep_alive() {
  impl_->keep_alive();
}
void PullSession::finish() {
  impl_->finish();
}
PullState PullSession::state() const {
  return impl_->state();
}
const FileList& PullSession::list() const {
  return impl_->list();
}
bool PullSession::paged() const {
  return impl_->paged();
}
size_t PullSession::unanswered() const {
  return impl_->unanswered();
}
int PullSession::protocol() const {
  return impl_->agreement().protocol;
}
ChecksumKind PullSession::checksum() const {
  return impl_->agreement().checksum;
}
int32_t PullSession::checksum_seed() const {
  return impl_->agreement().checksum_seed;
}
CompressionKind PullSession::compression() const {
  return impl_->agreement().compression;
}
int PullSession::server_io_timeout_s() const {
  return impl_->server_io_timeout_s();
}
std::string_view PullSession::server_version() const {
  return impl_->server_version();
}
ServerAbilities PullSession::shown() const {
  return impl_->shown();
}
bool PullSession::misjudged() const {
  return impl_->misjudged();
}

}  // namespace rsyncfs
