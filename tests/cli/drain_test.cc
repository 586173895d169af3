// SPDX-License-Identifier: GPL-3.0-or-later
// Waiting for changes to be sent: progress, limits, what is left; and the draining that follows an unmount.
#include "fs/daemon/drain.h"

#include <sys/stat.h>

#include <future>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/support/temp_dir.h"
#include "tests/support/wait.h"

namespace rsyncfs {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using Kind = ControlAnswer::Kind;

// A Syncer of which only the pushing is asked; the test says how that goes. Everything on the loop thread.
class PushDouble final : public Syncer {
 public:
  explicit PushDouble(Loop& loop) : loop_(loop) {}

  SyncerStatus now;
  std::optional<NodeId> asked_below;
  int flushes = 0;
  int cancels = 0;
  void answer(Result<void> outcome) {
    if (flush_) std::exchange(flush_, nullptr)(std::move(outcome));
  }

  RequestId flush(std::optional<NodeId> below, Done<void> done) override {
    ++flushes;
    asked_below = below;
    flush_ = std::move(done);
    return kRequest;
  }
  void cancel(RequestId request) override {
    EXPECT_EQ(request, kRequest);
    ++cancels;
    loop_.post([this] { answer(Error(Errc::kCanceled, "canceled")); });
  }
  void status(UniqueFunction<void(SyncerStatus)> done) override {
    loop_.post([this, done = std::move(done)]() mutable { done(now); });
  }

  void start(Done<void>) override {}
  void shut_down(Task) override {}
  bool may_answer_listing(const Node&) const override { return true; }
  RequestId list_directory(NodeId, Done<void>) override { return 0; }
  void note_use(NodeId) override {}
  RequestId refresh(NodeId, Done<void>) override { return 0; }
  RequestId read(NodeId, uint64_t, uint32_t, Done<ReadBytes>) override { return 0; }
  RequestId fetch_xattrs(NodeId, Done<void>) override { return 0; }
  RequestId hydrate(NodeId, Done<void>) override { return 0; }
  RequestId compare(NodeId, Done<Comparison>) override { return 0; }
  void note_change(NodeId) override {}
  void resume(Done<void>) override {}
  const IdMap& ids() const override { return ids_; }

 private:
  static constexpr RequestId kRequest = 7;
  Loop& loop_;
  IdMap ids_{false};
  Done<void> flush_;
};

// Remembers what a client would get.
class Client final : public ControlReply {
 public:
  void send(const ControlAnswer& answer) override { heard.push_back(answer); }
  void finish(const ControlAnswer& answer) override { last = answer; }
  void on_gone(Task) override {}
  std::vector<ControlAnswer> heard;
  std::optional<ControlAnswer> last;
};

class DrainTest : public ::testing::Test {
 protected:
  void SetUp() override {
    Result<LoopSelection> selection = make_loop(IoChoice::kThreads);
    ASSERT_TRUE(selection.ok());
    loop = std::move(selection->loop);
    auto opened = Replica::open({.directory = dir / "store", .source = "rsync://h/m"});
    ASSERT_TRUE(opened.ok()) << opened.error().message();
    replica = std::move(opened.value());
    syncer = std::make_unique<PushDouble>(*loop);
    executor = std::make_unique<Executor>(1);
    offload = std::make_unique<Offload>(*loop, *executor);
    drain = std::make_unique<Drain>(*loop, context());
    syncer->now.link = LinkState::kUp;
    thread = std::thread([this] { loop->run(); });
  }
  void TearDown() override {
    on_loop([this] { syncer->answer({}); });
    on_loop([] {});
    loop->stop();
    thread.join();
  }
  WalkContext context() {
    local_only.emplace(*replica, FilterRules());
    return {*replica, *syncer, *offload, *local_only};
  }
  void on_loop(std::function<void()> work) {
    std::promise<void> done;
    loop->post([&] {
      work();
      done.set_value();
    });
    done.get_future().wait();
  }
  // What differs here though nothing was sent.
  void make_changes(int count) {
    for (int i = 0; i < count; ++i) {
      NewNode file;
      file.mode = S_IFREG | 0644;
      ASSERT_TRUE(replica->local().create(kRootNode, "f" + std::to_string(i), file).ok());
    }
  }
  std::shared_ptr<FlushWait> wait_for_flush(FlushWait::Scope scope, FlushWait::Limits limits) {
    auto wait = std::make_shared<FlushWait>(*loop, context(), std::move(scope), limits);
    on_loop([&] {
      wait->start([this](const JobProgress& now) { progress.push_back(now); },
                  [this](FlushOutcome end) { outcome.set_value(std::move(end)); });
    });
    return wait;
  }

  support::TempDir dir;
  std::unique_ptr<Loop> loop;
  std::unique_ptr<Replica> replica;
  std::optional<LocalOnly> local_only;
  std::unique_ptr<PushDouble> syncer;
  std::unique_ptr<Executor> executor;
  std::unique_ptr<Offload> offload;
  std::unique_ptr<Drain> drain;
  std::thread thread;
  std::vector<JobProgress> progress;  // loop thread
  std::promise<FlushOutcome> outcome;
};

TEST_F(DrainTest, AFlushEndsWhenTheSourceHasAll) {
  wait_for_flush({5, "a/b"}, {});
  on_loop([this] {
    EXPECT_EQ(syncer->asked_below, NodeId{5});
    syncer->answer({});
  });
  EXPECT_TRUE(outcome.get_future().get().all_sent);
  EXPECT_EQ(syncer->cancels, 0);
}

TEST_F(DrainTest, ProgressCountsWhatWasSeenPendingAndNeverGoesBack) {
  const auto pending = [this](uint64_t changes, uint64_t bytes) {
    on_loop([=, this] {
      syncer->now.push.pending_names = changes;
      syncer->now.push.pending_bytes = bytes;
    });
    size_t shown = 0;
    on_loop([&] { shown = progress.size(); });
    // Two: what was asked for before may come after.
    EXPECT_TRUE(support::wait_until(
        [&] {
          size_t now = 0;
          on_loop([&] { now = progress.size(); });
          return now >= shown + 2;
        },
        seconds(10)));
    JobProgress last;
    on_loop([&] { last = progress.back(); });
    return last;
  };
  wait_for_flush({}, {});
  JobProgress now = pending(10, 1000);
  EXPECT_EQ(now.files_done, 0U);
  EXPECT_EQ(now.files_total, 10U);
  now = pending(4, 400);
  EXPECT_EQ(now.files_done, 6U);
  EXPECT_EQ(now.bytes_done, 600U);
  now = pending(9, 900);
  EXPECT_EQ(now.files_done, 6U) << "new ones came: the total grows";
  EXPECT_EQ(now.files_total, 15U);
  EXPECT_EQ(now.bytes_total, 1500U);
  now = pending(0, 0);
  EXPECT_EQ(now.files_done, now.files_total);
}

TEST_F(DrainTest, TheLimitEndsItWithAListOfWhatIsLeft) {
  make_changes(2);
  on_loop([this] { syncer->now.push.failing = {"f1: No space left on device, retry in 3 s"}; });
  wait_for_flush({}, {.whole = milliseconds(300), .offline = {}});
  const FlushOutcome end = outcome.get_future().get();
  EXPECT_FALSE(end.all_sent);
  EXPECT_THAT(end.reason, HasSubstr("not within"));
  EXPECT_EQ(end.left.changes, 2U);
  ASSERT_EQ(end.left.first.size(), 2U);
  EXPECT_EQ(end.left.first[0].path, "f0");
  EXPECT_EQ(end.left.first[0].what, "new");
  EXPECT_EQ(end.left.first[1].what, "new: No space left on device, retry in 3 s");
  on_loop([this] { EXPECT_EQ(syncer->cancels, 1); });
}

TEST_F(DrainTest, AFailureEndsItAtOnce) {
  make_changes(1);
  wait_for_flush({}, {});
  on_loop([this] { syncer->answer(Error(Errc::kRefused, "module is read only")); });
  const FlushOutcome end = outcome.get_future().get();
  EXPECT_FALSE(end.all_sent);
  EXPECT_EQ(end.reason, "module is read only");
  EXPECT_EQ(unsent_line(end), "1 change is not on the source: module is read only");
}

TEST_F(DrainTest, WithoutAConnectionItIsGivenUpEarlier) {
  on_loop([this] {
    syncer->now.link = LinkState::kDown;
    syncer->now.last_error = "refused";
  });
  wait_for_flush({}, {.whole = seconds(600), .offline = milliseconds(400)});
  const FlushOutcome end = outcome.get_future().get();
  EXPECT_EQ(end.reason, "the source cannot be reached: refused");
}

TEST_F(DrainTest, ACanceledFlushIsNotHeardOfAgain) {
  const auto wait = wait_for_flush({}, {.whole = milliseconds(300), .offline = {}});
  on_loop([&] { wait->cancel(); });
  auto end = outcome.get_future();
  EXPECT_EQ(end.wait_for(milliseconds(600)), std::future_status::timeout);
  on_loop([this] { EXPECT_EQ(syncer->cancels, 1); });
}

TEST_F(DrainTest, OnlyPartOfTheTreeIsLookedAt) {
  make_changes(3);
  const auto left = unsent_changes(*replica, LocalOnly(*replica, {}), "f1", 10);
  ASSERT_TRUE(left.ok());
  EXPECT_EQ(left->changes, 1U);
  ASSERT_EQ(left->first.size(), 1U);
  EXPECT_EQ(left->first[0].path, "f1");
  EXPECT_EQ(unsent_changes(*replica, LocalOnly(*replica, {}), "", 2)->changes, 3U);
  EXPECT_EQ(unsent_changes(*replica, LocalOnly(*replica, {}), "", 2)->first.size(), 2U);
  EXPECT_THAT(unsent_changes(*replica, LocalOnly(*replica, {}), "f", 10)->first, IsEmpty())
      << "a name is no prefix of another one";
}

TEST_F(DrainTest, WhoAsksForAnUnmountHearsHowItGoes) {
  make_changes(1);
  const auto early = std::make_shared<Client>();
  const auto late = std::make_shared<Client>();
  std::promise<bool> done;
  on_loop([&] {
    drain->watch(early, std::nullopt);
    drain->start(seconds(600), [&done](const FlushOutcome& end) { done.set_value(end.all_sent); });
    drain->watch(late, seconds(1));
    EXPECT_TRUE(drain->is_running());
  });
  EXPECT_FALSE(done.get_future().get()) << "the limit of the second one counts";
  const auto after = std::make_shared<Client>();
  on_loop([&] {
    EXPECT_FALSE(drain->is_running());
    drain->watch(after, std::nullopt);
    for (const auto& client : {early, late, after}) {
      ASSERT_TRUE(client->last.has_value());
      EXPECT_EQ(client->last->failure, ControlFailure::kUnsent);
      EXPECT_THAT(client->last->reason, HasSubstr("1 change is not on the source: not within"));
      EXPECT_EQ(client->heard.back().kind, Kind::kFailedPath);
      EXPECT_EQ(client->heard.back().path, "f0");
    }
    EXPECT_EQ(early->heard.front().kind, Kind::kProgress);
    EXPECT_FALSE(drain->hand_over());
  });
}

TEST_F(DrainTest, ALimitThatCameWithTheUnmountCounts) {
  const auto client = std::make_shared<Client>();
  std::promise<void> done;
  on_loop([&] {
    drain->watch(client, seconds(0));
    drain->start(seconds(600), [&done](const FlushOutcome&) { done.set_value(); });
    EXPECT_LE(drain->latest_end(), Clock::now());
  });
  done.get_future().wait();
}

TEST_F(DrainTest, ASignalMakesItShorterAndNeverLonger) {
  std::promise<void> done;
  on_loop([&] {
    drain->start(seconds(600), [&done](const FlushOutcome&) { done.set_value(); });
    drain->shorten(milliseconds(300));
    drain->shorten(seconds(600));
    EXPECT_LE(drain->latest_end(), Clock::now() + milliseconds(300));
  });
  done.get_future().wait();
}

TEST_F(DrainTest, ANewMountTakesOver) {
  make_changes(1);
  const auto client = std::make_shared<Client>();
  std::promise<void> done;
  on_loop([&] {
    EXPECT_FALSE(drain->hand_over()) << "it is mounted";
    drain->start(seconds(600), [&done](const FlushOutcome&) { done.set_value(); });
    drain->watch(client, std::nullopt);
    EXPECT_TRUE(drain->hand_over());
  });
  done.get_future().wait();
  on_loop([&] { EXPECT_THAT(client->last->reason, HasSubstr("a new mount goes on")); });
}

TEST_F(DrainTest, WhenNothingIsToBeSentNobodyIsAsked) {
  const auto client = std::make_shared<Client>();
  on_loop([&] {
    drain->watch(client, std::nullopt);
    drain->skip();
    ASSERT_TRUE(client->last.has_value());
    EXPECT_EQ(client->last->kind, Kind::kDone);
    EXPECT_EQ(syncer->flushes, 0);
  });
}

}  // namespace
}  // namespace rsyncfs
