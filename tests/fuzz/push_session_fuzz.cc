// SPDX-License-Identifier: GPL-3.0-or-later
// Everything that a server says to a push after a valid opening: items, requests and sums, messages,
// goodbyes, as frames. The first two bytes choose what was pushed and how it is answered.
#include <sys/stat.h>

#include <algorithm>
#include <deque>
#include <string>
#include <vector>

#include "sync/rsync/push_session.h"
#include "sync/rsync/wire.h"

namespace rsyncfs {
namespace {

constexpr size_t kEntries = 6;

std::vector<PushEntry> some_entries(PushKind kind) {
  std::vector<PushEntry> entries;
  for (size_t i = 0; i < kEntries; ++i) {
    PushEntry entry;
    entry.path = (i < 3 ? "" : "d/") + std::string(1, static_cast<char>('a' + i));
    entry.size = 1000;
    switch (kind) {
      case PushKind::kMove:
      case PushKind::kDelete:
        break;
      case PushKind::kCreate:
        entry.mode = i == 0 ? S_IFDIR | 0755 : S_IFIFO | 0600;
        break;
      default:
        entry.mode = S_IFREG | 0644;
        entry.hlink_group = static_cast<uint32_t>(i / 2 + 1);
        entry.xattrs = {{"user.b", std::string(40, 'b'), 40, false},
                        {"user.a", std::string(16, 'a'), 100, true},
                        {"user.c", "c", 1, false}};
    }
    entries.push_back(std::move(entry));
  }
  return entries;
}

// Answers at once or when something else comes, in all ways.
class Sender : public PushEvents {
 public:
  Sender(PushConfig config, uint8_t manners)
      : late_((manners & 1) != 0),
        append_(config.kind == PushKind::kAppend),
        session_(std::move(config), *this, limits()) {}

  bool feed(std::span<const std::byte> data, size_t piece) {
    while (!data.empty()) {
      const auto part = data.first(std::min(piece, data.size()));
      data = data.subspan(part.size());
      if (!session_.receive(part).ok()) return false;
      session_.output().tail().clear();
      if (late_) answer_some();
    }
    return true;
  }
  void end() { RSYNCFS_CHECK(session_.end_of_input().ok() == finished_); }

 private:
  static PushLimits limits() {
    PushLimits limits;
    limits.max_text_bytes = 4096;
    limits.max_sum_bytes = 10'000 * sizeof(BlockSum);
    return limits;
  }

  void answer_some() {
    while (!waiting_.empty()) {
      const PushRequest request = std::move(waiting_.front());
      waiting_.pop_front();
      answer(request);
    }
    RSYNCFS_CHECK(session_.unanswered() == 0);
  }

  void answer(const PushRequest& request) {
    RSYNCFS_CHECK(request.index < kEntries);
    const bool is_new = (request.iflags & kItemIsNew) != 0;
    const bool no_end_to_append_to = append_ && is_new && request.head.count > 0;
    if (++answered_ % 3 == 0 || no_end_to_append_to) return session_.decline(request.index);
    const bool copies = !is_new && request.head.count > 0;
    session_.begin_file(request.index, copies || append_ ? request.head : SumHead());
    const std::vector<std::byte> data(answered_ * 100);
    session_.literal(data);
    if (copies) session_.copy(request.head.count - 1);
    if (copies) session_.copy(0);
    ChecksumValue digest;
    digest.size = static_cast<uint8_t>(checksum_size(session_.checksum()));
    session_.end_file(digest);
  }

  void on_request(PushRequest request) override {
    RSYNCFS_CHECK(!finished_);
    RSYNCFS_CHECK(request.sums.empty() || request.sums.blocks.size() == request.head.count);
    waiting_.push_back(std::move(request));
    if (!late_) answer_some();
  }
  void on_item(size_t index, uint16_t /*iflags*/, std::string_view /*xname*/) override {
    RSYNCFS_CHECK(index < kEntries && !finished_);
  }
  void on_declined(size_t index, uint16_t /*iflags*/) override { RSYNCFS_CHECK(index < kEntries); }
  void on_success(size_t index) override { RSYNCFS_CHECK(index < kEntries && !finished_); }
  void on_deleted(std::string_view path, bool /*directory*/) override { RSYNCFS_CHECK(!path.empty()); }
  void on_finished() override {
    RSYNCFS_CHECK(!finished_);
    finished_ = true;
  }

  const bool late_;
  const bool append_;
  std::deque<PushRequest> waiting_;
  size_t answered_ = 0;
  bool finished_ = false;
  PushSession session_;
};

std::vector<std::byte> opening(int protocol, bool compressed) {
  ByteQueue out;
  out.append_le32(static_cast<uint32_t>(protocol));
  write_varint(out, 0x1fe);
  write_vstring(out, "xxh128 md5");
  if (compressed) write_vstring(out, "zstd zlibx");
  out.append_le32(1234);
  return {out.readable().begin(), out.readable().end()};
}

}  // namespace
}  // namespace rsyncfs

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 2) return 0;
  rsyncfs::PushConfig config;
  config.peer = rsyncfs::PeerKind::kShell;
  config.kind = static_cast<rsyncfs::PushKind>(data[0] & 7);
  config.max_protocol = 30 + (data[0] >> 3 & 3) % 3;
  const bool removes = config.kind == rsyncfs::PushKind::kMove || config.kind == rsyncfs::PushKind::kDelete;
  config.xattrs = (data[0] & 32) != 0 && !removes;
  if (config.kind == rsyncfs::PushKind::kMove) config.backup_dir = "elsewhere";
  const bool compressed = (data[0] & 64) != 0;
  if (compressed) config.compression = rsyncfs::CompressionKind::kZstd;
  config.entries = rsyncfs::some_entries(config.kind);
  rsyncfs::Sender sender(config, data[1]);
  RSYNCFS_CHECK(sender.feed(rsyncfs::opening(config.max_protocol, compressed), 1000));
  if (sender.feed(std::as_bytes(std::span(data + 2, size - 2)), size_t{1} + (data[1] >> 1))) sender.end();
  return 0;
}
