// SPDX-License-Identifier: GPL-3.0-or-later
// A read-write mount in a process of its own, which can be killed:
//   fs_mount_server STORE MOUNTPOINT SOURCE [keep_cache|passthrough]
// SOURCE "-" is a directory that is listed and stays as it is, whoever asks. Says "ready" and serves until
// somebody unmounts it or sends SIGTERM. Nothing is pushed that the Syncer does not push.
#include <csignal>
#include <cstdlib>
#include <future>
#include <iostream>
#include <memory>
#include <string>
#include <thread>

#include "fs/fuse/front.h"
#include "fs/fuse/notifier.h"
#include "fs/tree/tree.h"
#include "io/base/log.h"
#include "io/loop.h"
#include "sync/engine/syncer.h"
#include "sync/replica/replica.h"
#include "tests/fs/syncer_double.h"

namespace rsyncfs::testing {
namespace {

constexpr unsigned kExecutorThreads = 3;

template <class T>
T must(Result<T> result) {
  if (!result) {
    std::cerr << result.error().message() << '\n';
    std::exit(1);
  }
  return std::move(*result);
}

void must(const Result<void>& result) {
  if (!result) {
    std::cerr << result.error().message() << '\n';
    std::exit(1);
  }
}

void make_root(Replica& replica) {
  ListedName root;
  root.attr.mode = S_IFDIR | 0755;
  root.attr.uid = ::geteuid();
  root.attr.gid = ::getegid();
  root.attr.nlink = 2;
  root.attr.mtime_s = 1'600'000'000;
  HardLinkGroups groups;
  std::vector<NodeId> nodes;
  auto batch = must(replica.begin());
  must(batch->apply_attributes(kRootNode, root));
  must(batch->apply_directory(kRootNode, {}, true, groups, nodes));
  must(batch->commit());
}

class Server {
 public:
  Server(const std::string& store, const std::string& source) {
    ReplicaOptions options;
    options.directory = store;
    options.source = source;
    replica_ = must(Replica::open(options));
    executor_ = std::make_unique<Executor>(kExecutorThreads);
    source == "-" ? make_double() : make_syncer(source);
    TreeOptions tree_options;
    tree_options.events = &notifier_;
    tree_ = std::make_unique<Tree>(*replica_, *syncer_, *executor_, tree_options);
  }

  ~Server() {
    front_.reset();
    tree_.reset();
    std::promise<void> over;
    syncer_->shut_down([&over] { over.set_value(); });
    over.get_future().wait();
    if (loop_) loop_->stop();
    if (loop_thread_.joinable()) loop_thread_.join();
    executor_.reset();
    syncer_.reset();
  }

  void serve(const std::string& mountpoint, OpenProfile profile) {
    FrontOptions options;
    options.mountpoint = mountpoint;
    options.fsname = "mount-server";
    options.read_only = false;
    options.allow_other = ::geteuid() == 0;
    options.suid = ::geteuid() == 0;
    options.dev = ::geteuid() == 0;
    options.profile = profile;
    if (std::getenv("RSYNCFS_TEST_FUSE_DEBUG") != nullptr) options.debug = true;
    FrontEvents events;
    events.ended = [] { ::kill(::getpid(), SIGTERM); };
    front_ = must(Front::mount(options, *tree_, notifier_, std::move(events)));
    if (!front_->wait_ready(std::chrono::seconds(10))) std::exit(1);
    std::cout << "ready" << std::endl;
  }

  void print_requests() const {
    const FrontStatistics now = front_->statistics();
    for (size_t op = 0; op < now.requests.size(); ++op) {
      if (now.requests[op] == 0) continue;
      std::cout << front_op_name(static_cast<FrontOp>(op)) << ' ' << now.requests[op] << '\n';
    }
    std::cout << std::flush;
  }

 private:
  void make_double() {
    make_root(*replica_);
    syncer_ = std::make_unique<SyncerDouble>();
  }

  void make_syncer(const std::string& source) {
    loop_ = must(make_loop(IoChoice::kAuto)).loop;
    SyncerOptions options;
    options.source = must(parse_source(source));
    options.poll.mode = PollOptions::Mode::kOff;
    syncer_ = Syncer::create(*loop_, *executor_, *replica_, std::move(options), notifier_);
    loop_thread_ = std::thread([this] { loop_->run(); });
    std::promise<Result<void>> listed;
    syncer_->start([&listed](Result<void> done) { listed.set_value(std::move(done)); });
    must(listed.get_future().get());
  }

  std::unique_ptr<Replica> replica_;
  std::unique_ptr<Loop> loop_;
  std::thread loop_thread_;
  std::unique_ptr<Executor> executor_;
  Notifier notifier_;
  std::unique_ptr<Syncer> syncer_;
  std::unique_ptr<Tree> tree_;
  std::unique_ptr<Front> front_;
};

int run(int argc, char** argv) {
  if (argc < 4) return 2;
  sigset_t ends;
  ::sigemptyset(&ends);
  for (const int number : {SIGTERM, SIGINT, SIGUSR1}) ::sigaddset(&ends, number);
  ::pthread_sigmask(SIG_BLOCK, &ends, nullptr);
  if (std::getenv("RSYNCFS_TEST_LOG") != nullptr) log_to("", LogLevel::kDebug);
  const std::string profile = argc > 4 ? argv[4] : "no_open";
  Server server(argv[1], argv[3]);
  server.serve(argv[2], profile == "passthrough"  ? OpenProfile::kPassthrough
                        : profile == "keep_cache" ? OpenProfile::kKeepCache
                                                  : OpenProfile::kNoOpen);
  for (;;) {
    int number = 0;
    ::sigwait(&ends, &number);
    if (number != SIGUSR1) return 0;
    server.print_requests();
  }
}

}  // namespace
}  // namespace rsyncfs::testing

int main(int argc, char** argv) {
  return rsyncfs::testing::run(argc, argv);
}
