// SPDX-License-Identifier: GPL-3.0-or-later
// What `verify` came to, in words.
#pragma once

#include <string>

#include "fs/control/verify_document.h"

namespace rsyncfs {

void add_up(VerifyTotals& sum, const VerifyTotals& part);
// "1,234 files, 5.6 GiB checked; 2 damaged files, both fetched again"; a second line of what was compared.
std::string verify_summary(const VerifyTotals& totals);

}  // namespace rsyncfs
