// SPDX-License-Identifier: GPL-3.0-or-later
#include "fs/doctor/source_survey.h"

#include <netdb.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <future>
#include <mutex>
#include <span>
#include <string_view>
#include <thread>
#include <utility>

#include "fs/daemon/source_options.h"
#include "io/base/unique_fd.h"
#include "io/executor.h"
#include "io/loop.h"
#include "sync/engine/server_memory.h"
#include "sync/engine/syncer.h"
#include "sync/replica/replica.h"

namespace rsyncfs {
namespace {

constexpr unsigned kExecutorThreads = 2;
// Each request has the mount's limits; what is sent may take longer.
constexpr int kLimitParts = 2;
// The file: a time that no clock that counts whole, or even hundredths of, seconds has.
constexpr uint32_t kTimeNs = 123'456'789;
constexpr uint32_t kMode = 0640;
constexpr std::string_view kContents = "made and removed by rsyncfs doctor\n";
constexpr unsigned kRemovals = 2;  // attempts
constexpr double kClockSlackS = 2;
constexpr unsigned kListings = 3;

class StoreDirectory {
 public:
  static Result<StoreDirectory> make() {
    std::error_code failed;
    std::string path = std::filesystem::temp_directory_path(failed).string();
    path = (failed ? "/tmp" : path) + "/rsyncfs-doctor-XXXXXX";
    if (mkdtemp(path.data()) == nullptr)
      return Error::os(errno, "a directory for what is asked of the source");
    return StoreDirectory(std::move(path));
  }
  ~StoreDirectory() {
    std::error_code ignored;
    if (!path_.empty()) std::filesystem::remove_all(path_, ignored);
  }
  StoreDirectory(StoreDirectory&& other) noexcept : path_(std::exchange(other.path_, {})) {}
  StoreDirectory& operator=(StoreDirectory&&) = delete;
  const std::string& path() const { return path_; }

 private:
  explicit StoreDirectory(std::string path) : path_(std::move(path)) {}
  std::string path_;
};

double unix_now() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

// Of TCP, which is one round trip; 0: it did not come about.
std::chrono::milliseconds connect_time(const Source& source) {
  const addrinfo hints{.ai_flags = AI_NUMERICSERV,
                       .ai_family = AF_UNSPEC,
                       .ai_socktype = SOCK_STREAM,
                       .ai_protocol = 0,
                       .ai_addrlen = 0,
                       .ai_addr = nullptr,
                       .ai_canonname = nullptr,
                       .ai_next = nullptr};
  const std::string port = std::to_string(source.port == 0 ? kRsyncPort : source.port);
  addrinfo* found = nullptr;
  if (getaddrinfo(source.host.c_str(), port.c_str(), &hints, &found) != 0) return {};
  const std::unique_ptr<addrinfo, decltype(&freeaddrinfo)> all(found, &freeaddrinfo);
  for (const addrinfo* one = found; one != nullptr; one = one->ai_next) {
    const UniqueFd fd(socket(one->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0));
    const timeval limit{5, 0};
    if (!fd || setsockopt(fd.get(), SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit) != 0) continue;
    const auto began = Clock::now();
    if (connect(fd.get(), one->ai_addr, one->ai_addrlen) == 0)
      return std::chrono::ceil<std::chrono::milliseconds>(Clock::now() - began);
  }
  return {};
}

SyncerOptions syncer_options(const SurveyRequest& request) {
  SyncerOptions options = source_options(request.options);
  options.source = request.source;
  options.password = request.password;
  options.remote_shell = request.remote_shell;
  options.poll.mode = PollOptions::Mode::kOff;
  options.read_only = !request.may_write;
  options.writeback_delay = std::chrono::milliseconds(0);
  return options;
}

// The parts of a mount, without the mount.
class Survey final : public SyncerEvents {
 public:
  Survey(std::unique_ptr<Loop> loop, std::unique_ptr<Replica> replica, const SurveyRequest& request)
      : request_(request),
        limit_(kLimitParts * (request.options.timeout + request.options.connect_timeout)),
        loop_(std::move(loop)),
        replica_(std::move(replica)),
        executor_(std::make_unique<Executor>(kExecutorThreads)),
        syncer_(Syncer::create(*loop_, *executor_, *replica_, syncer_options(request), *this)),
        thread_([this] { loop_->run(); }) {}
  ~Survey() override {
    std::promise<void> over;
    syncer_->shut_down([&over] { over.set_value(); });
    over.get_future().wait();
    loop_->stop();
    thread_.join();
    executor_.reset();
    syncer_.reset();
    loop_.reset();
  }
  Survey(const Survey&) = delete;
  Survey& operator=(const Survey&) = delete;

  SourceFacts ask() {
    const Result<void> contact = wait([this](Done<void> done) { syncer_->start(std::move(done)); });
    if (!contact) {
      facts_.no_contact = contact.error();
      facts_.status = status();
      return std::move(facts_);
    }
    if (request_.source.kind == Source::Kind::kDaemon) measure();
    if (request_.may_write) try_writing();
    facts_.read_only = read_only();
    if (!facts_.read_only.empty()) facts_.write_failure.reset();
    facts_.status = status();
    facts_.features = recall_server(*replica_);
    return std::move(facts_);
  }

  void on_changes(std::vector<NameChange> /*changes*/) override {}
  void on_content_changed(NodeId /*node*/) override {}
  void on_read_only(const std::string& reason) override {
    const std::lock_guard lock(mutex_);
    read_only_ = reason;
  }

 private:
  Result<void> wait(const std::function<void(Done<void>)>& call) {
    const auto promise = std::make_shared<std::promise<Result<void>>>();
    auto future = promise->get_future();
    call([promise](const Result<void>& result) { promise->set_value(result); });
    if (future.wait_for(limit_) != std::future_status::ready)
      return Error(Errc::kTimedOut, "no answer within " + std::to_string(limit_.count()) + " s");
    return future.get();
  }

  SyncerStatus status() {
    std::promise<SyncerStatus> promise;
    syncer_->status([&promise](SyncerStatus now) { promise.set_value(std::move(now)); });
    return promise.get_future().get();
  }

  std::string read_only() {
    const std::lock_guard lock(mutex_);
    return read_only_;
  }

  // How long the server takes beside the network's share.
  void measure() {
    facts_.round_trip = connect_time(request_.source);
    for (unsigned i = 0; i < kListings; ++i) {
      const auto began = Clock::now();
      if (!wait([this](Done<void> done) { syncer_->list_directory(kRootNode, std::move(done)); })) return;
      const auto took = std::chrono::duration_cast<std::chrono::milliseconds>(Clock::now() - began);
      facts_.listing = i == 0 ? took : std::min(facts_.listing, took);
    }
  }

  void try_writing() {
    const Result<Node> root = replica_->node(kRootNode);
    if (!root) return;
    const std::string name = ".rsyncfs-doctor-" + std::to_string(getpid()) + "-" +
                             std::to_string(static_cast<uint64_t>(unix_now() * 1e6));
    const double before_s = unix_now();
    const Result<Node> file = make_file(name, *root);
    if (!file) {
      facts_.write_failure = file.error();
      return;
    }
    const Result<void> sent = flush(file->id);
    if (sent) {
      facts_.wrote = true;
      look_at(name, file->id, before_s);
    } else {
      facts_.write_failure = sent.error();
    }
    if (!remove(name)) facts_.left_behind = name;
    if (sent) restore_time(*root);
  }

  Result<Node> make_file(const std::string& name, const Node& root) {
    LocalChanges& local = replica_->local();
    Result<Node> file =
        local.create(kRootNode, name, {S_IFREG | kMode, root.attr.uid, root.attr.gid, 0, 0, {}, {}});
    if (!file) return file;
    file = local.write(file->id, 0, std::as_bytes(std::span(kContents)));
    if (!file) return file;
    const FileTime time{static_cast<int64_t>(unix_now()) - 1, kTimeNs};
    file = local.change_attributes(file->id, {.mtime = time});
    if (file) syncer_->note_change(file->id);
    return file;
  }

  Result<void> flush(std::optional<NodeId> below) {
    return wait([&](Done<void> done) { syncer_->flush(below, std::move(done)); });
  }

  // What the source has made of it.
  void look_at(const std::string& name, NodeId file, double before_s) {
    const double after_s = unix_now();
    const Result<void> listed =
        wait([this](Done<void> done) { syncer_->refresh(kRootNode, std::move(done)); });
    if (!listed) return;
    const Result<Node> root = replica_->node(kRootNode);
    if (root) {
      const double time_s = static_cast<double>(root->attr.mtime_s) + root->attr.mtime_ns / 1e9;
      double ahead = 0;
      if (time_s < before_s - kClockSlackS) ahead = time_s - before_s;
      if (time_s > after_s + kClockSlackS) ahead = time_s - after_s;
      facts_.clock_ahead_s = ahead;
    }
    const Result<Node> now = replica_->lookup(kRootNode, name);
    const Result<Node> there = now ? Result<Node>(*now) : replica_->node(file);
    if (!there) return;
    facts_.keeps_fractions = there->attr.mtime_ns != 0;
    facts_.keeps_mode = (there->attr.mode & 07777) == kMode;
  }

  bool remove(const std::string& name) {
    const Result<NameEffect> gone = replica_->local().unlink(kRootNode, name);
    if (!gone) return false;
    for (unsigned i = 0; i < kRemovals; ++i) {
      syncer_->note_change(kRootNode);
      if (flush(std::nullopt)) return true;
      // What never got there need not be removed.
      const PendingSummary left = replica_->pending().summary();
      if (left.names == 0 && left.nodes == 0) return true;
    }
    return !facts_.wrote;
  }

  // The directory got a new time by both.
  void restore_time(const Node& root) {
    const FileTime time{root.attr.mtime_s, root.attr.mtime_ns};
    if (!replica_->local().change_attributes(kRootNode, {.mtime = time})) return;
    syncer_->note_change(kRootNode);
    static_cast<void>(flush(std::nullopt));
  }

  const SurveyRequest& request_;
  const std::chrono::seconds limit_;
  SourceFacts facts_;
  std::mutex mutex_;  // guards read_only_
  std::string read_only_;
  std::unique_ptr<Loop> loop_;
  std::unique_ptr<Replica> replica_;
  std::unique_ptr<Executor> executor_;
  std::unique_ptr<Syncer> syncer_;
  std::thread thread_;
};

}  // namespace

Result<SourceFacts> survey_source(const SurveyRequest& request) {
  const Result<StoreDirectory> directory = StoreDirectory::make();
  if (!directory) return directory.error();
  Result<LoopSelection> loop = make_loop(request.options.io);
  if (!loop) return loop.error();
  ReplicaOptions options;
  options.directory = directory->path() + "/store";
  options.source = request.source.canonical();
  options.io = request.options.io;
  Result<std::unique_ptr<Replica>> replica = Replica::open(options);
  if (!replica) return replica.error();
  Survey survey(std::move(loop->loop), std::move(replica.value()), request);
  return survey.ask();
}

}  // namespace rsyncfs
