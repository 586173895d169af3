// SPDX-License-Identifier: GPL-3.0-or-later
// The addresses of one host, looked up where nobody else has to wait.
#pragma once

#include <sys/socket.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "io/base/result.h"
#include "io/base/unique_function.h"
#include "io/loop.h"

namespace rsyncfs {

struct Address {
  sockaddr_storage storage{};
  socklen_t length = 0;
};
using Addresses = std::vector<Address>;

// Asks the system's name services, and blocks as long as they please: with silent name servers that is half a
// minute, and no limit can be set. kUnreachable with EHOSTUNREACH if there is no such host, or nobody knows.
Result<Addresses> look_up_host(const std::string& host, uint16_t port);

// Loop thread only; may be made and destroyed by another one while the loop is not running. A look-up has a
// thread of its own, one at a time: whoever asks meanwhile shares its answer, and nobody waits for its end.
// Errors: those of look_up_host(); kOs if no thread can be started.
class Resolver {
 public:
  using Request = uint64_t;  // never reused; 0 is none
  using Found = UniqueFunction<void(const Result<Addresses>&)>;
  using LookUp = std::function<Result<Addresses>(const std::string& host, uint16_t port)>;

  Resolver(Loop& loop, std::string host, uint16_t port, LookUp look_up = look_up_host);
  // Nobody is answered any more; a look-up under way is left to itself, also when the process ends.
  ~Resolver();
  Resolver(const Resolver&) = delete;
  Resolver& operator=(const Resolver&) = delete;

  const std::string& host() const { return host_; }
  uint16_t port() const { return port_; }
  // `found` is called once, never from inside this call, unless the request is cancelled first. A host that
  // is an address in numbers is not looked up.
  Request resolve(Found found);
  void cancel(Request request);  // unknown or answered ones are ignored

 private:
  struct State;
  void start_look_up();

  const std::string host_;
  const uint16_t port_;
  const LookUp look_up_;
  const std::optional<Addresses> literal_;
  std::shared_ptr<State> state_;
};

}  // namespace rsyncfs
