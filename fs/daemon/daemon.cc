// SPDX-License-Identifier: GPL-3.0-or-later
#include "fs/daemon/daemon.h"

#include <malloc.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <ctime>
#include <filesystem>
#include <sstream>
#include <utility>

#include "fs/control/client.h"
#include "fs/control/mount_claim.h"
#include "fs/control/mount_table.h"
#include "fs/daemon/source_options.h"
#include "fs/daemon/version.h"
#include "fs/daemon/way_out.h"
#include "io/base/log.h"
#include "io/base/text.h"
#include "io/base/xxh.h"
#include "sync/rsync/rolling_sum.h"
#include "sync/rsync/sum_filter.h"
#include "sync/transport/bandwidth_limit.h"

namespace rsyncfs {
namespace {

// Nothing is ever answered so late, but by a daemon that hangs or is stopped.
constexpr std::chrono::seconds kRequestTimeout{3'600};

// The many threads have heaps of their own, and what was freed in the middle of those stays ours
// (malloc_trim(3)): without this a busy mount held twice of what it used.
constexpr std::chrono::seconds kReturnFreedMemory{30};

// A source that answers "no" stays wrong however long one waits; the others may come back.
bool may_come_back(Errc code) {
  switch (code) {
    case Errc::kUnreachable:
    case Errc::kTimedOut:
    case Errc::kDisconnected:
    case Errc::kRefused:
    case Errc::kOs:
    case Errc::kCanceled:
      return true;
    default:
      return false;
  }
}

}  // namespace

Daemon::Daemon(MountPlan plan, MainThread main_thread, ServiceNotice notice)
    : plan_(std::move(plan)), main_(std::move(main_thread)), notice_(std::move(notice)) {}

Daemon::~Daemon() {
  shut_down();
}

Result<void> Daemon::start() {
  log_info("rsyncfs " + std::string(version()) + ": " + plan_.canonical_source + " on " + plan_.mountpoint);
  using Step = Result<void> (Daemon::*)();
  for (const Step step : {&Daemon::open_store, &Daemon::start_loop, &Daemon::make_contact,
                          &Daemon::open_control, &Daemon::open_metrics, &Daemon::mount}) {
    Result<void> done = (this->*step)();
    if (done && main_.stop_requested()) done = Error(Errc::kCanceled, "interrupted");
    if (done) continue;
    log_error("not mounted: " + done.error().message());
    shut_down();
    return done;
  }
  was_usable_ = true;
  return {};
}

bool Daemon::wait_for_predecessor(const Error& failure, Clock::time_point end) {
  const bool held = failure.code() == Errc::kRefused && failure.os_errno() == EBUSY;
  if (!held || Clock::now() > end || main_.stop_requested()) return false;
  constexpr std::chrono::milliseconds kPause{50};
  main_.run_until([] { return false; }, kPause, /*interruptible=*/true);
  return true;
}

void Daemon::ask_predecessor_to_end() const {
  const FoundMount here{plan_.runtime_directory, plan_.mountpoint, ""};
  Result<ControlClient> client = ControlClient::connect(here, kHandOverLimitMs);
  if (!client) return;
  const auto answer = client->call({.verb = ControlVerb::kHandOver}, kHandOverLimitMs);
  if (answer && answer->kind == ControlAnswer::Kind::kDone)
    log_info("the last daemon of this mount was still sending");
}

Result<void> Daemon::open_store() {
  ReplicaOptions options;
  options.directory = plan_.store;
  options.source = plan_.canonical_source;
  options.io = plan_.options.io;
  const auto end = Clock::now() + kPredecessorLimit;
  Result<std::unique_ptr<Replica>> opened = Replica::open(options);
  while (!opened && wait_for_predecessor(opened.error(), end)) {
    ask_predecessor_to_end();
    opened = Replica::open(options);
  }
  if (!opened) return opened.error().with_context("store");
  replica_ = std::move(opened.value());
  // No kernel knows a node of this store yet, so what no name leads to is garbage.
  const auto purge_end = Clock::now() + kPurgeLimit;
  constexpr size_t kPurgeAtOnce = 1000;
  while (Clock::now() < purge_end) {
    const Result<size_t> purged = replica_->purge_orphans(kPurgeAtOnce);
    if (!purged) log_warn("purging the store: " + purged.error().message());
    if (!purged || *purged == 0) break;
  }
  const Result<Node> root = replica_->node(kRootNode);
  knows_tree_ = root && root->listed_at_s != 0;
  return {};
}

Result<void> Daemon::start_loop() {
  Result<LoopSelection> selected = make_loop(plan_.options.io);
  if (!selected) return selected.error();
  loop_ = std::move(selected->loop);
  io_reason_ = std::move(selected->reason);
  log_info("io: " + io_reason_);
  // The vector units are tested now, not in the middle of a transfer.
  log_info("sums: XXH3 by " + std::string(xxh_variant_name()) + ", rolling sum by " +
           std::string(rolling_sum_variant_name()) + ", search by " + std::string(roll_variant_name()));
  loop_thread_ = std::thread([loop = loop_.get()] { loop->run(); });
  executor_ = std::make_unique<Executor>(kExecutorThreads);
  return {};
}

CacheLimits Daemon::cache_limits() {
  struct statvfs disk {};
  const bool known = statvfs(plan_.store.c_str(), &disk) == 0;
  const uint64_t total = known ? disk.f_blocks * disk.f_frsize : 0;
  CacheLimits limits;
  const MountOptions& given = plan_.options;
  if (given.cache_size && (total != 0 || given.cache_size->percent == 0))
    limits.cache_bytes = std::max(given.cache_size->of(total), kMinCacheBytes);
  limits.min_free_bytes =
      given.min_free ? given.min_free->of(total)
                     : std::min(DiskAmount{0, kDefaultMinFreePercent}.of(total), kDefaultMinFreeMost);
  limits.mapped = [this] { return mapped_.inodes(); };
  return limits;
}

SyncerOptions Daemon::syncer_options() {
  const MountOptions& given = plan_.options;
  SyncerOptions options = source_options(given);
  options.source = plan_.source;
  options.password = plan_.password;
  options.runtime_directory = plan_.runtime_directory;
  options.poll = given.poll;
  options.cache = cache_limits();
  options.read_only = !plan_.writable;
  options.writeback_delay = given.writeback_delay;
  options.conflict = given.conflict;
  options.conflict_rules = given.conflict_rules;
  options.max_delete = given.max_delete;
  return options;
}

Result<void> Daemon::make_contact() {
  notifier_ = std::make_unique<Notifier>();
  events_ =
      std::make_unique<MountEvents>(*notifier_, [this] { main_.post([this] { note_read_only_source(); }); });
  syncer_ = Syncer::create(*loop_, *executor_, *replica_, syncer_options(), *events_);
  // Shared: an outcome that comes after the limit must still find it.
  const auto contact = std::make_shared<std::optional<Result<void>>>();
  syncer_started_ = true;
  syncer_->start([this, contact](Result<void> outcome) {
    main_.post([contact, outcome = std::move(outcome)] { *contact = outcome; });
  });
  const std::chrono::milliseconds patience = plan_.options.connect_timeout + plan_.options.timeout;
  const std::chrono::milliseconds limit =
      knows_tree_ ? std::min<std::chrono::milliseconds>(patience, kOfflineGrace) : patience;
  main_.run_until([&] { return contact->has_value(); }, limit, /*interruptible=*/true);
  if (main_.stop_requested()) return {};
  if (!*contact) return judge_first_contact(std::nullopt);
  return (*contact)->ok() ? Result<void>() : judge_first_contact((*contact)->error());
}

Result<void> Daemon::judge_first_contact(const std::optional<Error>& failure) {
  const Error cause =
      failure.value_or(Error(Errc::kTimedOut, plan_.canonical_source + ": no answer in time"));
  if (knows_tree_ && may_come_back(cause.code())) {
    notes_.push_back("what is stored is shown, the source cannot be reached yet: " + cause.message());
    log_warn(notes_.back());
    return {};
  }
  return with_way_out(cause, plan_.source, plan_.has_password);
}

Result<void> Daemon::open_control() {
  const MountOptions& given = plan_.options;
  TreeOptions tree_options;
  tree_options.xattrs = given.xattrs;
  tree_options.acls = given.acls;
  tree_options.events = notifier_.get();
  tree_options.shown = {given.uid, given.gid, given.file_mask.value_or(0), given.directory_mask.value_or(0),
                        given.mode_changes};
  tree_options.filters = filter_rules_of(given);
  tree_options.fsync_remote = given.fsync_remote;
  tree_ = std::make_unique<Tree>(*replica_, *syncer_, *executor_, tree_options);
  const std::string source_path = plan_.canonical_source;
  service_ = std::make_unique<ControlService>(
      *loop_, *executor_, *replica_, *syncer_, *tree_, *events_, mapped_,
      MountFacts{plan_.canonical_source, source_path, plan_.mountpoint, plan_.store, io_reason_,
                 time(nullptr), plan_.writable, given.read_write.value_or(false)},
      [this](bool lazy, Done<void> done) { unmount_for(lazy, std::move(done)); });
  record_ = {getpid(), plan_.mountpoint, plan_.canonical_source, "fuse." + given.subtype, given.fsname, ""};
  const auto end = Clock::now() + kPredecessorLimit;
  Result<UniqueFd> listener = claim_mount(plan_.runtime_directory, record_);
  while (!listener && wait_for_predecessor(listener.error(), end)) {
    listener = claim_mount(plan_.runtime_directory, record_);
  }
  if (!listener) return listener.error();
  has_claim_ = true;
  control_ = ControlServer::create(*loop_, std::move(listener.value()), geteuid(), *service_);
  return {};
}

Result<void> Daemon::open_metrics() {
  const MetricsAddress& where = plan_.options.metrics;
  if (!where.given()) return {};
  const bool socket = !where.socket.empty();
  const auto end = Clock::now() + kPredecessorLimit;
  const auto listen = [&] {
    return socket ? listen_metrics(where.socket, plan_.options.metrics_mode)
                  : listen_metrics(where.port, where.six);
  };
  Result<UniqueFd> listener = listen();
  while (!listener && wait_for_predecessor(listener.error(), end)) listener = listen();
  if (!listener) return listener.error();
  struct stat info {};
  if (socket && stat(where.socket.c_str(), &info) == 0) metrics_socket_ = info.st_ino;
  metrics_ = MetricsServer::create(*loop_, std::move(listener.value()), [this](MetricsServer::Answer answer) {
    service_->tell_metrics(std::move(answer));
  });
  log_info("metrics: served at " + (socket ? where.socket : "port " + std::to_string(where.port)));
  return {};
}

void Daemon::close_metrics() {
  struct stat info {};
  const std::string& path = plan_.options.metrics.socket;
  if (metrics_socket_ != 0 && lstat(path.c_str(), &info) == 0 && info.st_ino == metrics_socket_)
    unlink(path.c_str());
  metrics_socket_ = 0;
  if (!metrics_ || !loop_thread_.joinable()) return;
  wait_for_loop(kShutDownLimit, [this](Task done) {
    metrics_->stop();
    done();
  });
}

// So that the mount is known again when it outlives this process, however the kernel spells it.
void Daemon::record_mount() {
  const std::optional<MountedAt> mounted = mounted_at(plan_.mountpoint);
  if (!mounted) return;
  record_.type = mounted->type;
  record_.fsname = mounted->source;
  record_.device = mounted->device;
  mapped_.watch(mounted->device);
  const Result<void> renewed = renew_claim(plan_.runtime_directory, record_);
  if (!renewed) log_warn("record of the mount: " + renewed.error().message());
}

void Daemon::start_scanner() {
  const dev_t device = parse_device(record_.device);
  if (device == 0) return;
  scanner_ = std::make_unique<UseScanner>(plan_.mountpoint, device,
                                          [this](const FoundUses& found) { note_uses(found); });
}

// On the scanner's thread.
void Daemon::note_uses(const FoundUses& found) {
  watched_.replace(found.watched);
  for (const std::string& path : found.working_directories) {
    NodeId at = kRootNode;
    std::istringstream components(path);
    for (std::string name; at != 0 && std::getline(components, name, '/');) {
      const Result<Node> next = replica_->lookup(at, name);
      at = next ? next->id : 0;
    }
    if (at != 0) syncer_->note_use(at);
  }
  for (const ino_t inode : found.watched) {
    const Result<Node> node = replica_->node(inode);
    if (!node) continue;
    if (S_ISDIR(node->attr.mode)) {
      syncer_->note_use(node->id);
    } else if (const auto name = replica_->name_of(node->id)) {
      syncer_->note_use(name->first);
    }
  }
}

FrontOptions Daemon::front_options() const {
  const MountOptions& given = plan_.options;
  FrontOptions options;
  options.mountpoint = plan_.mountpoint;
  options.fsname = given.fsname;
  options.allow_other = given.allow_other;
  options.read_only = !plan_.writable;
  options.suid = given.suid;
  options.dev = given.dev;
  options.profile = given.profile;
  options.rings = given.fuse_uring;
  // An ACL would grant what the user chose not to show.
  options.posix_acl = given.acls && !given.uid && !given.gid && !given.file_mask && !given.directory_mask &&
                      given.mode_changes.empty();
  options.debug = plan_.debug;
  options.watched = &watched_;
  // An fsync that waits for the source may take as long as all that is to be sent.
  const auto longest =
      given.fsync_remote ? std::chrono::seconds(0) : std::max(kRequestTimeout, 2 * given.timeout);
  options.request_timeout = given.request_timeout.value_or(longest);
  if (!given.exec) options.mount_options.emplace_back("noexec");
  if (given.auto_unmount) options.mount_options.emplace_back("auto_unmount");
  if (given.subtype != MountOptions().subtype) options.mount_options.push_back("subtype=" + given.subtype);
  return options;
}

Result<void> Daemon::mount() {
  FrontEvents events;
  events.ended = [this] { main_.post([this] { ended_ = true; }); };
  Result<std::unique_ptr<Front>> front = Front::mount(front_options(), *tree_, *notifier_, std::move(events));
  if (!front) return front.error();
  front_ = std::move(front.value());
  if (refuses_changes_) front_->refuse_changes();
  if (!front_->wait_ready(kInitLimit)) return Error(Errc::kTimedOut, "the kernel does not answer the mount");
  record_mount();
  start_scanner();
  service_->set_front(front_.get());
  loop_->post([this] {
    control_->start();
    if (metrics_) metrics_->start();
    events_->watch_changes([this](const auto& changes) { service_->pins().note_changes(changes); });
    service_->pins().start();
  });
  control_started_ = true;
  return {};
}

void Daemon::run() {
  notice_.ready(plan_.canonical_source + " on " + plan_.mountpoint);
  const auto period = std::min<std::chrono::milliseconds>(
      kReturnFreedMemory, notice_.watchdog().value_or(std::chrono::milliseconds::max()));
  auto returned = Clock::now();
  while (!main_.run_until([this] { return ended_; }, period, /*interruptible=*/true)) {
    show_life();
    if (Clock::now() - returned < kReturnFreedMemory) continue;
    ::malloc_trim(0);
    returned = Clock::now();
  }
  notice_.stopping("unmounting", kShutDownLimit);
  if (!ended_) obey_signal();
  shut_down();
}

// A loop that hangs does not set it again.
void Daemon::show_life() {
  if (!notice_.watchdog() || !loop_lives_->exchange(false)) return;
  notice_.alive();
  loop_->post([lives = loop_lives_] { *lives = true; });
}

void Daemon::obey_signal() {
  const Result<void> unmounted = front_->unmount(/*lazy=*/false);
  if (!unmounted) {
    // Told to end, it ends: whoever is inside keeps a detached mount that answers nothing more.
    log_warn("unmounting: " + unmounted.error().message() + "; detaching");
    if (const Result<void> detached = front_->unmount(/*lazy=*/true); !detached) {
      log_error("detaching: " + detached.error().message());
    }
    front_->stop();
  }
  main_.run_until([this] { return ended_; }, kShutDownLimit, /*interruptible=*/false);
}

// With rw asked for, the changes are kept until the source takes them; otherwise nobody is to go on in vain.
void Daemon::note_read_only_source() {
  const std::string reason = events_->read_only_reason();
  const bool asked = plan_.options.read_write.value_or(false);
  const std::string line = "the source cannot be written to: " + reason +
                           (asked ? "; changes are kept here until it can"
                                  : "; the mount is read-only, mount with rw to keep changes here");
  log_warn(line);
  if (!was_usable_) notes_.push_back(line);
  if (!asked) refuses_changes_ = true;
  if (!asked && front_) front_->refuse_changes();
}

// Nobody changes anything any more: what is not on the source yet is sent, within a limit.
void Daemon::drain() {
  Drain& draining = service_->drain();
  if (!plan_.writable) {
    loop_->post([&draining] { draining.skip(); });
    return;
  }
  const auto over = std::make_shared<bool>(false);
  bool told = main_.stop_requested();
  // A service manager waits as long as it is told to.
  const std::chrono::milliseconds limit = told && !notice_.is_wanted() ? Drain::kSignalLimit : Drain::kLimit;
  notice_.stopping("sending what is not on the source yet", limit + kShutDownLimit);
  const auto latest_begin = Clock::now() + limit;
  loop_->post([this, &draining, limit, over] {
    draining.start(limit, [this, over](const FlushOutcome& outcome) {
      main_.post([this, over, outcome] {
        log_outcome(outcome);
        *over = true;
      });
    });
  });
  // The drain keeps its limit by itself; a loop that hangs must not keep us.
  constexpr std::chrono::seconds kPause{1};
  while (!*over && Clock::now() < std::max(latest_begin, draining.latest_end()) + kShutDownLimit) {
    main_.run_until([&] { return *over || (main_.stop_requested() && !told); }, kPause,
                    /*interruptible=*/false);
    if (*over || told || !main_.stop_requested()) continue;
    told = true;
    loop_->post([&draining] { draining.shorten(Drain::kSignalLimit); });
  }
  if (!*over) log_error("sending what is left did not end in time");
}

void Daemon::log_outcome(const FlushOutcome& outcome) const {
  if (outcome.all_sent) return;
  log_warn(unsent_line(outcome) + "; the next mount sends the rest");
  for (const UnsentChange& change : outcome.left.first)
    log_warn("not sent: " + change.path + ": " + change.what);
}

// On the loop thread; the kernel may take its time, so it happens elsewhere, one at a time.
void Daemon::unmount_for(bool lazy, Done<void> done) {
  main_.post([this, lazy, done = std::move(done)]() mutable {
    if (unmounter_.joinable()) unmounter_.join();
    if (!front_) return done(Error(Errc::kCanceled, "already unmounting"));
    unmounter_ = std::thread([this, lazy, done = std::move(done)]() mutable { done(front_->unmount(lazy)); });
  });
}

bool Daemon::wait_for_loop(std::chrono::milliseconds limit, UniqueFunction<void(Task)> work) {
  // Shared: a completion that comes after the limit must still find them.
  const auto finished = std::make_shared<bool>(false);
  loop_->post([this, finished, work = std::move(work)]() mutable {
    work([this, finished] { main_.post([finished] { *finished = true; }); });
  });
  return main_.run_until([&] { return *finished; }, limit, /*interruptible=*/false);
}

void Daemon::end_syncer() {
  if (!syncer_started_) return;
  syncer_started_ = false;
  const bool ended =
      wait_for_loop(kShutDownLimit, [this](Task done) { syncer_->shut_down(std::move(done)); });
  if (!ended) log_error("the syncer did not shut down in time");
}

void Daemon::end_control() {
  close_metrics();
  if (std::exchange(has_claim_, false)) {
    release_mount(plan_.runtime_directory, plan_.mountpoint, record_.pid);
  }
  if (!control_started_) return;
  control_started_ = false;
  const std::chrono::milliseconds limit = ControlServer::kStopLimit + std::chrono::seconds(1);
  wait_for_loop(limit, [this](Task done) { control_->stop(std::move(done)); });
}

// Also of what start() did not finish. From the kernel's side inwards: nobody asks, then nobody works, then
// nothing is left to work on.
void Daemon::shut_down() {
  if (unmounter_.joinable()) unmounter_.join();
  scanner_.reset();
  if (service_) service_->set_front(nullptr);
  if (front_) log_info("unmounted");
  if (service_ && control_started_) loop_->post([this] { service_->pins().stop(); });
  front_.reset();
  if (was_usable_ && syncer_started_) drain();
  end_syncer();
  end_control();
  if (loop_) loop_->stop();
  if (loop_thread_.joinable()) loop_thread_.join();
  if (service_) service_->wait_idle();
  tree_.reset();
  syncer_.reset();
  events_.reset();
  notifier_.reset();
  control_.reset();
  metrics_.reset();
  executor_.reset();
  loop_.reset();
  service_.reset();
  remove_unused_store();
  replica_.reset();
}

// A store made for a mount that did not come about. While it is ours: two mounts that begin at once may both
// have found none, and the other one is waiting for this or using it.
void Daemon::remove_unused_store() {
  if (!replica_ || !plan_.store_is_new || knows_tree_ || was_usable_) return;
  // Aside first: its place is then free for the other at once, lock and all.
  const std::string aside = plan_.store + ".unused-" + std::to_string(getpid());
  std::error_code failed;
  std::filesystem::rename(plan_.store, aside, failed);
  if (!failed) std::filesystem::remove_all(aside, failed);
  if (failed) log_warn("removing an unused store: " + failed.message());
}

}  // namespace rsyncfs
