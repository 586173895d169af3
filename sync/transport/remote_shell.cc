// SPDX-License-Identifier: GPL-3.0-or-later
#include "sync/transport/remote_shell.h"

#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <csignal>
#include <random>
#include <utility>

#include "io/base/log.h"

extern char** environ;  // NOLINT: POSIX gives it no header

namespace rsyncfs {

namespace {

// A shared connection that has no session ends by itself after so long: what a killed daemon leaves behind.
constexpr const char* kPersist = "-oControlPersist=60";
// `ssh -G` says how ssh is configured, without the network.
constexpr std::chrono::seconds kAskLimit{2};
constexpr size_t kMaxConfiguration = 256 * 1024;
constexpr int kEndLimitMs = 1'000;  // for `ssh -O exit`
// ssh binds a longer name first.
constexpr size_t kLongestSocket = sizeof(sockaddr_un::sun_path) - 1 - 17;
// Connections that were left because of a stall: the oldest end by themselves.
constexpr size_t kMaxLeft = 8;

std::string lower(std::string_view text) {
  std::string out(text);
  std::ranges::transform(out, out.begin(), [](unsigned char c) { return std::tolower(c); });
  return out;
}

// What ssh takes as it stands in -oControlPath=.
bool is_plain(char c) {
  return std::isalnum(static_cast<unsigned char>(c)) != 0 ||
         std::string_view("/._-+").find(c) != std::string_view::npos;
}

// Runs it to its end, or for so long, with nothing to read and nobody who listens.
void run_quietly(const std::vector<std::string>& argv) {
  std::vector<char*> words;
  for (const auto& word : argv)
    words.push_back(const_cast<char*>(word.c_str()));  // NOLINT: exec's old signature
  words.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  ::posix_spawn_file_actions_init(&actions);
  for (const int fd : {0, 1, 2}) ::posix_spawn_file_actions_addopen(&actions, fd, "/dev/null", O_RDWR, 0);
  pid_t pid = -1;
  const int failed = ::posix_spawnp(&pid, words[0], &actions, nullptr, words.data(), environ);
  ::posix_spawn_file_actions_destroy(&actions);
  if (failed != 0) return;
  pollfd end{static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)), POLLIN, 0};
  if (end.fd < 0 || ::poll(&end, 1, kEndLimitMs) == 0) ::kill(pid, SIGKILL);
  ::waitpid(pid, nullptr, 0);
  if (end.fd >= 0) ::close(end.fd);
}

}  // namespace

bool may_share_connection(const std::vector<std::string>& remote_shell) {
  if (remote_shell.empty()) return true;
  const std::string& program = remote_shell.front();
  if (program.substr(program.rfind('/') + 1) != "ssh") return false;
  return std::none_of(remote_shell.begin() + 1, remote_shell.end(), [](const std::string& word) {
    const bool master = word.starts_with("-M") || word.starts_with("-S") || word.starts_with("-O");
    return master || lower(word).find("control") != std::string::npos;
  });
}

bool leaves_sharing_open(std::string_view configuration) {
  bool hostname = false;
  while (!configuration.empty()) {
    const size_t end = std::min(configuration.find('\n'), configuration.size());
    const std::string line = lower(configuration.substr(0, end));
    configuration.remove_prefix(std::min(end + 1, configuration.size()));
    hostname = hostname || line.starts_with("hostname ");
    if (line.starts_with("controlpath ") && line != "controlpath none") return false;
    const bool master = line.starts_with("controlmaster ");
    if (master && line != "controlmaster false" && line != "controlmaster no") return false;
  }
  return hostname;  // else it is no OpenSSH that has answered
}

namespace {

// Waits for what ssh says of its configuration, then for the program to be started.
struct WaitingConnect {
  std::vector<std::string> server_args;
  StreamDone done;  // null: given up
  std::unique_ptr<ConnectAttempt> attempt;
};

class ShellAttempt final : public ConnectAttempt {
 public:
  explicit ShellAttempt(std::shared_ptr<WaitingConnect> waiting) : waiting_(std::move(waiting)) {}
  ~ShellAttempt() override {
    waiting_->done = nullptr;
    waiting_->attempt.reset();
  }
  ShellAttempt(const ShellAttempt&) = delete;
  ShellAttempt& operator=(const ShellAttempt&) = delete;

 private:
  std::shared_ptr<WaitingConnect> waiting_;
};

}  // namespace

struct RemoteShell::State : std::enable_shared_from_this<RemoteShell::State>, Stream::Handler {
  enum class Sharing : uint8_t { kUnknown, kAsking, kNo, kYes };

  State(Loop& l, RemoteShellOptions o) : loop(l), options(std::move(o)) {
    const auto words = shell_words(options.command);
    if (words) shell = *words;
    const bool candidate = (words || options.command.empty()) && may_share_connection(shell);
    const bool plain = std::ranges::all_of(options.socket_directory, is_plain);
    if (!candidate || options.socket_directory.empty() || !plain || socket().size() > kLongestSocket)
      sharing = Sharing::kNo;
  }

  std::string socket() const {
    return options.socket_directory + "/ssh." + std::to_string(own_number) + "." + std::to_string(generation);
  }

  // ssh with what the user gave it.
  std::vector<std::string> ssh(const std::vector<std::string>& more) const {
    std::vector<std::string> out = shell.empty() ? std::vector<std::string>{"ssh"} : shell;
    out.insert(out.end(), more.begin(), more.end());
    if (!options.user.empty()) out.insert(out.end(), {"-l", options.user});
    out.push_back(options.host);
    return out;
  }

  void ask() {
    sharing = Sharing::kAsking;
    asking = spawn_stream(loop, ssh({"-G"}), [this](Result<std::unique_ptr<Stream>> stream) {
      if (!stream) return decide(false);
      answer = std::move(*stream);
      answer->start(*this);
    });
    ask_timer = loop.run_after(kAskLimit, [self = shared_from_this()] {
      self->ask_timer = 0;
      self->decide(false);
    });
  }

  void on_bytes(std::span<const std::byte> data) override {
    configuration.append(reinterpret_cast<const char*>(data.data()), data.size());  // NOLINT: bytes as text
    if (configuration.size() > kMaxConfiguration) decide(false);
  }
  void on_end(Result<void> /*why*/) override { decide(leaves_sharing_open(configuration)); }

  void decide(bool shares) {
    if (sharing != Sharing::kAsking) return;
    sharing = shares ? Sharing::kYes : Sharing::kNo;
    log_info(shares ? "ssh: all sessions share one connection"
                    : "ssh: sessions have connections of their own");
    if (ask_timer != 0) loop.cancel_timer(std::exchange(ask_timer, 0));
    // They may be on the stack of their own callback.
    loop.post([attempt = std::shared_ptr<ConnectAttempt>(std::move(asking)),
               stream = std::shared_ptr<Stream>(std::move(answer))]() mutable {
      attempt.reset();
      stream.reset();
    });
    configuration.clear();
    for (const auto& one : std::exchange(waiting, {})) run(one);
  }

  void run(const std::shared_ptr<WaitingConnect>& one) {
    if (!one->done) return;
    std::vector<std::string> shared;
    if (sharing == Sharing::kYes) {
      shared = {"-oControlMaster=auto", "-oControlPath=" + socket(), kPersist};
      used = true;
    }
    auto argv = remote_shell_command(options.command, options.user, options.host, options.rsync_path,
                                     one->server_args, options.connect_limit, shared);
    if (!argv) {
      loop.post([one, error = argv.error()] {
        if (one->done) std::exchange(one->done, nullptr)(error);
      });
      return;
    }
    one->attempt = spawn_stream(loop, std::move(*argv), std::move(one->done));
    one->done = nullptr;
  }

  void end_shared() {
    if (used) left.push_back(socket());
    for (const std::string& path : std::exchange(left, {})) {
      if (::access(path.c_str(), F_OK) == 0) run_quietly(ssh({"-oControlPath=" + path, "-O", "exit"}));
    }
    used = false;
  }

  Loop& loop;
  const RemoteShellOptions options;
  std::vector<std::string> shell;  // the words of options.command
  Sharing sharing = Sharing::kUnknown;
  // Not the process's: one that was killed leaves its connection, and a later one may have its number.
  const uint32_t own_number = std::random_device{}();
  unsigned generation = 0;
  bool used = false;              // the socket may be there
  std::vector<std::string> left;  // sockets of connections that got stuck
  std::vector<std::shared_ptr<WaitingConnect>> waiting;
  std::unique_ptr<ConnectAttempt> asking;
  std::unique_ptr<Stream> answer;
  std::string configuration;
  TimerId ask_timer = 0;
};

RemoteShell::RemoteShell(Loop& loop, RemoteShellOptions options)
    : state_(std::make_shared<State>(loop, std::move(options))) {}

RemoteShell::~RemoteShell() {
  state_->asking.reset();
  state_->answer.reset();
  state_->waiting.clear();
  if (state_->ask_timer != 0) state_->loop.cancel_timer(std::exchange(state_->ask_timer, 0));
  state_->sharing = State::Sharing::kNo;
  state_->end_shared();
}

std::unique_ptr<ConnectAttempt> RemoteShell::connect(std::vector<std::string> server_args, StreamDone done) {
  auto one = std::make_shared<WaitingConnect>();
  one->server_args = std::move(server_args);
  one->done = std::move(done);
  using Sharing = State::Sharing;
  if (state_->sharing == Sharing::kUnknown) state_->ask();
  if (state_->sharing == Sharing::kAsking) {
    state_->waiting.push_back(one);
  } else {
    state_->run(one);
  }
  return std::make_unique<ShellAttempt>(std::move(one));
}

void RemoteShell::leave_shared() {
  if (!std::exchange(state_->used, false)) return;
  state_->left.push_back(state_->socket());
  if (state_->left.size() > kMaxLeft) state_->left.erase(state_->left.begin());
  ++state_->generation;
}

bool RemoteShell::shares() const {
  return state_->sharing == State::Sharing::kYes;
}

}  // namespace rsyncfs
