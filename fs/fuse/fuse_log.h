// SPDX-License-Identifier: GPL-3.0-or-later
// libfuse's messages, in our log. Private to fs/fuse.
#pragma once

#include <string>

namespace rsyncfs {

// From now on, for the whole process.
void send_fuse_messages_to_log();

// While one lives, libfuse's messages of this thread are kept here instead, because they say why a mount
// failed.
class FuseMessages {
 public:
  FuseMessages();
  ~FuseMessages();
  FuseMessages(const FuseMessages&) = delete;
  FuseMessages& operator=(const FuseMessages&) = delete;
  // The last one, without its "fuse: " and newline; "" = none.
  const std::string& last() const { return last_; }
  void take(std::string message) { last_ = std::move(message); }

 private:
  std::string last_;
};

}  // namespace rsyncfs
