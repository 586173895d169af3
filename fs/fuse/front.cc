// SPDX-License-Identifier: GPL-3.0-or-later
#include "fs/fuse/front.h"

#include <algorithm>
#include <condition_variable>
#include <mutex>
#include <optional>
#include <utility>

#include "fs/fuse/fuse_api.h"
#include "fs/fuse/mount_check.h"
#include "fs/fuse/mount_context.h"
#include "fs/fuse/mount_point.h"
#include "fs/fuse/rings.h"
#include "fs/fuse/session.h"
#include "fs/fuse/worker_pool.h"
#include "io/base/log.h"

namespace rsyncfs {
namespace {

// Cancelled requests are answered by the loop and the executor, soon.
constexpr std::chrono::seconds kAnswerParkedLimit{10};
// In the order of FrontOp.
constexpr std::array<std::string_view, static_cast<size_t>(FrontOp::kCount)> kOpNames{
    "lookup",    "forget",    "getattr",         "readlink",    "open",       "read",      "flush",
    "release",   "opendir",   "readdir",         "readdirplus", "releasedir", "statfs",    "getxattr",
    "listxattr", "lseek",     "mknod",           "mkdir",       "symlink",    "create",    "tmpfile",
    "link",      "unlink",    "rmdir",           "rename",      "setattr",    "setxattr",  "removexattr",
    "write",     "fallocate", "copy_file_range", "fsync",       "refused",    "interrupt",
};

// New requests may be parked while the last call of the notifier waits for them.
constexpr std::chrono::milliseconds kCancelAgainEvery{5};

std::string profile_name(const MountContext& mount) {
  if (mount.no_open.load()) return "no_open";
  if (!mount.backing.agreed()) return "keep_cache";
  return "passthrough (" + std::to_string(mount.backing.lent_total()) + " files lent so far)";
}

class MountedFront final : public Front {
 public:
  MountedFront(FrontOptions options, Tree& tree, Notifier& notifier, FrontEvents events)
      : mount_(tree, notifier, std::move(options)), events_(std::move(events)) {}
  ~MountedFront() override;

  Result<void> start();

  bool ready() const override { return is_ready_.load(); }
  bool wait_ready(std::chrono::milliseconds limit) override;
  bool ended() const override;
  bool wait_ended(std::chrono::milliseconds limit) override;
  Result<void> unmount(bool lazy) override;
  void refuse_changes() override { mount_.changes_refused.store(true); }
  void stop() override;
  FrontStatistics statistics() const override;
  const std::string& mountpoint() const override { return mount_.options.mountpoint; }
  std::string description() const override;

 private:
  void after_request();
  void look_at_rings();
  void after_last_worker();
  void cancel_parked();
  void end_notifications();
  void raise_read_ahead() const;

  MountContext mount_;
  FrontEvents events_;
  std::string device_;
  std::atomic<bool> announced_{false};
  std::atomic<bool> is_ready_{false};
  mutable std::mutex mutex_;  // guards has_ended_ and the conditions
  std::condition_variable changed_;
  bool has_ended_ = false;
  std::mutex stop_mutex_;  // one stop() at a time
  std::unique_ptr<Session> session_;
  std::optional<WorkerPool> workers_;
};

Result<void> MountedFront::start() {
  Result<std::unique_ptr<Session>> session = Session::create(mount_);
  if (!session) return session.error();
  session_ = std::move(*session);
  if (Result<void> mounted = session_->mount(mountpoint()); !mounted) return mounted;
  device_ = mounted_device(mountpoint()).value_or("");
  if (mount_.options.watched != nullptr && !mount_.options.read_only) {
    mount_.events =
        std::make_unique<EventRaiser>(mountpoint(), device_, mount_.tree, *mount_.options.watched);
  }
  mount_.backing.start(session_->channel(), mount_.options.read_only ? UINT64_MAX : kMaxLentWritableBytes);
  mount_.notifier.attach(*session_, mount_.tree, mount_.events.get());
  workers_.emplace(
      *session_, std::clamp(mount_.options.workers, 1U, kMaxFrontWorkers), [this] { after_request(); },
      [this] { after_last_worker(); });
  return {};
}

// The mount goes away last: until then its users get errors, not the directory below it.
MountedFront::~MountedFront() {
  if (workers_) {
    stop();
    workers_.reset();
    RSYNCFS_CHECK(mount_.replies.open() == 0);
    if (!device_.empty() && mounted_device(mountpoint()) != device_) session_->disown_mount();
  }
  session_.reset();
}

void MountedFront::after_request() {
  if (is_ready_.load(std::memory_order_relaxed) || !mount_.initialized.load()) return;
  if (announced_.exchange(true)) return;
  look_at_rings();
  // FUSE_INIT sets it, so not before.
  raise_read_ahead();
  {
    const std::lock_guard lock(mutex_);
    is_ready_.store(true);
    changed_.notify_all();
  }
  log_info("mounted " + mount_.options.fsname + " on " + mountpoint() + ": " + description());
  if (events_.ready) events_.ready();
}

void MountedFront::after_last_worker() {
  {
    const std::lock_guard lock(mutex_);
    has_ended_ = true;
    changed_.notify_all();
  }
  if (events_.ended) events_.ended();
}

void MountedFront::look_at_rings() {
  if (!mount_.options.rings) return;
  mount_.rings_run.store(session_->has_ring_threads());
  if (mount_.rings_run.load()) return;
  log_warn(std::string("no FUSE over io_uring: ") +
           (kRingsBuilt ? "the kernel does not offer it, see /sys/module/fuse/parameters/enable_uring"
                        : "built without it"));
}

bool MountedFront::wait_ready(std::chrono::milliseconds limit) {
  std::unique_lock lock(mutex_);
  return changed_.wait_for(lock, limit, [this] { return is_ready_.load(); });
}

bool MountedFront::ended() const {
  const std::lock_guard lock(mutex_);
  return has_ended_;
}

bool MountedFront::wait_ended(std::chrono::milliseconds limit) {
  std::unique_lock lock(mutex_);
  return changed_.wait_for(lock, limit, [this] { return has_ended_; });
}

Result<void> MountedFront::unmount(bool lazy) {
  const std::optional<std::string> device = mounted_device(mountpoint());
  if (!device) return {};
  if (!device_.empty() && *device != device_) {
    return Error(Errc::kUsage, mountpoint() + ": something else is mounted over it");
  }
  return take_mount_away(mountpoint(), lazy);
}

void MountedFront::cancel_parked() {
  for (const RequestId request : mount_.replies.parked_now()) mount_.tree.cancel(request);
}

// A call of the notifier waits inside the kernel, deaf to signals, for requests that the kernel has not even
// handed to us yet. So the workers must still take and answer them; else neither the call nor the channel
// would ever end.
void MountedFront::end_notifications() {
  do {
    cancel_parked();
  } while (!mount_.notifier.stop_sending(kCancelAgainEvery));
  mount_.notifier.detach();
}

void MountedFront::stop() {
  const std::lock_guard lock(stop_mutex_);
  end_notifications();
  mount_.closed.store(true);
  workers_->stop();
  // One that came by a ring just before may be parked now.
  const auto limit = std::chrono::steady_clock::now() + kAnswerParkedLimit;
  bool answered = false;
  do {
    cancel_parked();
    answered = mount_.replies.wait_none_open(kCancelAgainEvery);
  } while (!answered && std::chrono::steady_clock::now() < limit);
  if (!answered) {
    log_error("requests are not answered although they were cancelled: " +
              std::to_string(mount_.replies.open()));
    return;
  }
  session_->stop_ring_threads();
}

void MountedFront::raise_read_ahead() const {
  if (mount_.options.read_ahead_kib == 0 || device_.empty()) return;
  if (const Result<void> set = set_read_ahead(device_, mount_.options.read_ahead_kib); !set) {
    log_debug("read-ahead stays as it is: " + set.error().message());
  }
}

FrontStatistics MountedFront::statistics() const {
  FrontStatistics now;
  for (size_t i = 0; i < now.requests.size(); ++i) now.requests[i] = mount_.requests[i].load();
  for (size_t i = 0; i < now.latencies.size(); ++i) now.latencies[i] = mount_.latencies[i].now();
  now.errors = mount_.replies.errors();
  now.errors_by_number = mount_.replies.errors_by_number();
  now.waiting = mount_.replies.parked_count();
  now.parked_total = mount_.replies.parked_total();
  now.known_nodes = mount_.tree.lookups().size();
  now.lent_files = mount_.backing.lent_total();
  now.notifier = mount_.notifier.statistics();
  return now;
}

std::string MountedFront::description() const {
  return "fuse " + std::to_string(mount_.protocol_major.load()) + "." +
         std::to_string(mount_.protocol_minor.load()) + ", libfuse " + fuse_pkgversion() + ", profile " +
         profile_name(mount_) + ", " + std::to_string(mount_.options.workers) + " workers" +
         (mount_.rings_run.load() ? ", io_uring" : "");
}

}  // namespace

std::string fuse_library_version() {
  return std::string("libfuse ") + fuse_pkgversion();
}

std::string_view front_op_name(FrontOp op) {
  return op < FrontOp::kCount ? kOpNames[static_cast<size_t>(op)] : "unknown";
}

Result<std::unique_ptr<Front>> Front::mount(FrontOptions options, Tree& tree, Notifier& notifier,
                                            FrontEvents events) {
  Result<std::string> absolute = check_mountpoint(options.mountpoint);
  if (!absolute) return absolute.error();
  if (Result<void> usable = check_fuse_usable(options.allow_other); !usable) return usable.error();
  options.mountpoint = std::move(*absolute);
  auto front = std::make_unique<MountedFront>(std::move(options), tree, notifier, std::move(events));
  if (Result<void> started = front->start(); !started) return started.error();
  return std::unique_ptr<Front>(std::move(front));
}

}  // namespace rsyncfs
