// SPDX-License-Identifier: GPL-3.0-or-later
#include "fs/cli/unsent_list.h"

#include <cstdio>

#include "fs/cli/usage.h"
#include "io/base/text.h"

namespace rsyncfs {

void UnsentList::tell(const std::string& head) const {
  complain(head);
  for (const std::string& line : lines_) std::fprintf(stderr, "  %s\n", escape_control(line).c_str());
  if (lines_.size() == kMaxUnsentNamed) std::fputs("  ...\n", stderr);
}

}  // namespace rsyncfs
