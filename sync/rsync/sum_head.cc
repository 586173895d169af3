// SPDX-License-Identifier: GPL-3.0-or-later
#include "sync/rsync/sum_head.h"

namespace rsyncfs {

void SumHead::write(ByteQueue& out) const {
  for (const uint32_t value : {count, block_length, strong_length, remainder}) out.append_le32(value);
}

SumHead SumHead::read(WireReader& in) {
  SumHead head;
  for (uint32_t* value : {&head.count, &head.block_length, &head.strong_length, &head.remainder})
    *value = in.le32();
  return head;
}

}  // namespace rsyncfs
