// SPDX-License-Identifier: GPL-3.0-or-later
// What the doctor makes of facts, and how a bundle is cleared of names and packed.
#include <cstdlib>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "fs/doctor/bundle.h"
#include "fs/doctor/machine_checks.h"
#include "fs/doctor/mount_checks.h"
#include "fs/doctor/name_veil.h"
#include "fs/doctor/source_checks.h"
#include "tests/support/child_process.h"
#include "tests/support/files.h"
#include "tests/support/temp_dir.h"

namespace rsyncfs {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

// Each finding as "severity topic: what -> cure".
std::string told(const Findings& findings) {
  std::string out;
  for (const Finding& finding : findings) {
    out += std::string(severity_name(finding.severity)) + " " + finding.topic + ": " + finding.what + " -> " +
           finding.cure + "\n";
  }
  return out;
}

TEST(Findings, AreTextAndJson) {
  const Findings findings = {{Severity::kOk, "kernel", "Linux", ""},
                             {Severity::kProblem, "disk\n", "full \x1b[31m", "make room"}};
  EXPECT_EQ(
      findings_text(findings, false),
      "ok       kernel: Linux\nproblem  disk\\012: full \\033[31m\n         -> make room\n1 problem found\n");
  EXPECT_THAT(findings_text(findings, true), HasSubstr("\033[31mproblem"));
  EXPECT_EQ(findings_json({findings[0]}),
            "{\"findings\":[{\"severity\":\"ok\",\"topic\":\"kernel\",\"what\":\"Linux\",\"cure\":\"\"}],"
            "\"problems\":0}");
  EXPECT_TRUE(has_problem(findings));
  EXPECT_FALSE(has_problem({findings[0]}));
}

TEST(MachineChecks, ReadVersionsAndDisks) {
  EXPECT_EQ(kernel_version("6.12.3-amd64"), (std::pair(6U, 12U)));
  EXPECT_EQ(kernel_version("5.4"), (std::pair(5U, 4U)));
  EXPECT_EQ(kernel_version("x"), (std::pair(0U, 0U)));
  constexpr uint64_t kMuch = uint64_t{1} << 40;
  EXPECT_EQ(check_disk("/s", kMuch, kMuch, true).severity, Severity::kOk);
  EXPECT_EQ(check_disk("/s", kDoctorLeastBytes - 1, kMuch, true).severity, Severity::kProblem);
  EXPECT_EQ(check_disk("/s", kDoctorLowBytes - 1, kMuch, true).severity, Severity::kWarning);
  EXPECT_EQ(check_disk("/s", kMuch, 0, true).severity, Severity::kProblem);
  EXPECT_EQ(check_disk("/s", kMuch, 0, false).severity, Severity::kOk)
      << "a file system without inode numbers";
}

TEST(SourceChecks, NameCauseAndCure) {
  SurveyRequest request;
  request.source = *parse_source("rsync://h/m");
  SourceFacts facts;
  facts.no_contact = Error(Errc::kRefused, "max connections (2) reached");
  EXPECT_THAT(told(check_source(facts, request)),
              HasSubstr("problem source: rsync://h/m: max connections (2) reached -> raise"));
  facts = {};
  facts.status.protocol = 32;
  facts.wrote = true;
  facts.keeps_fractions = true;
  facts.keeps_mode = true;
  facts.clock_ahead_s = 0.5;
  EXPECT_THAT(told(check_source(facts, request)), Not(HasSubstr("->  \n")));
  for (const Finding& finding : check_source(facts, request))
    EXPECT_EQ(finding.severity, Severity::kOk) << finding.what;
  facts.clock_ahead_s = -4000;
  facts.keeps_fractions = false;
  facts.keeps_mode = false;
  facts.features.deletes = false;
  facts.round_trip = std::chrono::milliseconds(2);
  facts.listing = std::chrono::milliseconds(120);
  facts.left_behind = ".rsyncfs-doctor-1";
  facts.status.last_error = "max connections (2) reached -- try again later";
  const std::string text = told(check_source(facts, request));
  for (const char* part : {"warning clock: the source's clock is 4000 s behind ours -> set both by NTP",
                           "note times: the source keeps whole seconds", "note permissions:",
                           "note answers: a list of the top takes 120 ms, a round trip 2 ms -> in its "
                           "rsyncd.conf, \"socket options = TCP_NODELAY\"",
                           "warning refused options: the server refuses delete: nothing can be removed",
                           "warning writing: the file that was made could not be removed: .rsyncfs-doctor-1",
                           "warning connections: max connections (2) reached"}) {
    EXPECT_THAT(text, HasSubstr(part));
  }
}

TEST(MountChecks, NameCauseAndCure) {
  MountStatus status;
  status.source = "rsync://h/m";
  status.mountpoint = "/mnt";
  status.syncer.link = LinkState::kUp;
  status.syncer.cache.free_bytes = uint64_t{1} << 40;
  for (const Finding& finding : check_mount(status, 1'000))
    EXPECT_EQ(finding.severity, Severity::kOk) << finding.what;
  PushStatus& push = status.syncer.push;
  push.pending_names = 1;
  push.oldest_s = 10;
  push.conflicts = 2;
  push.stopped = "20 deletions at once";
  push.failing = {"a: No space left on device, retry in 3 s"};
  status.syncer.link = LinkState::kDown;
  status.syncer.link_text = "unreachable: Connection refused";
  status.syncer.cache.free_bytes = 1;
  const std::string text = told(check_mount(status, 1'000));
  for (const char* part :
       {"problem link: the source cannot be reached; what is here is shown: unreachable: Connection refused "
        "-> start the server",
        "problem sending: it is stopped: 20 deletions at once -> if that was meant: rsyncfs resume /mnt",
        "problem sending: the source does not take a: No space left on device, retry in 3 s -> make room on "
        "the source",
        "warning sending: 1 change not on the source yet, the oldest for 16 min -> they are sent when the "
        "source is back",
        "warning conflicts: 2 names changed on both sides -> rsyncfs conflicts /mnt",
        "problem disk: the store's disk is full: 1 B"}) {
    EXPECT_THAT(text, HasSubstr(part));
  }
}

TEST(NameVeil, HidesPasswordsOfSources) {
  EXPECT_EQ(without_url_passwords("rsync://u:p@h/m and u:p@h::m, u:p@h:/x"),
            "rsync://u:***@h/m and u:***@h::m, u:***@h:/x");
  EXPECT_EQ(without_url_passwords("rsync://u@h:873/m host:path a:b"), "rsync://u@h:873/m host:path a:b");
  NameVeil veil(true);
  veil.add_secret("hunter2");
  EXPECT_EQ(veil.text("it is hunter2!"), "it is ***!");
  EXPECT_EQ(veil.path("a/hunter2"), "a/***");
}

TEST(NameVeil, KeepsWhatMessagesSayAndNoNames) {
  const NameVeil veil(false);
  EXPECT_EQ(
      veil.line("server: rsync: [sender] opendir \"/secret plans\" (in m) failed: Permission denied (13)",
                true),
      "server: rsync: [_] opendir \"_ _\" (in _) failed: Permission denied (13)");
  EXPECT_EQ(veil.line("not pushed: holiday in rome.txt: No space left on device, retry in 3 s", true),
            "not pushed: _ in _: No space left on device, retry in 3 s");
  EXPECT_EQ(veil.line("mounted rsync://h/m on /mnt/x: fuse", true), "mounted _ on _: _");
  NameVeil other(false);
  const std::string first = other.path("a/b.txt");
  EXPECT_EQ(other.path("a/b.txt"), first);
  EXPECT_NE(other.path("a/c.txt"), first);
  EXPECT_EQ(other.path("a"), first.substr(0, first.find('/')));
}

TEST(Bundle, ShowsOptionsWithoutFreeText) {
  const std::vector<std::string> words = {
      "rsyncfs",      "rsync://h/m", "/mnt", "-o", "timeout=5,exclude=plans,ro", "--password-file=/x",
      "-ometrics=/s", "-f"};
  EXPECT_EQ(shown_options(words, false), "timeout=5\nexclude=_\nro\npassword_file=_\nmetrics=_\n-f\n");
  EXPECT_EQ(shown_options(words, true), "timeout=5\nexclude=plans\nro\npassword_file=/x\nmetrics=/s\n-f\n");
}

TEST(Bundle, IsAnArchiveThatTarReads) {
  const support::TempDir dir;
  const std::string block(512, 'b');
  const Result<std::string> archive =
      tar_gz({{"d/empty", ""}, {"d/block", block}, {"d/text", "one\ntwo\n"}}, 1'700'000'000);
  ASSERT_TRUE(archive.ok());
  ASSERT_TRUE(write_private_file(dir / "a.tar.gz", *archive).ok());
  const auto run =
      support::run_command({"tar", "-xzf", dir / "a.tar.gz", "-C", dir.path()}, std::chrono::seconds(20));
  ASSERT_EQ(run.exit_code, 0) << run.err;
  EXPECT_EQ(support::read_file(dir / "d/empty"), "");
  EXPECT_EQ(support::read_file(dir / "d/block"), block);
  EXPECT_EQ(support::read_file(dir / "d/text"), "one\ntwo\n");
  EXPECT_FALSE(tar_gz({{std::string(kMaxArchivedName + 1, 'n'), ""}}, 0).ok());
  EXPECT_EQ(write_private_file(dir / "none/a", "x").error().os_errno(), ENOENT);
}

}  // namespace
}  // namespace rsyncfs
