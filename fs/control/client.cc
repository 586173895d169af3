// SPDX-License-Identifier: GPL-3.0-or-later
#include "fs/control/client.h"

#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <deque>

#include "fs/control/local_socket.h"
#include "io/base/text.h"

namespace rsyncfs {
namespace {

constexpr int kMaxSymlinks = 40;

bool exists(const std::string& path) {
  return access(path.c_str(), F_OK) == 0;
}

// The runtime directory in which a daemon of exactly this mountpoint has left its files.
std::optional<std::string> directory_of(const std::string& mountpoint,
                                        const std::vector<std::string>& directories) {
  for (const std::string& directory : directories) {
    if (exists(directory + "/" + socket_name(mountpoint)) ||
        exists(directory + "/" + record_name(mountpoint))) {
      return directory;
    }
  }
  return std::nullopt;
}

std::optional<FoundMount> search_upwards(const std::string& path,
                                         const std::vector<std::string>& directories) {
  for (std::string candidate = path;; candidate = parent_path(candidate)) {
    if (std::optional<std::string> directory = directory_of(candidate, directories)) {
      std::string inner = path.substr(candidate == "/" ? 0 : candidate.size());
      if (!inner.empty() && inner.front() == '/') inner.erase(0, 1);
      return FoundMount{std::move(*directory), candidate, std::move(inner)};
    }
    if (candidate == "/") return std::nullopt;
  }
}

std::deque<std::string> components(const std::string& path) {
  std::deque<std::string> parts;
  size_t begin = 0;
  while (begin < path.size()) {
    const size_t slash = std::min(path.find('/', begin), path.size());
    if (slash > begin) parts.push_back(path.substr(begin, slash - begin));
    begin = slash + 1;
  }
  return parts;
}

// The path with its symbolic links resolved, as far as the first mount of ours.
std::string resolve_outside(const std::string& path, const std::vector<std::string>& directories) {
  std::deque<std::string> rest = components(path);
  std::string done;
  for (int links = 0; !rest.empty();) {
    const std::string next = done + "/" + rest.front();
    rest.pop_front();
    if (directory_of(next, directories)) {
      done = next;
      break;
    }
    std::array<char, 4096> target{};
    const ssize_t length = readlink(next.c_str(), target.data(), target.size());
    if (length <= 0 || ++links > kMaxSymlinks) {
      done = next;
      continue;
    }
    const std::string text(target.data(), static_cast<size_t>(length));
    const std::string whole = lexical_absolute(text, done.empty() ? "/" : done);
    std::deque<std::string> fresh = components(whole);
    rest.insert(rest.begin(), fresh.begin(), fresh.end());
    done.clear();
  }
  for (const std::string& part : rest) done.append("/").append(part);
  return done.empty() ? "/" : done;
}

std::string working_directory() {
  std::array<char, 4096> buffer{};
  return getcwd(buffer.data(), buffer.size()) == nullptr ? "/" : buffer.data();
}

}  // namespace

Result<FoundMount> find_mount(std::string_view path, const UserPlaces& user) {
  const std::vector<std::string> directories = runtime_directories(user);
  const std::string absolute = lexical_absolute(path, working_directory());
  if (std::optional<FoundMount> found = search_upwards(absolute, directories)) return *found;
  if (std::optional<FoundMount> found = search_upwards(resolve_outside(absolute, directories), directories)) {
    return *found;
  }
  return Error(Errc::kNotFound, "no rsyncfs mount at " + escape_control(absolute));
}

Error ControlClient::gone() const {
  return Error(Errc::kDisconnected, "the daemon for " + escape_control(mountpoint_) + " is gone");
}

Error ControlClient::silent() const {
  return Error(Errc::kTimedOut, "the daemon for " + escape_control(mountpoint_) + " does not answer");
}

Result<ControlClient> ControlClient::connect(const FoundMount& mount, int timeout_ms) {
  Result<UniqueFd> fd = connect_local(mount.socket_path(), timeout_ms);
  if (fd) return ControlClient(std::move(fd.value()), mount.mountpoint);
  const ControlClient nobody(UniqueFd(), mount.mountpoint);
  switch (fd.error().code()) {
    case Errc::kNotFound:
    case Errc::kDisconnected:
      return nobody.gone();
    case Errc::kTimedOut:
      return nobody.silent();
    default:
      return fd.error();
  }
}

pid_t ControlClient::daemon_pid() const {
  const Result<LocalPeer> peer = local_peer(fd_.get());
  return peer ? peer->pid : 0;
}

Result<void> ControlClient::send_all(std::string_view data, int timeout_ms) {
  while (!data.empty()) {
    pollfd ready{fd_.get(), POLLOUT, 0};
    const int count = poll(&ready, 1, timeout_ms);
    if (count == 0) return silent();
    if (count < 0 && errno != EINTR) return Error::os(errno, "poll");
    const ssize_t sent = send(fd_.get(), data.data(), data.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent > 0) {
      data.remove_prefix(static_cast<size_t>(sent));
    } else if (errno != EINTR && errno != EAGAIN) {
      return gone();
    }
  }
  return {};
}

Result<bool> ControlClient::receive(int timeout_ms) {
  std::array<char, 16384> piece{};
  for (;;) {
    pollfd ready{fd_.get(), POLLIN, 0};
    const int count = poll(&ready, 1, timeout_ms);
    if (count == 0) return silent();
    if (count < 0 && errno != EINTR) return Error::os(errno, "poll");
    const ssize_t got = recv(fd_.get(), piece.data(), piece.size(), MSG_DONTWAIT);
    if (got > 0) {
      input_.append(piece.data(), static_cast<size_t>(got));
      return true;
    }
    if (got == 0 || (errno != EINTR && errno != EAGAIN)) return false;
  }
}

Result<ControlAnswer> ControlClient::call(const ControlRequest& request, int timeout_ms,
                                          const std::function<void(const ControlAnswer&)>& visit) {
  const std::string line = encode(request) + "\n";
  if (line.size() > kMaxControlLine) return Error(Errc::kLimit, "the paths are too long for one request");
  if (const Result<void> sent = send_all(line, timeout_ms); !sent) return sent.error();
  for (;;) {
    const size_t end = input_.find('\n');
    if (end == std::string::npos) {
      if (input_.size() > kMaxControlAnswer) return Error(Errc::kProtocol, "the daemon's answer is too long");
      const Result<bool> more = receive(timeout_ms);
      if (!more) return more.error();
      if (!*more) return gone();
      continue;
    }
    Result<ControlAnswer> answer = decode_control_answer(std::string_view(input_).substr(0, end));
    input_.erase(0, end + 1);
    if (!answer) return answer;
    const bool last =
        answer->kind == ControlAnswer::Kind::kDone || answer->kind == ControlAnswer::Kind::kFailed;
    if (last) return answer;
    if (visit) visit(*answer);
  }
}

Result<void> ControlClient::wait_closed(int timeout_ms) {
  using std::chrono::steady_clock;
  const auto end = steady_clock::now() + std::chrono::milliseconds(timeout_ms);
  for (;;) {
    const auto left =
        std::chrono::duration_cast<std::chrono::milliseconds>(end - steady_clock::now()).count();
    if (left <= 0) return silent();
    const Result<bool> more = receive(static_cast<int>(left));
    if (!more) return more.error();
    if (!*more) return {};
    input_.clear();
  }
}

}  // namespace rsyncfs
