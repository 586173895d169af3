// SPDX-License-Identifier: GPL-3.0-or-later
#include "fs/control/local_socket.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/time.h>

#include <cerrno>
#include <cstring>

#include "fs/control/places.h"

namespace rsyncfs {
namespace {

constexpr int kBacklog = 64;

const sockaddr* as_sockaddr(const sockaddr_un* address) {
  return static_cast<const sockaddr*>(static_cast<const void*>(address));
}

timeval to_timeval(int timeout_ms) {
  return {timeout_ms / 1000, (timeout_ms % 1000) * 1000};
}

}  // namespace

Result<LocalAddress> LocalAddress::make(const std::string& path) {
  LocalAddress made;
  made.address_.sun_family = AF_UNIX;
  std::string short_path = path;
  if (short_path.size() >= sizeof made.address_.sun_path) {
    const std::string parent = parent_path(path);
    made.directory_ = UniqueFd(open(parent.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
    if (!made.directory_) return Error::os(errno, parent);
    short_path =
        "/proc/self/fd/" + std::to_string(made.directory_.get()) + "/" + path.substr(path.rfind('/') + 1);
    if (short_path.size() >= sizeof made.address_.sun_path) return Error::os(ENAMETOOLONG, path);
  }
  std::memcpy(made.address_.sun_path, short_path.data(), short_path.size());
  return made;
}

const sockaddr* LocalAddress::get() const {
  return as_sockaddr(&address_);
}

Result<UniqueFd> listen_local(const std::string& path) {
  const Result<LocalAddress> address = LocalAddress::make(path);
  if (!address) return address.error();
  UniqueFd fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd) return Error::os(errno, "cannot make a socket");
  if (bind(fd.get(), address->get(), address->length()) != 0) {
    if (errno != EADDRINUSE) return Error::os(errno, "cannot make the socket " + path);
    constexpr int kProbeMs = 1000;
    const Result<UniqueFd> other = connect_local(path, kProbeMs);
    const bool dead =
        !other && (other.error().code() == Errc::kDisconnected || other.error().code() == Errc::kNotFound);
    if (!dead) return Error(Errc::kRefused, "another daemon listens on " + path).with_errno(EBUSY);
    if (unlink(path.c_str()) != 0 && errno != ENOENT) return Error::os(errno, "cannot replace " + path);
    if (bind(fd.get(), address->get(), address->length()) != 0) {
      return Error::os(errno, "cannot make the socket " + path);
    }
  }
  // Between bind() and here the directory's mode 0700 keeps others out.
  if (chmod(path.c_str(), 0600) != 0) return Error::os(errno, "cannot close " + path + " to other users");
  if (listen(fd.get(), kBacklog) != 0) return Error::os(errno, "cannot listen on " + path);
  return fd;
}

Result<UniqueFd> connect_local(const std::string& path, int timeout_ms) {
  const Result<LocalAddress> address = LocalAddress::make(path);
  if (!address) {
    if (address.error().os_errno() == ENOENT) return Error(Errc::kNotFound, "no socket at " + path);
    return address.error();
  }
  UniqueFd fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!fd) return Error::os(errno, "cannot make a socket");
  // A full backlog makes connect() wait; on Unix sockets the send timeout bounds that.
  const timeval limit = to_timeval(timeout_ms);
  if (setsockopt(fd.get(), SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit) != 0)
    return Error::os(errno, "SO_SNDTIMEO");
  if (connect(fd.get(), address->get(), address->length()) == 0) return fd;
  switch (errno) {
    case ENOENT:
    case ENOTDIR:
      return Error(Errc::kNotFound, "no socket at " + path);
    case ECONNREFUSED:
      return Error(Errc::kDisconnected, "nobody listens on " + path);
    case EAGAIN:
      return Error(Errc::kTimedOut, "nobody answers on " + path);
    default:
      return Error::os(errno, "cannot connect to " + path);
  }
}

Result<LocalPeer> local_peer(int fd) {
  ucred credentials{};
  socklen_t length = sizeof credentials;
  if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &credentials, &length) != 0)
    return Error::os(errno, "SO_PEERCRED");
  return LocalPeer{credentials.pid, credentials.uid};
}

}  // namespace rsyncfs
