// SPDX-License-Identifier: GPL-3.0-or-later
// An rsync daemon whose one module is a tree that exists in numbers only: OUTER directories with INNER
// directories each, in every one of these FILES empty files. It lists, as a whole, in pages, or a few
// directories by name, as far ahead of its client as rsync does, and serves no contents. For lists that are
// too long to make the files.
//   list_server PORT OUTER INNER FILES
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "io/base/byte_queue.h"
#include "io/base/unique_fd.h"
#include "sync/rsync/list_flags.h"
#include "sync/rsync/mux.h"
#include "sync/rsync/wire.h"

namespace rsyncfs {
namespace {

constexpr int kBacklog = 64;
constexpr size_t kSendBytes = 64 * 1024;
constexpr uint64_t kLookAhead = 1000;  // rsync.h MIN_FILECNT_LOOKAHEAD
constexpr int32_t kNdxFlistOffset = -101;
constexpr int64_t kTime = 1'700'000'000;

struct Shape {
  uint32_t outer = 0;
  uint32_t inner = 0;
  uint32_t files = 0;
};

std::string numbered(char letter, uint32_t number) {
  std::array<char, 16> text{};
  const int size = std::snprintf(text.data(), text.size(), "%c%06u", letter, number);
  return {text.data(), static_cast<size_t>(size)};
}

// Throws what() to the connection's thread, which ends with it.
struct Ended {};

class Connection {
 public:
  Connection(int fd, const Shape& shape) : fd_(fd), shape_(shape) {}

  void serve() {
    open();
    if (has('r') && incremental_) {
      serve_pages();
    } else {
      begin_list();
      has('r') ? write_tree() : write_named();
      end_list(true);
      flush();
      serve_phases(0);
    }
  }

 private:
  bool has(char option) const { return options_.find(option) != std::string::npos; }

  // ---- the opening ----
  void open() {
    out_.append("@RSYNCD: 32.0 sha512 sha256 sha1 md5 md4\n");
    send_out();
    take_until('\n');
    take_until('\n');
    out_.append("@RSYNCD: OK\n");
    send_out();
    while (true) {
      const std::string argument = take_until('\0');
      if (argument.empty()) break;
      const size_t capabilities = argument.find("e.");
      if (argument.starts_with('-') && !argument.starts_with("--") && capabilities != std::string::npos) {
        options_ = argument.substr(1, capabilities - 1);
        incremental_ = argument.find('i', capabilities) != std::string::npos;
      }
      numeric_ = numeric_ || argument == "--numeric-ids";
    }
    constexpr int32_t kCompat = 0x1fe;
    write_varint(out_, kCompat | (incremental_ && has('r') ? 1 : 0));
    write_vstring(out_, "xxh128 xxh3 xxh64 md5 md4 sha1");
    out_.append_le32(4711);
    send_out();
    const auto size = static_cast<uint8_t>(take(1)[0]);  // the client's names, which are fewer than 128 bytes
    take(size);
    framed_ = true;
    raw_.append(in_.readable());
    in_.clear();
    unframe();
    while (take_le32() != 0) throw Ended();  // filters
    if (has('r')) return;
    while (true) {
      std::string name = take_until('\0');
      if (name.empty()) return;
      names_.push_back(std::move(name));
    }
  }

  // ---- lists ----
  void begin_list() { entries_ = 0; }
  void write_entry(const std::string& path, bool directory, uint32_t extra_flags = 0) {
    const uint32_t mode = directory ? S_IFDIR | 0755 : S_IFREG | 0644;
    const size_t limit = std::min<size_t>({name_.size(), path.size(), 255});
    const auto shared = static_cast<size_t>(
        std::mismatch(name_.begin(), name_.begin() + static_cast<ptrdiff_t>(limit), path.begin()).first -
        name_.begin());
    uint32_t flags = extra_flags;
    if (shared > 0) flags |= kXmitSameName;
    if (mode == mode_) flags |= kXmitSameMode;
    if (!name_.empty()) flags |= kXmitSameTime | kXmitSameUid | kXmitSameGid;
    if (!has('o')) flags |= kXmitSameUid;
    if (!has('g')) flags |= kXmitSameGid;
    write_varint(list_, static_cast<int32_t>(flags != 0 ? flags : kXmitExtended));
    if (shared > 0) list_.append_u8(static_cast<uint8_t>(shared));
    list_.append_u8(static_cast<uint8_t>(path.size() - shared));
    list_.append(std::string_view(path).substr(shared));
    write_varlong(list_, directory ? 4096 : 0, 3);
    if ((flags & kXmitSameTime) == 0) write_varlong(list_, kTime, 4);
    if ((flags & kXmitSameMode) == 0) list_.append_le32(mode);
    if ((flags & kXmitSameUid) == 0) write_varint(list_, 0);
    if ((flags & kXmitSameGid) == 0) write_varint(list_, 0);
    if (has('A')) write_acls(directory);
    if (has('X')) {
      list_.append_u8(no_xattrs_sent_ ? 1 : 0);  // the set that is empty
      if (!std::exchange(no_xattrs_sent_, true)) list_.append_u8(0);
    }
    mode_ = mode;
    name_ = path;
    ++entries_;
    if (list_.size() > kSendBytes) flush();
  }
  // Such as say no more than the mode.
  void write_acls(bool directory) {
    for (int kind = 0; kind < (directory ? 2 : 1); ++kind) {
      list_.append_u8(no_acls_sent_[kind] ? 1 : 0);
      if (!std::exchange(no_acls_sent_[kind], true)) list_.append_u8(0);
    }
  }
  void end_list(bool ids) {
    list_.append_u8(0);
    write_varint(list_, 0);
    if (!ids || numeric_) return;
    for (const char option : {'o', 'g'}) {
      if (!has(option)) continue;
      list_.append_u8(0);
      list_.append_u8(4);
      list_.append("root");
    }
  }

  void write_outer(uint32_t flags = 0) {
    for (uint32_t i = 0; i < shape_.outer; ++i) write_entry(numbered('o', i), true, flags);
  }
  void write_inner(const std::string& in, uint32_t flags = 0) {
    for (uint32_t i = 0; i < shape_.inner; ++i) write_entry(in + "/" + numbered('i', i), true, flags);
  }
  void write_files(const std::string& in) {
    for (uint32_t i = 0; i < shape_.files; ++i) write_entry(in + "/" + numbered('f', i), false);
  }

  void write_tree() {
    write_entry(".", true, kXmitTopDir);
    write_outer();
    for (uint32_t o = 0; o < shape_.outer; ++o) {
      const std::string outer = numbered('o', o);
      write_inner(outer);
      for (uint32_t i = 0; i < shape_.inner; ++i) write_files(outer + "/" + numbered('i', i));
    }
  }

  // Directories "o000001/i000002/", one level deep, or "./".
  void write_named() {
    for (std::string name : names_) {
      while (name.ends_with('/')) name.pop_back();
      if (name == ".") {
        write_entry(".", true, kXmitTopDir);
        write_outer(kXmitNoContentDir);
        continue;
      }
      const size_t slash = name.find('/');
      if (slash != std::string::npos)
        write_entry(name.substr(0, slash), true, kXmitTopDir | kXmitNoContentDir);
      write_entry(name, true, kXmitTopDir);
      slash == std::string::npos ? write_inner(name, kXmitNoContentDir) : write_files(name);
    }
  }

  // ---- pages ----
  void serve_pages() {
    std::deque<uint64_t> lists;  // entries of those that the client has not released
    uint64_t ahead = 0;          // of the oldest
    begin_list();
    write_entry(".", true, kXmitTopDir);
    write_outer();
    end_list(false);
    lists.push_back(entries_);
    uint32_t outer = 0;
    uint32_t inner = 0;  // the next list's; of `outer` itself if in_outer is not set
    bool in_outer = false;
    uint32_t inner_base = 0;  // the number of the first directory in it
    uint32_t directories = 1 + shape_.outer;
    bool eof = shape_.outer == 0;
    while (true) {
      while (!eof && ahead < kLookAhead) {
        begin_list();
        if (!in_outer) {
          ndx_out_.write(list_, kNdxFlistOffset - static_cast<int32_t>(1 + outer));
          write_inner(numbered('o', outer));
          inner_base = directories;
          directories += shape_.inner;
          in_outer = shape_.inner > 0;
          inner = 0;
        } else {
          ndx_out_.write(list_, kNdxFlistOffset - static_cast<int32_t>(inner_base + inner));
          write_files(numbered('o', outer) + "/" + numbered('i', inner));
          in_outer = ++inner < shape_.inner;
        }
        if (!in_outer) eof = ++outer == shape_.outer;
        end_list(false);
        ahead += entries_;
        lists.push_back(entries_);
        if (eof) ndx_out_.write(list_, kNdxFlistEof);
      }
      flush();
      if (take_ndx() != kNdxDone) throw Ended();
      lists.pop_front();
      ndx_out_.write(list_, kNdxDone);
      if (lists.empty()) return serve_phases(1);
      ahead -= lists.front();
    }
  }

  // What is left of the conversation when nothing is asked for.
  void serve_phases(int phase) {
    constexpr int kPhases = 3;
    for (; phase < kPhases; ++phase) {
      flush();
      if (take_ndx() != kNdxDone) throw Ended();
      ndx_out_.write(list_, kNdxDone);
    }
    for (int statistic = 0; statistic < 5; ++statistic) write_varlong(list_, 0, 3);
    flush();
    if (take_ndx() != kNdxDone) throw Ended();
    ndx_out_.write(list_, kNdxDone);
    flush();
    take_ndx();
  }

  // ---- bytes ----
  void flush() {
    if (list_.empty()) return;
    mux_write_data(out_, list_.readable());
    list_.clear();
    send_out();
  }
  void send_out() {
    auto rest = out_.readable();
    while (!rest.empty()) {
      const ssize_t sent = ::send(fd_.get(), rest.data(), rest.size(), MSG_NOSIGNAL);
      if (sent <= 0) throw Ended();
      rest = rest.subspan(static_cast<size_t>(sent));
    }
    out_.clear();
  }
  int32_t take_ndx() {
    while (true) {
      WireReader in(in_.readable());
      NdxCoder coder = ndx_in_;
      const int32_t ndx = coder.read(in);
      if (in.is_bad()) throw Ended();
      if (!in.is_short()) {
        ndx_in_ = coder;
        in_.consume(in.position());
        return ndx;
      }
      receive();
    }
  }
  uint32_t take_le32() {
    const std::string bytes = take(4);
    return WireReader(std::as_bytes(std::span(bytes))).le32();
  }
  std::string take(size_t count) {
    while (in_.size() < count) receive();
    std::string out(reinterpret_cast<const char*>(in_.readable().data()), count);
    in_.consume(count);
    return out;
  }
  std::string take_until(char end) {
    std::string out;
    for (char c = take(1)[0]; c != end; c = take(1)[0]) out += c;
    return out;
  }
  // More of what the client says, without its frames.
  void receive() {
    ByteQueue& raw = framed_ ? raw_ : in_;
    std::array<std::byte, 4096> piece;
    const ssize_t got = ::recv(fd_.get(), piece.data(), piece.size(), 0);
    if (got <= 0) throw Ended();
    raw.append(std::span<const std::byte>(piece.data(), static_cast<size_t>(got)));
    if (framed_) unframe();
  }
  void unframe() {
    while (true) {
      WireReader in(raw_.readable());
      const uint32_t head = in.le32();
      const auto payload = in.bytes(head & kMaxMuxFrame);
      if (in.is_short()) return;
      if (head >> 24 == 7) in_.append(payload);  // DATA
      raw_.consume(in.position());
    }
  }

  UniqueFd fd_;
  const Shape shape_;
  std::string options_;
  bool incremental_ = false;
  bool numeric_ = false;
  std::vector<std::string> names_;
  ByteQueue in_;
  ByteQueue raw_;
  bool framed_ = false;
  ByteQueue list_;
  ByteQueue out_;
  NdxCoder ndx_in_;
  NdxCoder ndx_out_;
  uint64_t entries_ = 0;
  std::string name_;
  uint32_t mode_ = 0;
  bool no_xattrs_sent_ = false;
  std::array<bool, 2> no_acls_sent_{};
};

int serve(uint16_t port, const Shape& shape) {
  const UniqueFd listening(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const int on = 1;
  ::setsockopt(listening.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (::bind(listening.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 ||
      ::listen(listening.get(), kBacklog) != 0) {
    std::perror("list_server");
    return 1;
  }
  while (true) {
    const int fd = ::accept4(listening.get(), nullptr, nullptr, SOCK_CLOEXEC);
    if (fd < 0) continue;
    ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    std::thread([fd, shape] {
      try {
        Connection(fd, shape).serve();
      } catch (const Ended&) {
        // The client has gone, or wants what there is not.
      }
    }).detach();
  }
}

}  // namespace
}  // namespace rsyncfs

int main(int argc, char** argv) {
  if (argc != 5) {
    std::fprintf(stderr, "usage: %s PORT OUTER INNER FILES\n", argv[0]);
    return 2;
  }
  const auto number = [&](int i) { return static_cast<uint32_t>(std::strtoul(argv[i], nullptr, 10)); };
  return rsyncfs::serve(static_cast<uint16_t>(number(1)), {number(2), number(3), number(4)});
}
