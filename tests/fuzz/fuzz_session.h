// SPDX-License-Identifier: GPL-3.0-or-later
// A pull session that asks for whatever a list offers, for targets that play the server.
#pragma once

#include <sys/stat.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "sync/rsync/mux.h"
#include "sync/rsync/pull_session.h"
#include "sync/rsync/wire.h"

namespace rsyncfs::fuzz {

constexpr uint32_t kBlockLength = 700;
constexpr uint32_t kBlocks = 100;
constexpr uint32_t kRemainder = 13;

inline BlockSums some_sums() {
  BlockSums sums{.block_length = kBlockLength, .strong_length = 2, .remainder = kRemainder, .blocks = {}};
  sums.blocks.resize(kBlocks);
  for (BlockSum& block : sums.blocks) block.strong.size = 16;
  return sums;
}

inline PullLimits small_limits() {
  PullLimits limits;
  limits.max_entries = 10'000;
  limits.max_list_bytes = 16 << 20;
  limits.max_text_bytes = 4096;
  limits.max_xattr_value_bytes = 65536;
  limits.max_xattr_answer_bytes = 100'000;
  limits.max_file_excess = 4 << 20;
  return limits;
}

class Sink : public FileSink {
 public:
  void begin() override {
    RSYNCFS_CHECK(!begun_ && !done_);
    begun_ = true;
  }
  Result<void> literal(uint64_t offset, std::span<const std::byte> data) override {
    RSYNCFS_CHECK(begun_ && !done_ && (offset == next_ || next_ == 0));
    next_ = offset + data.size();
    if (next_ % 5 == 4) return Error(Errc::kLimit, "a sink that fails now and then");
    return {};
  }
  Result<std::span<const std::byte>> copy(uint64_t offset, uint64_t basis_offset, uint32_t length) override {
    RSYNCFS_CHECK(begun_ && !done_ && (offset == next_ || next_ == 0));
    RSYNCFS_CHECK(basis_offset + length <= uint64_t{kBlockLength} * kBlocks);
    next_ = offset + length;
    return std::span<const std::byte>(block_).first(length);
  }
  void done(FileEnd end) override {
    RSYNCFS_CHECK(!done_);
    RSYNCFS_CHECK((end.status == FileEnd::Status::kNotSent) == !begun_);
    done_ = true;
  }

 private:
  std::vector<std::byte> block_ = std::vector<std::byte>(kBlockLength);
  uint64_t next_ = 0;
  bool begun_ = false;
  bool done_ = false;
};

class Client : public PullEvents {
 public:
  explicit Client(PullConfig config)
      : append_(std::ranges::count(config.extra_args, "--append") > 0),
        first_(config.first_request),
        session_(std::move(config), *this, small_limits()) {}

  // Feeds `data` in pieces; false when the session has failed.
  bool feed(std::span<const std::byte> data, size_t piece) {
    while (!data.empty() && !failed_) {
      const auto part = data.first(std::min(piece, data.size()));
      data = data.subspan(part.size());
      failed_ = !session_.receive(part).ok();
      session_.output().clear();
      if (!failed_ && session_.state() == PullState::kArmed && finish_when_idle &&
          session_.unanswered() == 0) {
        session_.finish();
      }
    }
    return !failed_;
  }
  void end() { static_cast<void>(session_.end_of_input()); }
  PullSession& session() { return session_; }

  bool finish_when_idle = false;

 private:
  void on_list(const FileList& list) override {
    constexpr uint32_t kMaxRequests = 50;
    for (uint32_t i = 0; i < list.size() && i < kMaxRequests; ++i) {
      RSYNCFS_CHECK(!list.basename(list.entry(i)).empty());
      if (!list.entry(i).usable() || (first_ && first_->ndx != i)) continue;
      if (S_ISREG(list.entry(i).mode)) {
        sinks_.push_back(std::make_unique<Sink>());
        if (append_) {
          session_.request_append(i, i * kMaxBlockLength + i, *sinks_.back());
        } else {
          session_.request_file(i, i % 2 == 0 || first_ ? BlockSums() : some_sums(), *sinks_.back());
        }
      }
      if (!first_) static_cast<void>(session_.request_xattrs(i));
    }
  }
  void on_message(MessageKind /*kind*/, std::string_view text) override { last_ = text; }

  const bool append_;
  const std::optional<FirstRequest> first_;
  std::vector<std::unique_ptr<Sink>> sinks_;
  std::string last_;
  PullSession session_;
  bool failed_ = false;
};

// Two attributes, the first of them as a digest.
inline void append_xattrs(ByteQueue& list) {
  write_varint(list, 0);
  write_varint(list, 2);
  for (const int32_t size : {1000, 3}) {
    write_varint(list, 7);
    write_varint(list, size);
    list.append(size > 32 ? std::string_view("user.b\0dddddddddddddddd", 23)
                          : std::string_view("user.a\0xyz", 10));
  }
}

// What a server over a pipe sends up to the end of a list of regular files "a" and "b" (a list for
// numeric_ids, no hard links or ACLs). With extended attributes each has append_xattrs().
inline std::vector<std::byte> opening_and_list(bool compressed, bool xattrs) {
  ByteQueue out;
  out.append_le32(32);
  write_varint(out, 0x1fe);
  write_vstring(out, "xxh128 md5");
  if (compressed) write_vstring(out, "zstd zlibx");
  out.append_le32(1234);
  ByteQueue list;
  for (const char name : {'a', 'b'}) {
    write_varint(list, 0x4000 >> 1 | 0x8);  // nanoseconds, same uid
    list.append_u8(1);
    list.append_u8(static_cast<uint8_t>(name));
    write_varlong(list, 1000, 3);
    write_varlong(list, 1'700'000'000, 4);
    write_varint(list, 5);
    list.append_le32(S_IFREG | 0644);
    write_varint(list, 7);
    if (xattrs) append_xattrs(list);
  }
  write_varint(list, 0);
  write_varint(list, 0);
  mux_write_data(out, list.readable());
  return {out.readable().begin(), out.readable().end()};
}

}  // namespace rsyncfs::fuzz
