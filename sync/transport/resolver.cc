// SPDX-License-Identifier: GPL-3.0-or-later
#include "sync/transport/resolver.h"

#include <netdb.h>

#include <cerrno>
#include <cstring>
#include <map>
#include <mutex>
#include <system_error>
#include <thread>
#include <utility>

namespace rsyncfs {

namespace {

// An address list longer than this is cut: a hostile name server must not keep us busy.
constexpr size_t kMaxAddresses = 16;

// What getaddrinfo(3) gives under `flags`; its error code where it fails.
int ask(const std::string& host, uint16_t port, int flags, Addresses& out) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = flags | AI_NUMERICSERV;
  addrinfo* found = nullptr;
  const int rc = ::getaddrinfo(host.c_str(), std::to_string(port).c_str(), &hints, &found);
  if (rc != 0) return rc;
  for (const addrinfo* a = found; a != nullptr && out.size() < kMaxAddresses; a = a->ai_next) {
    Address address;
    std::memcpy(&address.storage, a->ai_addr, a->ai_addrlen);
    address.length = a->ai_addrlen;
    out.push_back(address);
  }
  ::freeaddrinfo(found);
  return 0;
}

std::optional<Addresses> parse_literal(const std::string& host, uint16_t port) {
  Addresses out;
  if (ask(host, port, AI_NUMERICHOST, out) != 0) return std::nullopt;
  return out;
}

}  // namespace

Result<Addresses> look_up_host(const std::string& host, uint16_t port) {
  Addresses out;
  int rc = ask(host, port, AI_ADDRCONFIG, out);
  // AI_ADDRCONFIG hides ::1 and 127.0.0.1 on a host without any network.
  if (rc == EAI_NONAME || rc == EAI_ADDRFAMILY || rc == EAI_NODATA) rc = ask(host, port, 0, out);
  if (rc == 0) return out;
  return Error(Errc::kUnreachable, "cannot find host '" + host + "': " + ::gai_strerror(rc))
      .with_errno(EHOSTUNREACH);
}

// Shared with the look-up under way, which may end after the resolver and its loop.
struct Resolver::State {
  explicit State(Loop& l) : loop(&l) {}

  // Loop thread. Those who ask from inside an answer wait for the next one.
  void answer(const Result<Addresses>& found) {
    looking = false;
    const Request last = last_request;
    while (!waiting.empty() && waiting.begin()->first <= last) {
      Found call = std::move(waiting.begin()->second);
      waiting.erase(waiting.begin());
      call(found);
    }
  }

  std::mutex mutex;  // held while posting, so that the loop is not taken away meanwhile
  Loop* loop;        // guarded by mutex; null: the resolver is gone
  // Loop thread only.
  bool looking = false;
  Request last_request = 0;
  std::map<Request, Found> waiting;
};

Resolver::Resolver(Loop& loop, std::string host, uint16_t port, LookUp look_up)
    : host_(std::move(host)),
      port_(port),
      look_up_(std::move(look_up)),
      literal_(parse_literal(host_, port)),
      state_(std::make_shared<State>(loop)) {}

Resolver::~Resolver() {
  const std::lock_guard lock(state_->mutex);
  state_->loop = nullptr;
  state_->waiting.clear();
}

Resolver::Request Resolver::resolve(Found found) {
  const Request request = ++state_->last_request;
  state_->waiting.emplace(request, std::move(found));
  if (literal_) {
    state_->loop->post([state = state_, addresses = *literal_] { state->answer(addresses); });
  } else if (!state_->looking) {
    start_look_up();
  }
  return request;
}

void Resolver::cancel(Request request) {
  state_->waiting.erase(request);
}

void Resolver::start_look_up() {
  state_->looking = true;
  const auto tell = [](const std::shared_ptr<State>& state, Result<Addresses> found) {
    const std::lock_guard lock(state->mutex);
    if (state->loop == nullptr) return;
    state->loop->post([state, found = std::move(found)] { state->answer(found); });
  };
  try {
    std::thread([state = state_, tell, look_up = look_up_, host = host_, port = port_] {
      tell(state, look_up(host, port));
    }).detach();
  } catch (const std::system_error& failure) {
    tell(state_, Error::os(failure.code().value(), "cannot start a look-up of host '" + host_ + "'"));
  }
}

}  // namespace rsyncfs
