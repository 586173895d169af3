// SPDX-License-Identifier: GPL-3.0-or-later
// Requests that wait for the source more than once, each time for something else, under one id.
#pragma once

#include <cstdint>
#include <mutex>
#include <unordered_map>

#include "sync/engine/syncer.h"

namespace rsyncfs {

// Any thread.
class WaitChains {
 public:
  explicit WaitChains(Syncer& syncer) : syncer_(syncer) {}

  RequestId begin();
  // Before a wait begins; gives its number, to be told to waiting(). 0: the chain was cancelled, do not wait.
  uint64_t next(RequestId chain);
  // What the wait is called; nothing when it is over already.
  void waiting(RequestId chain, uint64_t number, RequestId wait);
  void end(RequestId chain);

  // False: not a chain's id.
  bool cancel(RequestId request);

 private:
  // The Syncer's ids never come so far.
  static constexpr RequestId kChainBit = RequestId{1} << 63;
  struct Chain {
    uint64_t number = 0;
    RequestId wait = 0;  // 0: not known yet
    bool canceled = false;
  };

  Syncer& syncer_;
  std::mutex mutex_;  // not held when the Syncer is called
  RequestId next_ = 1;
  std::unordered_map<RequestId, Chain> chains_;
};

}  // namespace rsyncfs
