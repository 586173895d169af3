// SPDX-License-Identifier: GPL-3.0-or-later
// Child processes as streams: what they say, how they end, and that nothing of them is left behind.
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/transport/transport_rig.h"

namespace rsyncfs::test {
namespace {

using support::wait_until;
using ::testing::HasSubstr;

class SpawnTest : public TransportTest {
 protected:
  void spawn(std::vector<std::string> argv) {
    on_loop([&] { attempt = spawn_stream(loop(), std::move(argv), arrival.done()); });
    ASSERT_TRUE(eventually([this] { return arrival.calls > 0; }));
  }
  // A shell that runs `script`; what it says is in `seen`.
  void start(const std::string& script) {
    spawn({"sh", "-c", script});
    ASSERT_TRUE(arrival.ok()) << arrival.error().message();
    attach();
  }
  bool comes_to_an_end() {
    return eventually([this] { return seen.ended(); });
  }
  bool says_a_line() {
    return eventually([this] { return seen.bytes.find('\n') != std::string::npos; });
  }
  std::string last_words() {
    return on_loop([this] { return stream->last_words(); });
  }
  void drop_stream() {
    on_loop([this] { stream.reset(); });
  }
  // Whether the loop reaps all children of this process.
  static bool all_reaped(milliseconds limit = kPatience) {
    return wait_until(
        [] {
          siginfo_t info{};
          return ::waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) != 0 && errno == ECHILD;
        },
        limit);
  }
};

TEST_P(SpawnTest, BytesGoInAndOut) {
  start("read line; echo \"got $line\"");
  send("hello\n");
  ASSERT_TRUE(comes_to_an_end());
  EXPECT_EQ(seen.bytes, "got hello\n");
  EXPECT_TRUE(seen.end->ok());
  on_loop([this] {
    EXPECT_EQ(stream->bytes_in(), 10U);
    EXPECT_EQ(stream->bytes_out(), 6U);
  });
  drop_stream();
  EXPECT_TRUE(all_reaped());
}

TEST_P(SpawnTest, AProgramThatIsNotThereIsAnError) {
  spawn({"/none/such"});
  ASSERT_FALSE(arrival.ok());
  EXPECT_THAT(arrival.error().message(), HasSubstr("/none/such"));
  EXPECT_TRUE(all_reaped());
}

TEST_P(SpawnTest, AnAttemptThatIsGivenUpStartsNothing) {
  on_loop([this] { spawn_stream(loop(), {"sh", "-c", "sleep 60"}, arrival.done()).reset(); });
  on_loop([] {});  // what was posted before has run
  EXPECT_TRUE(all_reaped(milliseconds(0)));
  EXPECT_EQ(arrival.calls, 0);
}

TEST_P(SpawnTest, TheEndWaitsForTheReason) {
  // The data stream ends first; the words come later.
  start("exec 0<&- 1>&-; sleep 0.1; echo why >&2; exit 3");
  ASSERT_TRUE(comes_to_an_end());
  EXPECT_EQ(last_words(), "why");
}

TEST_P(SpawnTest, TheStatusSpeaksForASilentChild) {
  start("exit 3");
  ASSERT_TRUE(comes_to_an_end());
  EXPECT_THAT(last_words(), HasSubstr("status 3"));
  EXPECT_EQ(seen.ends, 1);
}

TEST_P(SpawnTest, AGrandchildThatKeepsStandardErrorHoldsNothingUp) {
  start("sleep 20 <&- >&- & echo why >&2");
  const auto begun = Clock::now();
  ASSERT_TRUE(comes_to_an_end());
  EXPECT_LT(seen.ended_at - begun, seconds(15));
  EXPECT_EQ(last_words(), "why");
  drop_stream();
  EXPECT_TRUE(all_reaped());
}

TEST_P(SpawnTest, LongComplaintsKeepTheirEnd) {
  start("head -c 100000 /dev/zero | tr '\\0' x >&2; echo last >&2");
  ASSERT_TRUE(comes_to_an_end());
  EXPECT_LE(last_words().size(), 4096U);
  EXPECT_THAT(last_words(), HasSubstr("xlast"));
}

TEST_P(SpawnTest, TheStreamsEndIsTheChilds) {
  start("cat >/dev/null; echo gone");
  drop_stream();
  EXPECT_TRUE(all_reaped());
  EXPECT_EQ(seen.ends, 0) << "nobody is told after the stream is gone";
}

TEST_P(SpawnTest, AChildThatDoesNotListenIsEndedBySigterm) {
  start("echo ready; exec sleep 600");
  ASSERT_TRUE(says_a_line());
  drop_stream();
  EXPECT_TRUE(all_reaped());
}

TEST_P(SpawnTest, AChildThatIgnoresSigtermIsKilled) {
  start("trap '' TERM; echo ready; while :; do sleep 0.1; done");
  ASSERT_TRUE(says_a_line());
  drop_stream();
  EXPECT_TRUE(all_reaped());
}

TEST_P(SpawnTest, AChildThatOutlivesTheLoopIsEndedToo) {
  start("echo $$; exec sleep 600");
  ASSERT_TRUE(says_a_line());
  end_loop();
  const pid_t pid = std::stoi(seen.bytes);
  int status = 0;
  EXPECT_TRUE(wait_until([&] { return ::waitpid(pid, &status, WNOHANG) == pid; }, kPatience));
  EXPECT_TRUE(WIFSIGNALED(status));
}

TEST_P(SpawnTest, TheStreamMayBeDestroyedWhenItEnds) {
  seen.on_change = [this] {
    if (seen.ended()) stream.reset();
  };
  start("echo bye");
  ASSERT_TRUE(comes_to_an_end());
  EXPECT_EQ(seen.bytes, "bye\n");
  EXPECT_EQ(seen.ends, 1);
  EXPECT_TRUE(all_reaped());
}

// What a program that ignores signals hands on to those it starts.
class Ignored {
 public:
  explicit Ignored(int number) : number_(number), before_(::signal(number, SIG_IGN)) {}
  ~Ignored() { ::signal(number_, before_); }
  Ignored(const Ignored&) = delete;
  Ignored& operator=(const Ignored&) = delete;

 private:
  int number_;
  sighandler_t before_;
};

TEST_P(SpawnTest, AChildThatWasReapedElsewhereHasEnded) {
  const Ignored sigchld(SIGCHLD);
  // An end that is not noticed is waited for 500 ms every time; on a busy machine one of these is quicker.
  constexpr int kRounds = 10;
  Clock::duration shortest = seconds(60);
  for (int round = 0; round < kRounds; ++round) {
    const auto begun = Clock::now();
    start("exit 3");
    ASSERT_TRUE(comes_to_an_end());
    shortest = std::min(shortest, seen.ended_at - begun);
    drop_stream();
    seen = {};
    arrival = {};
  }
  EXPECT_LT(shortest, milliseconds(450));
}

TEST_P(SpawnTest, TheChildDoesNotInheritWhatWeIgnore) {
  const Ignored sigchld(SIGCHLD);
  const Ignored sigpipe(SIGPIPE);
  start("grep SigIgn /proc/self/status");
  ASSERT_TRUE(comes_to_an_end());
  const auto ignores = std::stoull(seen.bytes.substr(seen.bytes.find(':') + 1), nullptr, 16);
  for (const int number : {SIGCHLD, SIGPIPE, SIGTERM, SIGINT, SIGHUP}) {
    EXPECT_EQ(ignores & (1ULL << (number - 1)), 0U) << number;
  }
}

TEST_P(SpawnTest, StandardInputAndOutputBlockAsProgramsExpect) {
  start("grep -h flags /proc/self/fdinfo/0 /proc/self/fdinfo/1");
  ASSERT_TRUE(comes_to_an_end());
  size_t descriptors = 0;
  for (size_t at = seen.bytes.find(':'); at != std::string::npos; at = seen.bytes.find(':', at + 1)) {
    EXPECT_EQ(std::stoull(seen.bytes.substr(at + 1), nullptr, 8) & O_NONBLOCK, 0U) << seen.bytes;
    ++descriptors;
  }
  EXPECT_EQ(descriptors, 2U) << seen.bytes;
}

// As on kernels and in sandboxes without pidfd_open(2); for the calling thread only.
bool forbid_pidfd_open() {
  sock_filter program[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_pidfd_open, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  const sock_fprog filter{sizeof program / sizeof program[0], program};
  return ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
         ::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) == 0;
}

TEST_P(SpawnTest, ChildrenAreReapedWithoutPidfds) {
  if (!on_loop([] { return forbid_pidfd_open(); })) GTEST_SKIP() << "no seccomp here";
  start("trap '' TERM; echo ready; while :; do sleep 0.1; done");
  ASSERT_TRUE(says_a_line());
  drop_stream();
  EXPECT_TRUE(all_reaped());
}

TEST_P(SpawnTest, AStatusIsKnownWithoutPidfds) {
  if (!on_loop([] { return forbid_pidfd_open(); })) GTEST_SKIP() << "no seccomp here";
  start("exit 3");
  ASSERT_TRUE(comes_to_an_end());
  EXPECT_THAT(last_words(), HasSubstr("status 3"));
}

INSTANTIATE_TEST_SUITE_P(Engines, SpawnTest, kEngines, engine_name);

}  // namespace
}  // namespace rsyncfs::test
