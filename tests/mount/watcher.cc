// SPDX-License-Identifier: GPL-3.0-or-later
#include "tests/mount/watcher.h"

#include <unistd.h>

#include <array>
#include <cstring>

namespace rsyncfs::mount_tests {

Watcher::Watcher(const std::string& path) : fd_(::inotify_init1(IN_NONBLOCK | IN_CLOEXEC)) {
  EXPECT_GE(::inotify_add_watch(fd_, path.c_str(), IN_ALL_EVENTS), 0);
}

Watcher::~Watcher() {
  ::close(fd_);
}

bool Watcher::sees(uint32_t bits, const std::string& name, milliseconds limit) {
  return wait_until([&] { return saw(bits, name); }, limit);
}

bool Watcher::saw(uint32_t bits, const std::string& name) {
  return find(bits, name) != nullptr;
}

uint32_t Watcher::cookie_of(uint32_t bits, const std::string& name) {
  const Event* const event = find(bits, name);
  return event == nullptr ? 0 : event->cookie;
}

void Watcher::forget() {
  take();
  events_.clear();
}

bool Watcher::empty() {
  take();
  return events_.empty();
}

std::string Watcher::all() {
  take();
  std::string out;
  for (const Event& event : events_) {
    std::array<char, 32> bits{};
    std::snprintf(bits.data(), bits.size(), "%#x/%u ", event.mask, event.cookie);
    out += bits.data() + event.name + "\n";
  }
  return out;
}

const Watcher::Event* Watcher::find(uint32_t bits, const std::string& name) {
  take();
  for (const Event& event : events_) {
    if (event.name == name && (event.mask & bits) == bits) return &event;
  }
  return nullptr;
}

void Watcher::take() {
  alignas(inotify_event) std::array<char, 16384> buffer{};
  ssize_t got = 0;
  while ((got = ::read(fd_, buffer.data(), buffer.size())) > 0) {
    for (ssize_t at = 0; at < got;) {
      inotify_event event{};
      std::memcpy(&event, buffer.data() + at, sizeof event);
      const std::string name = event.len > 0 ? buffer.data() + at + sizeof event : "";
      events_.push_back({event.mask, event.cookie, name});
      at += static_cast<ssize_t>(sizeof event + event.len);
    }
  }
}

}  // namespace rsyncfs::mount_tests
