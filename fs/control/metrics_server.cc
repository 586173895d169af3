// SPDX-License-Identifier: GPL-3.0-or-later
#include "fs/control/metrics_server.h"

#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <cerrno>
#include <unordered_map>
#include <utility>
#include <vector>

#include "fs/control/local_socket.h"
#include "fs/control/metrics_connection.h"
#include "io/base/log.h"

namespace rsyncfs {
namespace {

constexpr int kBacklog = 16;

union LoopbackAddress {
  sockaddr any;
  sockaddr_in four;
  sockaddr_in6 six;
};

}  // namespace

Result<UniqueFd> listen_metrics(const std::string& path, mode_t mode) {
  struct stat info {};
  if (lstat(path.c_str(), &info) == 0 && !S_ISSOCK(info.st_mode))
    return Error(Errc::kRefused, "metrics: " + path + " exists and is no socket");
  Result<UniqueFd> listener = listen_local(path);
  if (!listener) return listener.error().with_context("metrics");
  if (chmod(path.c_str(), mode) != 0) return Error::os(errno, "metrics: " + path);
  return listener;
}

Result<UniqueFd> listen_metrics(uint16_t port, bool six) {
  const std::string name =
      "metrics: cannot listen on " + std::string(six ? "[::1]:" : "127.0.0.1:") + std::to_string(port);
  UniqueFd fd(socket(six ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd) return Error::os(errno, name);
  LoopbackAddress address{};
  socklen_t length = sizeof address.four;
  if (six) {
    address.six.sin6_family = AF_INET6;
    address.six.sin6_port = htons(port);
    address.six.sin6_addr = in6addr_loopback;
    length = sizeof address.six;
  } else {
    address.four.sin_family = AF_INET;
    address.four.sin_port = htons(port);
    address.four.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  }
  // A port that was ours a moment ago.
  const int yes = 1;
  setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
  if (bind(fd.get(), &address.any, length) != 0 || listen(fd.get(), kBacklog) != 0)
    return Error::os(errno, name);
  return fd;
}

class MetricsServer::Impl : public std::enable_shared_from_this<Impl> {
 public:
  Impl(Loop& loop, UniqueFd fd, Page page) : loop_(loop), fd_(std::move(fd)), page_(std::move(page)) {}

  void accept() {
    accepting_ = loop_.accept(
        fd_.get(), [self = shared_from_this()](const Result<size_t>& fd) { self->on_accepted(fd); });
  }

  void stop() {
    stopped_ = true;
    loop_.cancel(accepting_);
    const auto all = connections_;
    for (const auto& [raw, connection] : all) connection->close();
    for (Answer& answer : std::exchange(waiting_, {})) answer(Error(Errc::kCanceled, "the daemon ends"));
  }

 private:
  void on_accepted(const Result<size_t>& accepted) {
    UniqueFd fd(accepted ? static_cast<int>(*accepted) : -1);
    if (stopped_) return;
    if (!accepted) {
      log_warn("metrics: " + accepted.error().message());
      // Out of descriptors, most likely: trying again at once would spin.
      loop_.run_after(std::chrono::seconds(1), [self = shared_from_this()] {
        if (!self->stopped_) self->accept();
      });
      return;
    }
    if (connections_.size() < kMaxConnections) admit(std::move(fd));
    accept();
  }

  void admit(UniqueFd fd) {
    auto connection = std::make_shared<MetricsConnection>(
        loop_, std::move(fd),
        [weak = weak_from_this()](Answer answer) {
          const auto self = weak.lock();
          if (self && !self->stopped_) return self->ask(std::move(answer));
          answer(Error(Errc::kCanceled, "the daemon ends"));
        },
        [weak = weak_from_this()](MetricsConnection* closed) {
          if (const auto self = weak.lock()) self->connections_.erase(closed);
        });
    connections_.emplace(connection.get(), connection);
    connection->start();
  }

  // Those who ask at the same time share one page, and so does who asks again at once.
  void ask(Answer answer) {
    const auto now = Clock::now();
    if (made_at_ != Clock::time_point() && now - made_at_ < kFresh) return answer(made_);
    waiting_.push_back(std::move(answer));
    if (waiting_.size() > 1) return;
    page_([weak = weak_from_this()](Result<std::string> page) {
      const auto self = weak.lock();
      if (!self || self->stopped_) return;
      if (page) {
        self->made_ = *page;
        self->made_at_ = Clock::now();
      }
      for (Answer& waiting : std::exchange(self->waiting_, {})) waiting(page);
    });
  }

  Loop& loop_;
  UniqueFd fd_;
  Page page_;
  OpId accepting_ = 0;
  bool stopped_ = false;
  std::vector<Answer> waiting_;  // one for a connection at most
  std::string made_;
  Clock::time_point made_at_{};
  std::unordered_map<MetricsConnection*, std::shared_ptr<MetricsConnection>> connections_;
};

MetricsServer::MetricsServer(std::shared_ptr<Impl> impl) : impl_(std::move(impl)) {}
MetricsServer::~MetricsServer() = default;

std::unique_ptr<MetricsServer> MetricsServer::create(Loop& loop, UniqueFd listener, Page page) {
  auto impl = std::make_shared<Impl>(loop, std::move(listener), std::move(page));
  return std::unique_ptr<MetricsServer>(new MetricsServer(std::move(impl)));
}

void MetricsServer::start() {
  impl_->accept();
}
void MetricsServer::stop() {
  impl_->stop();
}

}  // namespace rsyncfs
