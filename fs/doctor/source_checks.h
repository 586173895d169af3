// SPDX-License-Identifier: GPL-3.0-or-later
// What the answers of a source mean for who mounts it.
#pragma once

#include "fs/doctor/finding.h"
#include "fs/doctor/source_survey.h"

namespace rsyncfs {

Findings check_source(const SourceFacts& facts, const SurveyRequest& request);

// ---- parts of it, for what others have of a source ----
// Why a connection or session failed, and what to do about it.
Finding explain_failure(const Error& why, const Source& source);
// The same where only the line is known.
std::string cure_of(std::string_view message);

}  // namespace rsyncfs
