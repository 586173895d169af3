// SPDX-License-Identifier: GPL-3.0-or-later
// One libfuse session: made, attached to a mount or to a given channel, served, taken down. Private to
// fs/fuse and its tests.
#pragma once

#include <memory>
#include <string>

#include "fs/fuse/mount_context.h"
#include "fs/fuse/notifier.h"
#include "io/base/result.h"

struct fuse_session;

namespace rsyncfs {

class Session final : public KernelCaches {
 public:
  // kUsage names an option that libfuse does not know.
  static Result<std::unique_ptr<Session>> create(MountContext& mount);
  ~Session() override;  // takes the mount away, lazily, if it is still there, and closes the channel
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  Result<void> mount(const std::string& mountpoint);
  // The mount is no more where it was: what lies there now is not ours to unmount. Cuts the channel; nobody
  // may be serving it.
  void disown_mount();
  // Serves a channel that keeps messages apart (SOCK_SEQPACKET) instead of a mount; owns `fd` from now on.
  Result<void> use_channel(int fd) { return hook(fd); }

  // Any thread: waits for one request. False when there is none, because of a signal, or because the session
  // ended.
  class Buffer;
  bool receive(Buffer& buffer);
  // Any thread: has what was received answered, now or later.
  void process(Buffer& buffer);
  bool more_waits() const;  // any thread: receive() would not wait
  void exit();              // any thread: receive() returns false from the next request or signal on
  bool exited() const;
  int channel() const;  // of a mount
  // Of libfuse, beside those who call receive(); they take requests from the answer to FUSE_INIT on.
  bool has_ring_threads() const;
  void stop_ring_threads();  // waits until they are gone; none of their requests may be unanswered

  int drop_entry(NodeId parent, std::string_view name) override;
  int drop_attributes(NodeId node) override;
  int drop_all(NodeId node) override;

 private:
  Session(fuse_session* session, MountContext& mount) : session_(session), mount_(mount) {}
  Result<void> hook(int fd);
  void note_interrupt(const Buffer& buffer);

  fuse_session* session_;
  MountContext& mount_;
  bool mounted_ = false;
};

// Where one thread's requests are read into.
class Session::Buffer {
 public:
  Buffer();
  ~Buffer();
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;

 private:
  friend class Session;
  struct Storage;
  std::unique_ptr<Storage> storage_;
};

}  // namespace rsyncfs
