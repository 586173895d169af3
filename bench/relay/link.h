// SPDX-License-Identifier: GPL-3.0-or-later
// What a network between two hosts does to bytes, as arithmetic on time; no socket is touched here.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

namespace rsyncfs::relay {

using Clock = std::chrono::steady_clock;
using Time = Clock::time_point;
using Duration = Clock::duration;

constexpr size_t kSegmentBytes = 1448;  // what TCP carries in an Ethernet frame
constexpr size_t kLongestPieceBytes = 64 * 1024;
constexpr size_t kLeastBufferBytes = 64 * 1024;
constexpr size_t kInitialWindow = 10 * kSegmentBytes;                         // RFC 6928
constexpr size_t kUnlimitedWindow = 1024 * 1024;                              // where the link has no limit
constexpr Duration kShortestRetransmission = std::chrono::milliseconds(200);  // Linux: TCP_RTO_MIN

struct Profile {
  Duration round_trip{0};
  uint64_t bytes_per_second = 0;  // of payload, each way; 0: no limit

  Duration one_way() const { return round_trip / 2; }
  // How long the slowest hop needs for so many.
  Duration transmission(size_t bytes) const {
    if (bytes_per_second == 0) return Duration(0);
    return std::chrono::duration_cast<Duration>(
        std::chrono::duration<double>(static_cast<double>(bytes) / static_cast<double>(bytes_per_second)));
  }
  // Bytes are passed on in pieces of a quarter of a millisecond, so that connections share the link finely.
  size_t piece_bytes() const {
    if (bytes_per_second == 0) return kLongestPieceBytes;
    return std::clamp<size_t>(bytes_per_second / 4000, kSegmentBytes, kLongestPieceBytes);
  }
  // What waits at most before the slowest hop: what that carries in five milliseconds.
  size_t buffer_bytes() const { return std::max<size_t>(bytes_per_second / 200, kLeastBufferBytes); }
  // What a connection has on its way at most: what the link holds, and the buffer.
  size_t longest_window() const {
    if (bytes_per_second == 0) return kUnlimitedWindow;
    const double seconds = std::chrono::duration<double>(round_trip).count();
    return static_cast<size_t>(seconds * static_cast<double>(bytes_per_second)) + buffer_bytes();
  }
};

// "lan", "wan", "mobile" or "none"; nothing: another word.
inline std::optional<Profile> profile_of(std::string_view name) {
  using std::chrono::microseconds;
  if (name == "none") return Profile{};
  if (name == "lan") return Profile{microseconds(200), 125'000'000};
  if (name == "wan") return Profile{microseconds(40'000), 12'500'000};
  if (name == "mobile") return Profile{microseconds(120'000), 2'500'000};
  return std::nullopt;
}

// One direction of a link: one hop that limits the speed, a buffer before it, and the time of the way. All
// connections share it.
class Direction {
 public:
  explicit Direction(const Profile& profile) : profile_(profile) {}

  // When a piece arrives that is sent now; never before one that was sent earlier.
  Time send(Time now, size_t bytes) {
    free_at_ = std::max(free_at_, now) + profile_.transmission(bytes);
    return free_at_ + profile_.one_way();
  }
  // From when on the buffer takes another piece.
  Time has_room_at() const { return free_at_ - profile_.transmission(profile_.buffer_bytes()); }

 private:
  const Profile& profile_;
  Time free_at_{};
};

// How many bytes of a connection may be on their way, as Linux has it without loss: slow start from ten
// segments (RFC 6928), doubled each round trip while it is used, up to what the link takes; and halved for
// each retransmission time without anything sent (RFC 2861).
class Window {
 public:
  explicit Window(const Profile& profile)
      : longest_(profile.longest_window()),
        idle_(profile.round_trip + kShortestRetransmission),
        window_(profile.bytes_per_second == 0 ? longest_ : kInitialWindow) {}

  size_t on_its_way() const { return on_its_way_; }
  size_t room() const { return window_ > on_its_way_ ? window_ - on_its_way_ : 0; }
  // Before room() is asked for something new.
  void restart_if_idle(Time now) {
    if (on_its_way_ != 0) return;
    const size_t least = std::min(kInitialWindow, longest_);
    for (; now - last_sent_ > idle_ && window_ > least; last_sent_ += idle_)
      window_ = std::max(window_ / 2, least);
  }
  void sent(Time now, size_t bytes) {
    on_its_way_ += bytes;
    last_sent_ = now;
  }
  void acknowledged(size_t bytes) {
    const bool is_used = on_its_way_ > window_ / 2;
    on_its_way_ -= bytes;
    if (is_used) window_ += std::min(bytes, longest_ - window_);
  }

 private:
  size_t longest_;
  Duration idle_;
  size_t window_;
  size_t on_its_way_ = 0;
  Time last_sent_{};
};

// What a receiver would announce over the real distance: Linux doubles what was read in a round trip
// (tcp_rcv_space_adjust), and the sockets of loopback do not know of that distance.
class Reading {
 public:
  // So many bytes were read of the connection until now.
  void look(Time now, uint64_t read, Duration round_trip) {
    if (now - since_ < round_trip) return;
    window_ = now - since_ < 2 * round_trip ? 2 * (read - read_before_) : 0;
    since_ = now;
    read_before_ = read;
  }
  size_t window() const { return window_; }

 private:
  Time since_{};
  uint64_t read_before_ = 0;
  size_t window_ = 0;
};

}  // namespace rsyncfs::relay
