// SPDX-License-Identifier: GPL-3.0-or-later
// Bytes of a server that never was: for what a real one does only by accident, or never.
#pragma once

#include <sys/stat.h>

#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "sync/rsync/mux.h"
#include "sync/rsync/pull_session.h"
#include "sync/rsync/wire.h"
#include "tests/support/blocking_pull.h"

namespace rsyncfs {

inline std::span<const std::byte> bytes_of(std::string_view text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}
inline std::string text_of(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}
inline std::string text_of(const ByteQueue& queue) {
  return text_of(queue.readable());
}

// Builds wire text piece by piece: Wire().varint(3).raw("abc").text().
class Wire {
 public:
  Wire& u8(unsigned value) {
    out_.append_u8(static_cast<uint8_t>(value));
    return *this;
  }
  Wire& le16(unsigned value) {
    out_.append_le16(static_cast<uint16_t>(value));
    return *this;
  }
  Wire& le32(int64_t value) {
    out_.append_le32(static_cast<uint32_t>(value));
    return *this;
  }
  Wire& varint(int64_t value) {
    write_varint(out_, static_cast<int32_t>(value));
    return *this;
  }
  Wire& varlong(int64_t value, unsigned min) {
    write_varlong(out_, value, min);
    return *this;
  }
  Wire& vstring(std::string_view text) {
    write_vstring(out_, text);
    return *this;
  }
  Wire& raw(std::string_view text) {
    out_.append(text);
    return *this;
  }
  // A name of up to 255 bytes with its length.
  Wire& name(std::string_view text) { return u8(static_cast<unsigned>(text.size())).raw(text); }
  Wire& frame(MuxTag tag, std::string_view payload) {
    mux_write_message(out_, tag, bytes_of(payload));
    return *this;
  }
  Wire& data(std::string_view payload) { return frame(MuxTag::kData, payload); }
  Wire& number(MuxTag tag, int64_t value) { return frame(tag, Wire().le32(value).text()); }
  std::string text() const { return text_of(out_); }

 private:
  ByteQueue out_;
};

// Flags of list entries.
constexpr int kTopDirFlag = 0x1, kSameMode = 0x2, kExtended = 0x4, kSameUid = 0x8, kSameGid = 0x10,
              kSameName = 0x20, kLongName = 0x40, kSameTime = 0x80, kSameMajor = 0x100, kLinked = 0x200,
              kUserName = 0x400, kGroupName = 0x800, kLinkFirst = 0x1000, kNanoseconds = 0x2000;

// An entry with nothing shared and nothing odd.
inline std::string plain_entry(std::string_view name, uint32_t mode = S_IFREG | 0644, int64_t size = 1000) {
  return Wire()
      .varint(kSameUid | kSameGid | kLongName)
      .varint(static_cast<int64_t>(name.size()))
      .raw(name)
      .varlong(size, 3)
      .varlong(1'700'000'000, 4)
      .le32(mode)
      .text();
}
inline std::string end_of_list(int io_error = 0) {
  return Wire().varint(0).varint(io_error).text();
}

// A session over a pipe to a fake server of protocol 32.
class FakeServer : public PullEvents {
 public:
  static PullConfig bare_config() {
    PullConfig config;
    config.peer = PeerKind::kShell;
    config.numeric_ids = true;
    config.hard_links = config.acls = config.xattrs = false;
    return config;
  }
  explicit FakeServer(PullConfig config = bare_config(), PullLimits limits = {})
      : session(std::make_unique<PullSession>(std::move(config), *this, limits)) {}

  Result<void> send(std::string_view bytes) { return session->receive(bytes_of(bytes)); }
  Result<void> send(const Wire& wire) { return send(wire.text()); }
  static std::string opening(int version = 32) {
    return Wire().le32(version).varint(0x1fe).vstring("xxh128 md5").le32(99).text();
  }
  // Up to a list of regular files "a" (index 0) and "b" (1).
  static std::string opening_and_list() {
    return opening() + Wire().data(plain_entry("a") + plain_entry("b") + end_of_list()).text();
  }
  static std::string whole_reply_head(int ndx_difference) {
    return Wire()
        .u8(static_cast<unsigned>(ndx_difference))
        .le16(0x8000)
        .le32(0)
        .le32(0)
        .le32(0)
        .le32(0)
        .text();
  }
  // The reply to a whole-file request, with its true digest.
  static std::string reply(int ndx_difference, std::string_view contents) {
    Digest digest(ChecksumKind::kXxh128);
    digest.update(bytes_of(contents));
    Wire wire;
    wire.raw(whole_reply_head(ndx_difference));
    if (!contents.empty()) wire.le32(static_cast<int64_t>(contents.size())).raw(contents);
    return wire.le32(0).raw(text_of(digest.finish().span())).text();
  }
  std::string sent() {
    const std::string out = text_of(session->output());
    session->output().clear();
    return out;
  }

  std::unique_ptr<PullSession> session;
  int lists = 0;
  bool established = false;
  std::vector<std::pair<MessageKind, std::string>> messages;
  std::map<uint32_t, std::vector<std::pair<std::string, std::string>>> xattrs;

 private:
  void on_established() override { established = true; }
  void on_list(const FileList& /*list*/) override { ++lists; }
  void on_xattrs(uint32_t ndx, std::vector<std::pair<std::string, std::string>> values) override {
    xattrs[ndx] = std::move(values);
  }
  void on_message(MessageKind kind, std::string_view text) override { messages.emplace_back(kind, text); }
};

}  // namespace rsyncfs
