// SPDX-License-Identifier: GPL-3.0-or-later
#include "sync/rsync/push_session.h"

#include <algorithm>
#include <array>
#include <utility>

#include "sync/rsync/answers.h"
#include "sync/rsync/exact_rules.h"
#include "sync/rsync/file_list_encoder.h"
#include "sync/rsync/item_stream.h"
#include "sync/rsync/mux.h"
#include "sync/rsync/opening.h"
#include "sync/rsync/push_arguments.h"
#include "sync/rsync/push_list.h"
#include "sync/rsync/requests.h"
#include "sync/rsync/server_arguments.h"
#include "sync/rsync/server_messages.h"

namespace rsyncfs {

class PushSession::Impl : public MuxHandler, public GeneratorHandler {
 public:
  Impl(PushConfig config, PushEvents& events, const PushLimits& limits)
      : config_(std::move(config)),
        events_(events),
        limits_(limits),
        mux_(limits.max_text_bytes, std::min(limits.max_frame_bytes, kMaxMuxFrame)),
        messages_(LastWords(true), [this](MessageKind kind, std::string_view text) {
          // Words of a confusion that is nobody's affair.
          if (config_.taken_for && agreement().unusable) return;
          events_.on_message(kind, text);
        }) {
    if (auto valid = validate_push_config(config_); !valid.ok()) {
      failure_ = valid.error();
      return;
    }
    clean_session_root(config_);
    if (!config_.entries.empty()) {
      if (auto set = set_entries(std::exchange(config_.entries, {})); !set.ok()) {
        failure_ = set.error();
        return;
      }
    }
    OpeningScript script{.daemon_arguments = {}, .first_data = {}, .on_motd = {}};
    if (config_.peer == PeerKind::kDaemon) script.daemon_arguments = daemon_arguments(config_);
    script.first_data = [this](const Agreement& agreed, ByteQueue&) {
      stream_agreement_ = agreed;
      if (list_) send_list();
    };
    script.on_motd = [this](std::string_view line) { events_.on_message(MessageKind::kMotd, line); };
    opening_.emplace(config_, std::move(script), limits_.max_text_bytes, output_.tail());
  }

  Result<void> receive(std::span<const std::byte> data) {
    if (failure_) return *failure_;
    auto taken = take(data);
    if (!taken.ok()) failure_ = taken.error();
    return taken;
  }

  Result<void> end_of_input() {
    if (failure_) return *failure_;
    if (state_ == PushState::kEnded) return {};
    failure_ = state_ == PushState::kOpening ? opening_->cut_short() : messages_.words().closed();
    return *failure_;
  }

  Result<void> set_entries(std::vector<PushEntry> entries) {
    RSYNCFS_CHECK(!list_);
    auto list = PushList::create(config_.kind, std::move(entries));
    if (!list.ok()) return list.error();
    if (config_.exact) {
      if (auto valid = validate_exact_rules(*list); !valid.ok()) return valid;
    }
    list_ = std::move(*list);
    if (stream_agreement_) send_list();
    return {};
  }

  void keep_alive() {
    const bool framed = state_ == PushState::kReady || state_ == PushState::kActive;
    if (framed && !failure_) mux_write_message(output_.tail(), MuxTag::kData, {});
  }

  Answers& answers() {
    RSYNCFS_CHECK(state_ == PushState::kActive && answers_);
    return *answers_;
  }
  uint32_t ndx_of(size_t place) const {
    RSYNCFS_CHECK(list_ && place < list_->given());
    return list_->ndx(place);
  }

  OutputQueue& output() { return output_; }
  PushState state() const { return state_; }
  size_t unanswered() const { return answers_ ? answers_->unanswered() : 0; }
  const Agreement& agreement() const {
    return opening_ && opening_->established() ? opening_->agreement() : nothing_agreed_;
  }
  int server_io_timeout_s() const { return messages_.io_timeout_s(); }
  std::string_view server_version() const {
    return opening_ ? std::string_view(opening_->server_version()) : std::string_view();
  }
  bool misjudged() const { return opening_ && failure_ && opening_->misjudged(*failure_); }

 private:
  // What the server will have agreed to, if it is what it was taken for.
  void send_list() {
    const Agreement& agreed = *stream_agreement_;
    FileListEncoder encoder({.protocol = agreed.protocol,
                             .varint_flags = agreed.varint_flags,
                             .id0_names = agreed.id0_names,
                             .acls = config_.acls,
                             .xattrs = config_.xattrs,
                             .numeric_ids = config_.numeric_ids},
                            {.owner = config_.owner,
                             .devices = pushes_devices(config_.kind),
                             .hard_links = config_.kind == PushKind::kLink});
    ByteQueue bytes;
    if (config_.exact) write_exact_rules(*list_, bytes);
    encoder.write(*list_, config_.user_names, config_.group_names, bytes);
    mux_write_data(output_.tail(), bytes.readable());
    if (state_ == PushState::kReady) begin_answering();
  }

  void begin_answering() {
    state_ = PushState::kActive;
    const bool append = config_.kind == PushKind::kAppend;
    answers_.emplace(agreement(), config_.compress_level, append, *list_, output_);
    requests_.emplace(agreement(), config_.xattrs, append, *list_, *this);
  }

  Result<void> take(std::span<const std::byte> data) {
    if (state_ != PushState::kOpening) return mux_.feed(data, *this);
    if (auto opened = opening_->receive(data); !opened.ok()) return opened;
    if (!opening_->established()) return {};
    stream_agreement_ = opening_->agreement();
    if (agreement().protocol < 31) messages_.expect_exit_in_words();
    state_ = PushState::kReady;
    if (list_) begin_answering();
    events_.on_established();
    const auto rest = opening_->rest().readable();
    const std::vector<std::byte> copy(rest.begin(), rest.end());
    opening_->rest().clear();
    return mux_.feed(copy, *this);
  }

  Result<void> on_mux_data(std::span<const std::byte> data) override {
    if (agreement().unusable) return opening_->unusable();
    // Whoever compares its sums would find every file changed.
    if (config_.kind == PushKind::kData && !agreement().seed_first)
      return Error(Errc::kUnsupported, "the server is too old for its block sums to be compared");
    if (state_ == PushState::kEnded) return {};
    if (!requests_) return Error(Errc::kProtocol, "the server speaks of a list that it was not sent");
    return stream_.feed(data, [this](std::span<const std::byte> bytes) { return requests_->parse(bytes); });
  }

  Result<void> on_generator_item(GeneratorItem item) override {
    const auto place = list_->place(item.ndx);
    const uint16_t iflags = item.iflags;
    if ((iflags & kItemTransfer) != 0) return on_transfer(*place, std::move(item));
    const std::string xname = item.xname;
    if (auto echoed = answers_->echo(std::move(item)); !echoed.ok()) return echoed;
    if (place) events_.on_item(*place, iflags, xname);
    return {};
  }

  Result<void> on_transfer(size_t place, GeneratorItem item) {
    PushRequest request{.index = place,
                        .iflags = item.iflags,
                        .basis_type = item.basis_type,
                        .xname = item.xname,
                        .head = item.head,
                        .sums = std::exchange(item.sums, {}),
                        .sums_dropped = item.sums_dropped,
                        .again = item.again};
    const uint32_t ndx = item.ndx;
    const size_t sum_bytes = request.sums.blocks.size() * sizeof(BlockSum);
    if (auto expected = answers_->expect_answer(std::move(item), sum_bytes); !expected.ok()) return expected;
    if (config_.kind == PushKind::kAttributes || config_.kind == PushKind::kLink) {
      answers_->decline(ndx);
      events_.on_declined(place, request.iflags);
    } else {
      events_.on_request(std::move(request));
    }
    return {};
  }

  Result<void> on_generator_done() override {
    if (auto ended = answers_->end_phase(); !ended.ok()) return ended;
    if (!std::exchange(list_done_, true)) events_.on_list_done();
    if (answers_->finished()) {
      state_ = PushState::kEnded;
      events_.on_finished();
    }
    return {};
  }

  bool was_sent(uint32_t ndx) const override { return answers_->was_sent(ndx); }
  size_t sum_bytes_left() const override {
    return limits_.max_sum_bytes - std::min(limits_.max_sum_bytes, answers_->sum_bytes());
  }

  Result<void> on_mux_message(MuxTag tag, std::span<const std::byte> payload) override {
    if (state_ == PushState::kEnded) return {};  // only how it sums up
    const auto taken = messages_.take(tag, payload);
    if (!taken.ok()) return taken.error();
    if (*taken) return {};
    switch (tag) {
      case MuxTag::kSuccess:
        return on_success(payload);
      case MuxTag::kDeleted:
        return on_deleted(payload);
      case MuxTag::kIoError:
        return {};  // of a sender's list
      default:
        return Error(Errc::kProtocol, "a message that no receiver sends");
    }
  }

  Result<void> on_success(std::span<const std::byte> payload) {
    const auto number = ServerMessages::number(payload);
    if (!number.ok()) return number.error();
    if (!answers_ || *number >= list_->size())
      return Error(Errc::kProtocol, "the server acknowledges what it was not sent");
    if (const auto place = list_->place(*number)) events_.on_success(*place);
    return {};
  }

  // A directory's path ends in NUL.
  Result<void> on_deleted(std::span<const std::byte> payload) {
    std::string_view path(reinterpret_cast<const char*>(payload.data()), payload.size());
    const bool directory = path.ends_with('\0');
    if (directory) path.remove_suffix(1);
    if (path.empty() || path.find('\0') != std::string_view::npos)
      return Error(Errc::kProtocol, "the server names no path as removed");
    events_.on_deleted(path, directory);
    return {};
  }

  PushConfig config_;
  PushEvents& events_;
  PushLimits limits_;
  OutputQueue output_;
  PushState state_ = PushState::kOpening;
  std::optional<Error> failure_;
  std::optional<Opening> opening_;
  Agreement nothing_agreed_;
  std::optional<Agreement> stream_agreement_;  // framed data may be written, in this format
  MuxReader mux_;
  ItemStream stream_;
  ServerMessages messages_;
  std::optional<PushList> list_;
  bool list_done_ = false;
  std::optional<Answers> answers_;
  std::optional<Requests> requests_;
};

std::string_view push_kind_name(PushKind kind) {
  constexpr std::array<std::string_view, 8> kNames = {
      "replaces", "replaces as a whole", "appends", "sets attributes", "creates", "links", "moves",
      "deletes"};
  return kNames.at(static_cast<size_t>(kind));
}

PushSession::PushSession(PushConfig config, PushEvents& events, PushLimits limits)
    : impl_(std::make_unique<Impl>(std::move(config), events, limits)) {}
PushSession::~PushSession() = default;

OutputQueue& PushSession::output() {
  return impl_->output();
}
Result<void> PushSession::receive(std::span<const std::byte> data) {
  return impl_->receive(data);
}
Result<void> PushSession::end_of_input() {
  return impl_->end_of_input();
}
Result<void> PushSession::set_entries(std::vector<PushEntry> entries) {
  return impl_->set_entries(std::move(entries));
}
void PushSession::keep_alive() {
  impl_->keep_alive();
}
void PushSession::decline(size_t index) {
  impl_->answers().decline(impl_->ndx_of(index));
}
void PushSession::begin_file(size_t index, const SumHead& head) {
  impl_->answers().begin_file(impl_->ndx_of(index), head);
}
void PushSession::literal(std::span<const std::byte> data) {
  impl_->answers().literal(data);
}
void PushSession::literal(const SharedBytes& data) {
  impl_->answers().literal(data);
}
void PushSession::copy(uint32_t block) {
  impl_->answers().copy(block);
}
void PushSession::end_file(const ChecksumValue& digest) {
  impl_->answers().end_file(digest);
}
PushState PushSession::state() const {
  return impl_->state();
}
size_t PushSession::unanswered() const {
  return impl_->unanswered();
}
int PushSession::protocol() const {
  return impl_->agreement().protocol;
}
ChecksumKind PushSession::checksum() const {
  return impl_->agreement().checksum;
}
int32_t PushSession::checksum_seed() const {
  return impl_->agreement().checksum_seed;
}
CompressionKind PushSession::compression() const {
  return impl_->agreement().compression;
}
int PushSession::server_io_timeout_s() const {
  return impl_->server_io_timeout_s();
}
std::string_view PushSession::server_version() const {
  return impl_->server_version();
}
bool PushSession::misjudged() const {
  return impl_->misjudged();
}

}  // namespace rsyncfs
