// SPDX-License-Identifier: GPL-3.0-or-later
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <utility>

#include "sync/transport/connect.h"

extern char** environ;  // NOLINT: POSIX gives it no header

namespace rsyncfs {

namespace {

// What is kept of a child's standard error.
constexpr size_t kMaxErrorText = 4096;
// A child that does not end by itself after its pipes are closed is sent SIGTERM, then SIGKILL.
constexpr std::chrono::seconds kGrace{2};
// Standard error may stay open, in what the child left behind: it is waited for no longer than this.
constexpr std::chrono::milliseconds kSettleLimit{500};

// One child process: its standard error is drained on the loop, and it is reaped there. Owns itself through
// the operations under way.
struct Child : std::enable_shared_from_this<Child> {
  Child(Loop& l, pid_t p, int e) : loop(l), pid(p), err_fd(e) {}
  ~Child() {
    // Only a loop that is destroyed before the child has ended comes here with one that lives.
    if (!reaped) send_signal(SIGTERM);
    if (err_fd >= 0) ::close(err_fd);
    if (pid_fd >= 0) ::close(pid_fd);
  }
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;

  void start() {
    drain();
    pid_fd = static_cast<int>(::syscall(SYS_pidfd_open, pid, 0));
    if (pid_fd >= 0) {
      loop.poll_readable(pid_fd, [self = shared_from_this()](const Result<size_t>&) { self->reap(); });
    }
  }

  void drain() {
    loop.recv(err_fd, buffer, [self = shared_from_this()](Result<size_t> got) {
      if (!got || *got == 0) {
        self->silent = true;
        if (self->reaped) self->finish_settling();
        return;
      }
      self->text.append(reinterpret_cast<const char*>(self->buffer.data()), *got);  // NOLINT: bytes as text
      if (self->text.size() > kMaxErrorText) self->text.erase(0, self->text.size() - kMaxErrorText);
      self->drain();
    });
  }

  // The data pipe often ends before the reason for it has been read from standard error, or the child reaped.
  void settle(UniqueFunction<void()> done) {
    reap();
    settled = std::move(done);
    if (silent && reaped) return finish_settling();
    loop.run_after(kSettleLimit, [self = shared_from_this()] {
      self->reap();
      self->finish_settling();
    });
  }

  void finish_settling() {
    if (!settled) return;
    auto call = std::exchange(settled, nullptr);
    call();
  }

  void reap() {
    if (reaped) return;
    const pid_t got = ::waitpid(pid, &status, WNOHANG);
    if (got == 0) return;
    if (got < 0) status = 0;  // ECHILD: it has ended, and somebody else was told how
    reaped = true;
    if (silent) finish_settling();
  }

  // Until it is reaped the pid stays its own; the pidfd is its own for ever.
  void send_signal(int number) const {
    if (pid_fd >= 0) {
      (void)::syscall(SYS_pidfd_send_signal, pid_fd, number, nullptr, 0);
    } else {
      (void)::kill(pid, number);
    }
  }

  // After the stream is gone: its end of the pipes is closed, so the child should end; make sure of it, and
  // that it is reaped where no pidfd tells of its end.
  void end(int signal) {
    reap();
    if (reaped) return;
    if (signal != 0) send_signal(signal);
    const int next = signal == 0 ? SIGTERM : SIGKILL;
    loop.run_after(kGrace, [self = shared_from_this(), next] { self->end(next); });
  }

  Loop& loop;
  const pid_t pid;
  int err_fd;
  int pid_fd = -1;
  bool reaped = false;
  int status = 0;       // as waitpid(2) has it, once reaped
  bool silent = false;  // standard error is at its end
  UniqueFunction<void()> settled;
  std::array<std::byte, 1024> buffer{};
  std::string text;
};

class ChildPeer final : public Stream::Peer {
 public:
  explicit ChildPeer(std::shared_ptr<Child> child) : child_(std::move(child)) {}
  ~ChildPeer() override { child_->end(0); }
  ChildPeer(const ChildPeer&) = delete;
  ChildPeer& operator=(const ChildPeer&) = delete;

  std::string last_words() override {
    std::string out;
    for (const char c : child_->text) {
      if (c != '\r') out += c == '\n' ? ' ' : c;
    }
    while (!out.empty() && out.back() == ' ') out.pop_back();
    if (!out.empty() || !child_->reaped || child_->status == 0) return out;
    if (WIFSIGNALED(child_->status))
      return "the remote shell was ended by signal " + std::to_string(WTERMSIG(child_->status));
    return "the remote shell ended with status " + std::to_string(WEXITSTATUS(child_->status));
  }

  void settle(UniqueFunction<void()> done) override { child_->settle(std::move(done)); }

 private:
  std::shared_ptr<Child> child_;
};

class SpawnAttempt final : public ConnectAttempt {
 public:
  explicit SpawnAttempt(std::shared_ptr<StreamDone> done) : done_(std::move(done)) {}
  ~SpawnAttempt() override { *done_ = nullptr; }
  SpawnAttempt(const SpawnAttempt&) = delete;
  SpawnAttempt& operator=(const SpawnAttempt&) = delete;

 private:
  std::shared_ptr<StreamDone> done_;
};

struct SpawnFiles {
  posix_spawn_file_actions_t actions{};
  posix_spawnattr_t attributes{};
  SpawnFiles() {
    ::posix_spawn_file_actions_init(&actions);
    ::posix_spawnattr_init(&attributes);
  }
  ~SpawnFiles() {
    ::posix_spawn_file_actions_destroy(&actions);
    ::posix_spawnattr_destroy(&attributes);
  }
  SpawnFiles(const SpawnFiles&) = delete;
  SpawnFiles& operator=(const SpawnFiles&) = delete;
};

Result<std::unique_ptr<Stream>> spawn(Loop& loop, const std::vector<std::string>& argv) {
  int data[2];
  int errors[2];
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, data) != 0) return Error::os(errno, "socketpair");
  if (::pipe2(errors, O_CLOEXEC) != 0) {
    const int err = errno;
    ::close(data[0]);
    ::close(data[1]);
    return Error::os(err, "pipe");
  }
  SpawnFiles files;
  ::posix_spawn_file_actions_adddup2(&files.actions, data[1], 0);
  ::posix_spawn_file_actions_adddup2(&files.actions, data[1], 1);
  ::posix_spawn_file_actions_adddup2(&files.actions, errors[1], 2);
  // A signal typed at our terminal is ours to handle; and the daemon's ignored signals are not the child's.
  sigset_t defaults;
  sigemptyset(&defaults);
  for (const int s : {SIGPIPE, SIGHUP, SIGINT, SIGTERM, SIGCHLD}) sigaddset(&defaults, s);
  sigset_t none;
  sigemptyset(&none);
  ::posix_spawnattr_setsigdefault(&files.attributes, &defaults);
  ::posix_spawnattr_setsigmask(&files.attributes, &none);
  ::posix_spawnattr_setpgroup(&files.attributes, 0);
  ::posix_spawnattr_setflags(&files.attributes,
                             POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETPGROUP);
  std::vector<char*> words;
  words.reserve(argv.size() + 1);
  for (const auto& word : argv)
    words.push_back(const_cast<char*>(word.c_str()));  // NOLINT: exec's old signature
  words.push_back(nullptr);
  pid_t pid = -1;
  const int rc = ::posix_spawnp(&pid, words[0], &files.actions, &files.attributes, words.data(), environ);
  ::close(data[1]);
  ::close(errors[1]);
  if (rc != 0) {
    ::close(data[0]);
    ::close(errors[0]);
    return Error::os(rc, "cannot run " + argv[0]);
  }
  auto child = std::make_shared<Child>(loop, pid, errors[0]);
  child->start();
  return std::make_unique<Stream>(loop, data[0], data[0], std::make_unique<ChildPeer>(std::move(child)));
}

bool plain(char c) {
  const auto u = static_cast<unsigned char>(c);
  return std::isalnum(u) != 0 || u >= 0x80 ||
         std::string_view("_./=,:@%+-").find(c) != std::string_view::npos;
}

// How much of `path` names a home directory, "~" or "~user", and is left to the remote shell: 0 unless it can
// be nothing else there.
size_t home_length(std::string_view path) {
  if (!path.starts_with('~')) return 0;
  const size_t length = std::min(path.find('/'), path.size());
  const bool names_user =
      std::all_of(path.begin() + 1, path.begin() + static_cast<ptrdiff_t>(length), [](char c) {
        return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '.' || c == '_' || c == '-';
      });
  return names_user ? length : 0;
}

}  // namespace

std::unique_ptr<ConnectAttempt> spawn_stream(Loop& loop, std::vector<std::string> argv, StreamDone done) {
  auto call = std::make_shared<StreamDone>(std::move(done));
  loop.post([&loop, call, argv = std::move(argv)] {
    if (!*call) return;
    StreamDone once = std::move(*call);
    *call = nullptr;
    once(spawn(loop, argv));
  });
  return std::make_unique<SpawnAttempt>(std::move(call));
}

std::string shell_escape(std::string_view word) {
  if (word.empty()) return "''";
  std::string out;
  if (word.find('\n') != std::string_view::npos) {  // a backslash would swallow the newline
    out = "'";
    for (const char c : word) {
      if (c == '\'') {
        out += "'\\''";
      } else {
        out += c;
      }
    }
    return out + "'";
  }
  for (const char c : word) {
    if (!plain(c)) out += '\\';
    out += c;
  }
  return out;
}

// Separated by blanks, single or double quotes keep them together (rsync's do_cmd()).
Result<std::vector<std::string>> shell_words(std::string_view text) {
  std::vector<std::string> words;
  std::string word;
  bool inside = false;
  char quote = 0;
  for (const char c : text) {
    if (quote != 0) {
      if (c == quote) {
        quote = 0;
      } else {
        word += c;
      }
    } else if (c == '\'' || c == '"') {
      quote = c;
      inside = true;
    } else if (c == ' ' || c == '\t') {
      if (inside) words.push_back(std::exchange(word, {}));
      inside = false;
    } else {
      word += c;
      inside = true;
    }
  }
  if (quote != 0) return Error(Errc::kUsage, "rsh: a quote is not closed in '" + std::string(text) + "'");
  if (inside) words.push_back(std::move(word));
  if (words.empty()) return Error(Errc::kUsage, "rsh: it is empty");
  return words;
}

Result<std::vector<std::string>> remote_shell_command(std::string_view remote_shell, std::string_view user,
                                                      std::string_view host, std::string_view rsync_path,
                                                      const std::vector<std::string>& server_args,
                                                      std::chrono::milliseconds connect_limit,
                                                      const std::vector<std::string>& shell_options) {
  std::vector<std::string> argv;
  if (remote_shell.empty()) {
    // Nobody is there to answer a prompt when the mount reconnects in the background.
    const auto limit_s =
        std::max<int64_t>(1, std::chrono::duration_cast<std::chrono::seconds>(connect_limit).count());
    argv = {"ssh", "-oBatchMode=yes", "-oConnectTimeout=" + std::to_string(limit_s),
            "-oServerAliveInterval=15"};
  } else {
    auto words = shell_words(remote_shell);
    if (!words) return words.error();
    argv = std::move(*words);
  }
  argv.insert(argv.end(), shell_options.begin(), shell_options.end());
  if (!user.empty()) {
    argv.emplace_back("-l");
    argv.emplace_back(user);
  }
  argv.emplace_back(host);
  argv.emplace_back(rsync_path);  // may be several words for the remote shell, as with rsync
  for (size_t i = 0; i < server_args.size(); ++i) {
    const std::string& arg = server_args[i];
    const size_t bare = i + 1 == server_args.size() ? home_length(arg) : 0;
    const std::string_view rest = std::string_view(arg).substr(bare);
    argv.push_back(arg.substr(0, bare) + (bare > 0 && rest.empty() ? "" : shell_escape(rest)));
  }
  return argv;
}

}  // namespace rsyncfs
