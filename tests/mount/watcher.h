// SPDX-License-Identifier: GPL-3.0-or-later
// Somebody who watches a directory or a file with inotify(7).
#pragma once

#include <sys/inotify.h>

#include <cstdint>
#include <string>
#include <vector>

#include "tests/mount/mount_rig.h"

namespace rsyncfs::mount_tests {

class Watcher {
 public:
  static constexpr seconds kLimit{60};

  struct Event {
    uint32_t mask = 0;
    uint32_t cookie = 0;
    std::string name;  // "": of the watched thing itself
  };

  explicit Watcher(const std::string& path);
  ~Watcher();
  Watcher(const Watcher&) = delete;
  Watcher& operator=(const Watcher&) = delete;

  // An event with these bits and that name comes.
  bool sees(uint32_t bits, const std::string& name, milliseconds limit = kLimit);
  // What came by now.
  bool saw(uint32_t bits, const std::string& name);
  // The first such event's; 0: none came.
  uint32_t cookie_of(uint32_t bits, const std::string& name);
  void forget();
  bool empty();
  std::string all();  // for messages

 private:
  const Event* find(uint32_t bits, const std::string& name);
  void take();
  const int fd_;
  std::vector<Event> events_;
};

}  // namespace rsyncfs::mount_tests
