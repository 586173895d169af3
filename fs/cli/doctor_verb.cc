// SPDX-License-Identifier: GPL-3.0-or-later
#include <unistd.h>

#include <cstdio>
#include <ctime>
#include <optional>
#include <string>

#include "fs/cli/daemon_call.h"
#include "fs/cli/usage.h"
#include "fs/cli/verbs.h"
#include "fs/control/status_document.h"
#include "fs/doctor/bundle.h"
#include "fs/doctor/machine_checks.h"
#include "fs/doctor/mount_checks.h"
#include "fs/doctor/source_checks.h"
#include "io/base/log.h"
#include "io/base/text.h"

namespace rsyncfs {
namespace {

Result<MountStatus> status_of(const std::string& mountpoint, const UserPlaces& user) {
  const Result<FoundMount> mount = find_mount(mountpoint, user);
  if (!mount) return mount.error();
  const Result<std::string> document = ask_document(*mount, {.verb = ControlVerb::kStatus}, kAnswerLimitMs);
  return document ? parse_status(*document) : Result<MountStatus>(document.error());
}

// Of the source, or why it cannot be asked.
Findings examine_source(const std::string& text, const MountOptions& options) {
  Result<SourceAccess> access = source_access(text, options);
  // What is wrong with a password file was told already.
  if (!access)
    return {{Severity::kProblem, "source", "it was not asked: " + access.error().message(),
             "correct that first"}};
  const SurveyRequest request{access->source, access->password, access->remote_shell, options,
                              options.read_write.value_or(true)};
  const Result<SourceFacts> facts = survey_source(request);
  if (!facts)
    return {{Severity::kProblem, "source", "it was not asked: " + facts.error().message(),
             "make room in the directory for temporary files (TMPDIR)"}};
  return check_source(*facts, request);
}

Result<void> write_bundle(const DoctorCommand& command, const UserPlaces& user,
                          const std::optional<MountStatus>& status, const Findings& findings) {
  const int64_t now_s = time(nullptr);
  const Result<std::string> archive =
      tar_gz(make_bundle({status, findings, command.options, user.home, command.with_names}, now_s), now_s);
  if (!archive) return archive.error();
  return write_private_file(command.bundle, *archive);
}

}  // namespace

int run_doctor(const DoctorCommand& command) {
  // What the engine would log is told as findings.
  log_to("", LogLevel::kOff);
  const UserPlaces user = UserPlaces::of_this_process();
  const bool is_source =
      command.target.find(':') != std::string::npos && access(command.target.c_str(), F_OK) != 0;
  std::optional<Source> source;
  if (is_source) {
    Result<Source> parsed = parse_source(command.target);
    if (!parsed) {
      complain(parsed.error().message());
      return kExitUsage;
    }
    source = std::move(parsed.value());
  }
  Findings findings = check_machine(user, command.options, source ? &*source : nullptr);
  if (source) {
    for (Finding& finding : examine_source(command.target, command.options))
      findings.push_back(std::move(finding));
  }
  std::optional<MountStatus> status;
  Findings all = findings;
  if (!command.target.empty() && !source) {
    Result<MountStatus> asked = status_of(command.target, user);
    if (asked) {
      status = std::move(asked.value());
      for (Finding& finding : check_mount(*status, time(nullptr))) all.push_back(std::move(finding));
    } else {
      const Finding finding{
          Severity::kProblem, "mount", asked.error().message(),
          "rsyncfs status lists the mounts; one whose daemon is gone: rsyncfs umount " + command.target};
      findings.push_back(finding);
      all.push_back(finding);
    }
  }
  const std::string out =
      command.json ? findings_json(all) + "\n" : findings_text(all, isatty(STDOUT_FILENO) == 1);
  if (std::fputs(out.c_str(), stdout) < 0 || std::fflush(stdout) != 0) return kExitFailed;
  if (!command.bundle.empty()) {
    if (const Result<void> written = write_bundle(command, user, status, findings); !written) {
      complain("support bundle: " + written.error().message());
      return kExitFailed;
    }
    std::fprintf(stderr, "rsyncfs: support bundle written to %s%s\n", escape_control(command.bundle).c_str(),
                 command.with_names ? ", with names of files" : "");
  }
  return has_problem(all) ? kExitFailed : kExitDone;
}

}  // namespace rsyncfs
