// SPDX-License-Identifier: GPL-3.0-or-later
// The answer to one FUSE request: given exactly once, by whichever thread comes to it. Private to fs/fuse.
#pragma once

#include <sys/stat.h>
#include <sys/statvfs.h>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <utility>

#include "fs/fuse/mount_context.h"
#include "fs/tree/tree.h"

struct fuse_req;

namespace rsyncfs {

// How long the kernel may go on with a name, or attributes, without asking. Those of a directory are asked
// for again and again, because nothing else tells that it is used: it is opened and listed without us.
double name_seconds(const MountContext& mount);
double attribute_seconds(const struct stat& attr, const MountContext& mount);

// Giving a second answer, and destroying a Reply that was not given, abort: the first confuses the kernel,
// the second hangs a process for ever. Answering from any thread is safe against park() and an interrupt at
// the same moment.
//
// Lock order: mutex_, then libfuse's lock of the request. The interrupt callback runs under the latter and
// takes neither.
class Reply : public std::enable_shared_from_this<Reply> {
 public:
  static std::shared_ptr<Reply> make(fuse_req* request, MountContext& mount, FrontOp op);
  Reply(fuse_req* request, MountContext& mount, FrontOp op);
  ~Reply();
  Reply(const Reply&) = delete;
  Reply& operator=(const Reply&) = delete;

  // The request waits for `waiting`: from now on an interrupt cancels that. Nothing if `waiting` is 0 or the
  // answer was already given.
  void park(RequestId waiting);

  void fail(const Error& error);
  void fail(int error_number);
  void entry(const Entry& entry);
  void passing_entry(const Entry& entry);  // the name is asked for again each time it is used
  void created(const Entry& entry);        // and opened
  void attributes(const struct stat& attr);
  void link(const std::string& target);
  void opened_directory();
  void opened_file(NodeId node, const OpenedFile& opened);
  // False: they could not be read where they are, and the kernel tells the caller so.
  bool bytes(std::span<const std::byte> data);
  bool listing(std::span<const char> packed);  // false: the asker is gone
  void written(uint64_t bytes);
  void xattr_size(uint64_t size);
  void position(uint64_t offset);
  void file_system(const struct statvfs& answer);
  void done();  // success without data
  void none();  // the kernel expects no answer

 private:
  static void on_interrupt(fuse_req* request, void* self);
  fuse_req* take();
  void give(const Entry& entry, double name_seconds);

  MountContext& mount_;
  const FrontOp op_;
  const std::chrono::steady_clock::time_point began_ = std::chrono::steady_clock::now();
  std::mutex mutex_;  // guards request_ and parked_
  fuse_req* request_;
  bool parked_ = false;
  uint64_t ring_number_ = 0;  // the kernel's number of a parked request that came by a ring
  std::atomic<RequestId> waiting_{0};
};

}  // namespace rsyncfs
