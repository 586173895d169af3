// SPDX-License-Identifier: GPL-3.0-or-later
#include <ctime>

#include "sync/replica/types.h"

namespace rsyncfs {

FileTime FileTime::now() {
  timespec time{};
  clock_gettime(CLOCK_REALTIME, &time);
  return {time.tv_sec, static_cast<uint32_t>(time.tv_nsec)};
}

}  // namespace rsyncfs
