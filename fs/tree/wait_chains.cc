// SPDX-License-Identifier: GPL-3.0-or-later
#include "fs/tree/wait_chains.h"

namespace rsyncfs {

RequestId WaitChains::begin() {
  const std::lock_guard lock(mutex_);
  const RequestId chain = next_++ | kChainBit;
  chains_.emplace(chain, Chain());
  return chain;
}

uint64_t WaitChains::next(RequestId chain) {
  const std::lock_guard lock(mutex_);
  const auto found = chains_.find(chain);
  if (found == chains_.end() || found->second.canceled) return 0;
  found->second.wait = 0;
  return ++found->second.number;
}

void WaitChains::waiting(RequestId chain, uint64_t number, RequestId wait) {
  {
    const std::lock_guard lock(mutex_);
    const auto found = chains_.find(chain);
    if (found == chains_.end() || found->second.number != number) return;
    found->second.wait = wait;
    if (!found->second.canceled) return;
  }
  syncer_.cancel(wait);
}

void WaitChains::end(RequestId chain) {
  const std::lock_guard lock(mutex_);
  chains_.erase(chain);
}

bool WaitChains::cancel(RequestId request) {
  if ((request & kChainBit) == 0) return false;
  RequestId wait = 0;
  {
    const std::lock_guard lock(mutex_);
    const auto found = chains_.find(request);
    if (found == chains_.end()) return true;
    found->second.canceled = true;
    wait = found->second.wait;
  }
  if (wait != 0) syncer_.cancel(wait);
  return true;
}

}  // namespace rsyncfs
