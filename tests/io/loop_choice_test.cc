// SPDX-License-Identifier: GPL-3.0-or-later
// Which engine is taken, proved with real seccomp filters such as containers use.
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstddef>
#include <functional>

#include "io/file_batch.h"
#include "tests/io/loop_fixture.h"

namespace rsyncfs::test {
namespace {

// From here on the calling process gets `error` for one system call.
bool forbid(long syscall_number, int error) {
  std::array<sock_filter, 4> code = {
      sock_filter BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      sock_filter BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, static_cast<unsigned>(syscall_number), 0, 1),
      sock_filter BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | static_cast<unsigned>(error)),
      sock_filter BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  const sock_fprog program{code.size(), code.data()};
  return ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
         ::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

// A loop that was chosen has to work as well: a byte through a socket and a file read.
bool works(Loop& loop) {
  const FdPair pair = make_socketpair();
  const UniqueFd file = make_temp_file("content");
  std::string byte(1, '.');
  std::string text(7, '.');
  int left = 2;
  const auto done = [&](const Result<size_t>& result) {
    if (!result.ok() || --left == 0) loop.stop();
  };
  loop.recv(pair.first.get(), writable(byte), done);
  loop.read_at(file.get(), writable(text), 0, done);
  loop.post([&] {
    if (::write(pair.second.get(), "x", 1) != 1) loop.stop();
  });
  loop.run();
  return byte == "x" && text == "content";
}

// A batch likewise: more reads than one, and more syncs.
bool works(FileBatch& batch) {
  const UniqueFd file = make_temp_file("content");
  std::string text(7, '.');
  std::array<FileRead, 2> reads = {FileRead{file.get(), 0, writable(text).first(3)},
                                   FileRead{file.get(), 3, writable(text).subspan(3)}};
  batch.read(reads);
  std::array<FileSync, 2> syncs = {FileSync{file.get()}, FileSync{-1}};
  batch.sync(syncs);
  return text == "content" && syncs[0].error == 0 && syncs[1].error == EBADF;
}

// Runs `body` in a child, because a filter cannot be taken back; what it returns is what went wrong, or
// nothing.
std::string in_child(const std::function<std::string()>& body) {
  const FdPair report = make_pipe();
  const pid_t child = ::fork();
  if (child == 0) {
    const std::string text = body();
    const bool written = ::write(report.second.get(), text.data(), text.size()) >= 0;
    ::_exit(text.empty() && written ? 0 : 1);
  }
  int status = 0;
  EXPECT_EQ(::waitpid(child, &status, 0), child);
  std::string text(4096, '\0');
  ::fcntl(report.first.get(), F_SETFL, O_NONBLOCK);
  const ssize_t size = ::read(report.first.get(), text.data(), text.size());
  text.resize(size > 0 ? static_cast<size_t>(size) : 0);
  if (!WIFEXITED(status) || (WEXITSTATUS(status) != 0 && text.empty())) {
    text += " child status " + std::to_string(status);
  }
  return text;
}

std::string wrong_with_batch_choice(const std::string& why) {
  auto chosen = make_file_batch(IoChoice::kAuto);
  if (!chosen.ok()) return "batch: " + chosen.error().message();
  if (chosen->batch->engine() != "threads") return "the batch took " + std::string(chosen->batch->engine());
  if (chosen->reason != "threads: " + why) return "the batch's reason: " + chosen->reason;
  if (!works(*chosen->batch)) return "the batch does not work";
  const auto insisted = make_file_batch(IoChoice::kUring);
  if (insisted.ok()) return "io=uring did not fail for the batch";
  if (insisted.error().message() != why) return "the batch's error: " + insisted.error().message();
  return {};
}

std::string expect_fallback(long forbidden, int error, const std::string& why) {
  return in_child([&]() -> std::string {
    if (!forbid(forbidden, error)) return "no filter";
    auto chosen = make_loop(IoChoice::kAuto);
    if (!chosen.ok()) return chosen.error().message();
    if (chosen->loop->engine() != "threads") return "took " + std::string(chosen->loop->engine());
    if (chosen->reason != "threads: " + why) return "reason: " + chosen->reason;
    if (!works(*chosen->loop)) return "does not work";
    const auto insisted = make_loop(IoChoice::kUring);
    if (insisted.ok()) return "io=uring did not fail";
    if (insisted.error().message() != why) return "error: " + insisted.error().message();
    return wrong_with_batch_choice(why);
  });
}

TEST(LoopChoice, ParsesTheOption) {
  EXPECT_EQ(*parse_io_choice("auto"), IoChoice::kAuto);
  EXPECT_EQ(*parse_io_choice("uring"), IoChoice::kUring);
  EXPECT_EQ(*parse_io_choice("threads"), IoChoice::kThreads);
  for (const char* const wrong : {"", "Auto", "epoll", "uring ", "aut"}) {
    const auto parsed = parse_io_choice(wrong);
    ASSERT_FALSE(parsed.ok()) << wrong;
    EXPECT_EQ(parsed.error().code(), Errc::kUsage);
  }
}

TEST(LoopChoice, ThreadsAreTakenWhenAskedFor) {
  auto chosen = make_loop(IoChoice::kThreads);
  ASSERT_TRUE(chosen.ok());
  EXPECT_EQ(chosen->loop->engine(), "threads");
  EXPECT_EQ(chosen->reason, "threads: asked for");
  EXPECT_TRUE(works(*chosen->loop));
  auto batch = make_file_batch(IoChoice::kThreads);
  ASSERT_TRUE(batch.ok());
  EXPECT_EQ(batch->batch->engine(), "threads");
  EXPECT_EQ(batch->reason, "threads: asked for");
  EXPECT_TRUE(works(*batch->batch));
}

TEST(LoopChoice, UringIsTakenWhereItWorks) {
  auto insisted = make_loop(IoChoice::kUring);
  if (!insisted.ok()) GTEST_SKIP() << insisted.error().message();
  auto chosen = make_loop(IoChoice::kAuto);
  ASSERT_TRUE(chosen.ok());
  EXPECT_EQ(chosen->loop->engine(), "io_uring");
  EXPECT_TRUE(chosen->reason.starts_with("io_uring: 64 entries")) << chosen->reason;
  EXPECT_TRUE(works(*chosen->loop));
  auto batch = make_file_batch(IoChoice::kAuto);
  ASSERT_TRUE(batch.ok());
  EXPECT_EQ(batch->batch->engine(), "io_uring");
  EXPECT_EQ(batch->reason, chosen->reason);
  EXPECT_TRUE(works(*batch->batch));
}

TEST(LoopChoice, FallsBackWhenRingsAreNotPermitted) {
  EXPECT_EQ(expect_fallback(SYS_io_uring_setup, EPERM, "io_uring_setup: Operation not permitted"), "");
}

TEST(LoopChoice, FallsBackWhenThereIsNoSuchSystemCall) {
  EXPECT_EQ(expect_fallback(SYS_io_uring_setup, ENOSYS, "io_uring_setup: Function not implemented"), "");
}

TEST(LoopChoice, FallsBackWhenRingsCanBeMadeButNotUsed) {
  if (!make_loop(IoChoice::kUring).ok()) GTEST_SKIP() << "no io_uring to forbid a part of";
  EXPECT_EQ(expect_fallback(SYS_io_uring_enter, EPERM, "io_uring_enter: Operation not permitted"), "");
  EXPECT_EQ(expect_fallback(SYS_io_uring_enter, ENOSYS, "io_uring_enter: Function not implemented"), "");
  EXPECT_EQ(expect_fallback(SYS_io_uring_register, EPERM, "io_uring cannot be asked for its operations"), "");
}

// The filter comes when the batch has been chosen: threads that have no ring yet get none, and go on without.
TEST(LoopChoice, ABatchGoesOnInThreadsThatGetNoRing) {
  if (!make_file_batch(IoChoice::kUring).ok()) GTEST_SKIP() << "no io_uring to forbid";
  const std::string wrong = in_child([]() -> std::string {
    auto chosen = make_file_batch(IoChoice::kUring);
    if (!chosen.ok()) return chosen.error().message();
    if (!forbid(SYS_io_uring_setup, ENOMEM)) return "no filter";
    return works(*chosen->batch) ? "" : "does not work";
  });
  EXPECT_EQ(wrong, "");
}

TEST(LoopChoice, ThreadsWorkWithoutTheNewerSystemCalls) {
  // Sandboxes also know neither epoll_pwait2 nor preadv2 and pwritev2.
  const std::string wrong = in_child([]() -> std::string {
    for (const long call : {SYS_epoll_pwait2, SYS_preadv2, SYS_pwritev2}) {
      if (!forbid(call, ENOSYS)) return "no filter";
    }
    auto chosen = make_loop(IoChoice::kThreads);
    if (!chosen.ok()) return chosen.error().message();
    if (!works(*chosen->loop)) return "does not work";
    // A pipe takes the longest way round without them.
    const FdPair pipe = make_pipe();
    const std::string text = pattern(300'000, 9);
    std::string received(text.size(), '\0');
    size_t sent = 0;
    size_t got = 0;
    Loop& loop = *chosen->loop;
    std::function<void()> send = [&] {
      const iovec rest = part(std::string_view(text).substr(sent));
      loop.send(pipe.second.get(), {&rest, 1}, [&](Result<size_t> n) {
        if (!n.ok()) return loop.stop();
        sent += *n;
        if (sent < text.size()) send();
      });
    };
    std::function<void()> recv = [&] {
      loop.recv(pipe.first.get(), writable(received).subspan(got), [&](Result<size_t> n) {
        if (n.ok()) got += *n;
        if (!n.ok() || got == text.size()) return loop.stop();
        recv();
      });
    };
    send();
    loop.run_after(std::chrono::milliseconds(5), recv);
    loop.run();
    return received == text ? "" : "pipe: " + std::to_string(got) + " bytes arrived";
  });
  EXPECT_EQ(wrong, "");
}

}  // namespace
}  // namespace rsyncfs::test
