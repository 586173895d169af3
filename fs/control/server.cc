// SPDX-License-Identifier: GPL-3.0-or-later
#include "fs/control/server.h"

#include <unordered_map>
#include <utility>
#include <vector>

#include "fs/control/connection.h"
#include "fs/control/local_socket.h"
#include "io/base/log.h"

namespace rsyncfs {

class ControlServer::Impl : public std::enable_shared_from_this<Impl> {
 public:
  Impl(Loop& loop, UniqueFd fd, uid_t owner, ControlHandler& handler)
      : loop_(loop), fd_(std::move(fd)), owner_(owner), handler_(handler) {}

  void accept() {
    accepting_ = loop_.accept(
        fd_.get(), [self = shared_from_this()](const Result<size_t>& fd) { self->on_accepted(fd); });
  }

  void stop(Task done) {
    RSYNCFS_CHECK(!stopped_);
    stopped_ = true;
    all_closed_ = std::move(done);
    loop_.cancel(accepting_);
    for (const auto& [raw, connection] : copy()) connection->finish_and_close();
    loop_.run_after(kStopLimit, [self = shared_from_this()] {
      for (const auto& [raw, connection] : self->copy()) connection->close();
    });
    tell_if_all_closed();
  }

 private:
  void on_accepted(const Result<size_t>& accepted) {
    UniqueFd fd(accepted ? static_cast<int>(*accepted) : -1);
    if (stopped_) return;
    if (!accepted) {
      log_warn("control socket: " + accepted.error().message());
      // Out of descriptors, most likely: trying again at once would spin.
      loop_.run_after(std::chrono::seconds(1), [self = shared_from_this()] {
        if (!self->stopped_) self->accept();
      });
      return;
    }
    admit(std::move(fd));
    accept();
  }

  void admit(UniqueFd fd) {
    const Result<LocalPeer> peer = local_peer(fd.get());
    if (!peer || (peer->uid != owner_ && peer->uid != 0)) {
      log_warn("control socket: refused a client of uid " + (peer ? std::to_string(peer->uid) : "unknown"));
      return;
    }
    if (connections_.size() >= kMaxConnections) {
      log_warn("control socket: too many clients");
      return;
    }
    auto connection = std::make_shared<ControlConnection>(
        loop_, std::move(fd), handler_, [weak = weak_from_this()](ControlConnection* closed) {
          const auto self = weak.lock();
          if (!self) return;
          self->connections_.erase(closed);
          self->tell_if_all_closed();
        });
    connections_.emplace(connection.get(), connection);
    connection->start();
  }

  // Closing a connection changes the map that is being walked.
  std::unordered_map<ControlConnection*, std::shared_ptr<ControlConnection>> copy() const {
    return connections_;
  }

  void tell_if_all_closed() {
    if (!connections_.empty() || !all_closed_) return;
    Task done = std::exchange(all_closed_, nullptr);
    done();
  }

  Loop& loop_;
  UniqueFd fd_;
  uid_t owner_;
  ControlHandler& handler_;
  OpId accepting_ = 0;
  bool stopped_ = false;
  Task all_closed_;
  std::unordered_map<ControlConnection*, std::shared_ptr<ControlConnection>> connections_;
};

ControlServer::ControlServer(std::shared_ptr<Impl> impl) : impl_(std::move(impl)) {}
ControlServer::~ControlServer() = default;

std::unique_ptr<ControlServer> ControlServer::create(Loop& loop, UniqueFd listener, uid_t owner,
                                                     ControlHandler& handler) {
  auto impl = std::make_shared<Impl>(loop, std::move(listener), owner, handler);
  return std::unique_ptr<ControlServer>(new ControlServer(std::move(impl)));
}

void ControlServer::start() {
  impl_->accept();
}
void ControlServer::stop(Task done) {
  impl_->stop(std::move(done));
}

}  // namespace rsyncfs
