// SPDX-License-Identifier: GPL-3.0-or-later
// Names that a push needs at the source for a while: ".rsyncfs-" and eight hexadecimal digits. Nothing of
// them is shown to users, unless base leads them somewhere (sync/engine/push_plan.h).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace rsyncfs {

std::string spare_name(uint32_t number);
bool is_spare_name(std::string_view name);

}  // namespace rsyncfs
