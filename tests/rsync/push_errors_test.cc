// SPDX-License-Identifier: GPL-3.0-or-later
// What the real rsync says when it does not take a push.
#include <unistd.h>

#include <algorithm>

#include "tests/rsync/push_testing.h"
#include "tests/support/small_disk.h"

namespace rsyncfs {
namespace {

PushConfig data_config(const PushTarget& target) {
  PushConfig config = target.config(PushKind::kData);
  config.entries = {file_entry("f", 4)};
  return config;
}

// Why it failed; contents are sent for whatever is asked for.
Error push_error(PushTarget& target, PushConfig config) {
  const auto push = target.open(std::move(config));
  push->contents = {{0, "data"}};
  const auto finished = push->finish();
  EXPECT_FALSE(finished.ok());
  EXPECT_FALSE(push->finished);
  EXPECT_TRUE(push->succeeded.empty());
  return finished.ok() ? Error(Errc::kOs, "it did not") : finished.error();
}

class PushErrors : public testing::TestWithParam<int> {
 protected:
  static PushPeer daemon_peer() { return {PeerKind::kDaemon, GetParam()}; }
};
INSTANTIATE_TEST_SUITE_P(Protocols, PushErrors, testing::Values(30, 31, 32));

TEST_P(PushErrors, ReadOnlyModule) {
  PushTarget target(daemon_peer(), {{"read only", "yes"}});
  const Error error = push_error(target, data_config(target));
  EXPECT_EQ(error.code(), Errc::kPermission) << error.message();
  EXPECT_NE(error.message().find("read only"), std::string::npos);
}

TEST(PushRefused, OptionsAreNamed) {
  struct Case {
    const char* refused;
    PushKind kind;
    const char* told;
  };
  for (const Case& refusal :
       {Case{"fsync", PushKind::kData, "--fsync"}, Case{"delete", PushKind::kDelete, "--delete"},
        Case{"backup-dir", PushKind::kMove, "backup"}}) {
    SCOPED_TRACE(refusal.refused);
    PushTarget target({PeerKind::kDaemon, 32}, {{"refuse options", refusal.refused}});
    support::write_file(target / "f", "there");
    PushConfig config = data_config(target);
    config.kind = refusal.kind;
    if (refusal.kind == PushKind::kDelete || refusal.kind == PushKind::kMove) {
      config.entries = {gone_entry("f")};
      config.force = true;
      config.backup_dir = "backup";
    }
    const Error error = push_error(target, config);
    EXPECT_EQ(error.code(), Errc::kUnsupported) << error.message();
    EXPECT_NE(error.message().find(refusal.told), std::string::npos) << error.message();
    EXPECT_EQ(support::read_file(target / "f"), "there");
  }
}

// Not told, just not done: no acknowledgement comes.
TEST(PushRefused, QuietlyRefusedDelete) {
  PushTarget target({PeerKind::kDaemon, 32}, {{"refuse options", "delete-*"}});
  support::write_file(target / "f", "there");
  PushConfig config = target.config(PushKind::kDelete);
  config.entries = {gone_entry("f")};
  const auto push = target.open(config);
  static_cast<void>(push->finish());
  EXPECT_TRUE(push->deleted.empty());
  EXPECT_EQ(support::read_file(target / "f"), "there");
}

TEST(PushRefused, UnknownOptionAndModuleAndRoot) {
  PushTarget target({PeerKind::kDaemon, 32});
  PushConfig config = data_config(target);
  config.extra_args = {"--no-such-option"};
  EXPECT_EQ(push_error(target, config).code(), Errc::kUnsupported);
  config = data_config(target);
  config.module = "nobody's";
  EXPECT_EQ(push_error(target, config).code(), Errc::kNotFound);
  config = data_config(target);
  config.root = "missing/deeper";
  const Error error = push_error(target, config);
  EXPECT_EQ(error.code(), Errc::kNotFound) << error.message();
}

TEST_P(PushErrors, MaxConnections) {
  TempDir locks;
  PushTarget full(daemon_peer(), {{"max connections", "1"}, {"lock file", locks / "lock"}});
  const auto holder = full.open(full.config(PushKind::kData));
  ASSERT_OK(holder->wait_until_established());
  EXPECT_EQ(push_error(full, data_config(full)).code(), Errc::kRefused);
}

TEST(PushLogin, PasswordIsAskedForAndChecked) {
  TempDir tree;
  support::DaemonOptions options = RsyncDaemon::serving(tree.path());
  options.modules[0].read_only = false;
  options.modules[0].users = {{"me", "secret"}};
  RsyncDaemon daemon(options);
  PushConfig config;
  config.module = "m";
  config.entries = {file_entry("f", 4)};
  for (const char* password : {"", "wrong", "secret"}) {
    config.user = *password == '\0' ? "" : "me";
    config.password = password;
    const auto push = BlockingPush::over_tcp(daemon.port(), config);
    push->contents = {{0, "data"}};
    const auto finished = push->finish();
    if (config.password == "secret") {
      EXPECT_TRUE(finished.ok());
      EXPECT_EQ(support::read_file(tree / "f"), "data");
    } else {
      ASSERT_FALSE(finished.ok());
      EXPECT_EQ(finished.error().code(), Errc::kAuth);
    }
  }
}

class PushDisk : public PushInterop {};
INSTANTIATE_TEST_SUITE_P(Peers, PushDisk, all_push_peers(), testing::PrintToStringParamName());

// What was acknowledged stays, what was there before stays, and the reason is told.
TEST_P(PushDisk, Full) {
  const support::SmallDisk disk(target_.path(), "256k", 100);
  if (!disk.mounted()) GTEST_SKIP() << "needs root, to mount a small disk";
  support::write_file(target_ / "b", "old");
  const std::string large = support::random_bytes(1'000'000, 1);
  PushConfig config = target_.config(PushKind::kWholeData);
  config.entries = {file_entry("a", 3), file_entry("b", large.size())};
  const auto push = target_.open(config);
  push->contents = {{0, "new"}, {1, large}};
  const auto finished = push->finish();
  ASSERT_FALSE(finished.ok());
  EXPECT_EQ(finished.error().code(), Errc::kOs) << finished.error().message();
  EXPECT_EQ(finished.error().os_errno(), ENOSPC) << finished.error().message();
  EXPECT_EQ(push->succeeded, (std::vector<size_t>{0}));
  EXPECT_EQ(support::read_file(target_ / "a"), "new");
  EXPECT_EQ(support::read_file(target_ / "b"), "old");
}

// A failure of one entry is told, is not acknowledged, and hurts no other.
TEST_P(PushDisk, OneEntryFails) {
  support::make_dirs(target_ / "full/of/something");
  PushConfig config = target_.config(PushKind::kData);
  config.entries = {file_entry("full", 4), file_entry("good", 4), file_entry(std::string(256, 'n'), 4)};
  const auto push = target_.open(config);
  push->contents = {{0, "data"}, {1, "data"}, {2, "data"}};
  ASSERT_OK(push->finish());
  EXPECT_EQ(push->succeeded, (std::vector<size_t>{1}));
  EXPECT_NE(push->complaints().find("full"), std::string::npos);
  EXPECT_EQ(support::read_file(target_ / "good"), "data");
}

// A copy of blocks that are no longer there ends the session, or (before rsync 3.4) comes to nothing; what
// was acknowledged before is done.
TEST_P(PushDisk, BasisGoesAway) {
  const std::string data = support::random_bytes(700, 2);
  support::write_file(target_ / "b", data);
  PushConfig config = target_.config(PushKind::kData);
  config.entries = {file_entry("a", 4), file_entry("b", 700)};
  const auto push = target_.open(config);
  push->answer = [&](const PushRequest& request) {
    if (request.index == 0) push->send_whole(0, "data");
    if (request.again) push->session().decline(request.index);
  };
  ASSERT_OK(push->pump_until([&] { return push->requests.size() == 2 && !push->succeeded.empty(); }));
  ASSERT_EQ(unlink((target_ / "b").c_str()), 0);
  push->session().begin_file(1, push->requests[1].head);
  push->session().copy(0);
  push->session().end_file(push->digest_of(data));
  const auto finished = push->finish();
  EXPECT_EQ(finished.ok(), GetParam().old);
  if (!finished.ok()) {
    EXPECT_EQ(finished.error().code(), Errc::kProtocol) << finished.error().message();
  }
  EXPECT_EQ(push->succeeded, (std::vector<size_t>{0}));
  EXPECT_EQ(support::read_file(target_ / "a"), "data");
  EXPECT_EQ(stat_of(target_ / "b").st_mode, 0u);
}

TEST_P(PushDisk, LinkIsCutInAFile) {
  support::write_file(target_ / "f", "old");
  PushConfig config = target_.config(PushKind::kData);
  config.entries = {file_entry("f", 100'000)};
  auto push = target_.open(config);
  push->answer = [](const PushRequest&) {};
  ASSERT_OK(push->pump_until([&] { return !push->requests.empty(); }));
  push->session().begin_file(0, SumHead());
  const std::string half = support::random_bytes(50'000, 3);
  push->session().literal(std::as_bytes(std::span(half)));
  ASSERT_OK(push->pump_until([] { return true; }));
  push->close();
  push.reset();
  EXPECT_EQ(support::read_file(target_ / "f"), "old");
}

TEST(PushErrorsHidden, ExcludedNamesAreRefused) {
  PushTarget target({PeerKind::kDaemon, 32}, {{"exclude", "*.secret"}});
  support::write_file(target / "b.secret", "there");
  PushConfig config = target.config(PushKind::kData);
  config.entries = {file_entry("a.secret", 4), file_entry("b.secret", 4), file_entry("good", 4)};
  const auto push = target.open(config);
  push->contents = {{0, "data"}, {1, "data"}, {2, "data"}};
  ASSERT_OK(push->finish());
  EXPECT_EQ(push->succeeded, (std::vector<size_t>{2}));
  EXPECT_NE(push->complaints().find("a.secret"), std::string::npos);
  EXPECT_EQ(support::read_file(target / "b.secret"), "there");
}

TEST(PushErrorsDenied, DirectoryOfAnother) {
  if (geteuid() != 0) GTEST_SKIP() << "needs root, so that the daemon's \"nobody\" meets another's directory";
  PushTarget target({PeerKind::kDaemon, 32}, {{"uid", "nobody"}, {"gid", "nogroup"}});
  ASSERT_EQ(chmod(target.path().c_str(), 0777), 0);
  support::make_dirs(target / "locked");
  support::write_file(target / "others", "their contents");
  PushConfig config = target.config(PushKind::kData);
  config.entries = {file_entry("locked/f", 4), file_entry("g", 4)};
  auto push = target.open(config);
  push->contents = {{0, "data"}, {1, "data"}};
  ASSERT_OK(push->finish());
  EXPECT_EQ(push->succeeded, (std::vector<size_t>{1}));
  EXPECT_NE(push->complaints().find("Permission denied (13)"), std::string::npos);
  // Attributes that cannot be set are complained of, and acknowledged all the same.
  config = target.config(PushKind::kAttributes);
  config.entries = {file_entry("others", 14)};
  push = target.open(config);
  ASSERT_OK(push->finish());
  EXPECT_NE(push->complaints().find("others"), std::string::npos);
}

TEST(PushUsage, WhatCannotBePushed) {
  struct Ignore : PushEvents {
    void on_request(PushRequest /*request*/) override {}
    void on_finished() override {}
  } events;
  const auto code_of = [&](PushKind kind, PushEntry entry) {
    PushConfig config;
    config.module = "m";
    config.kind = kind;
    if (kind == PushKind::kMove) config.backup_dir = "elsewhere";
    PushSession session(config, events);
    const auto set = session.set_entries({std::move(entry)});
    return set.ok() ? std::optional<Errc>() : set.error().code();
  };
  const PushEntry good = file_entry("a/b", 1);
  EXPECT_FALSE(code_of(PushKind::kData, good));
  for (const std::string path : {"", "/a", "a/", "a//b", ".", "..", "a/../b", "a/./b"}) {
    EXPECT_EQ(code_of(PushKind::kData, file_entry(path, 1)), Errc::kUsage) << path;
  }
  EXPECT_EQ(code_of(PushKind::kData, file_entry(std::string("a\0b", 3), 1)), Errc::kUsage);
  EXPECT_EQ(code_of(PushKind::kData, file_entry(std::string(5000, 'a'), 1)), Errc::kUsage);
  for (const PushKind kind : {PushKind::kCreate, PushKind::kLink, PushKind::kMove, PushKind::kDelete}) {
    EXPECT_EQ(code_of(kind, good), Errc::kUsage);
  }
  PushEntry link = good;
  link.mode = S_IFLNK | 0777;
  EXPECT_EQ(code_of(PushKind::kCreate, link), Errc::kUsage);
  link.link_target = "x";
  EXPECT_FALSE(code_of(PushKind::kCreate, link));
  EXPECT_EQ(code_of(PushKind::kData, gone_entry("a")), Errc::kUsage);
  EXPECT_FALSE(code_of(PushKind::kDelete, gone_entry("a")));
  PushEntry attributes = good;
  attributes.xattrs = {{"user.a", "1", 1, false}, {"user.a", "2", 1, false}};
  EXPECT_EQ(code_of(PushKind::kData, attributes), Errc::kUsage);
  PushConfig twice;
  twice.module = "m";
  twice.entries = {good, good};
  PushSession session(twice, events);
  const auto received = session.receive({});
  ASSERT_FALSE(received.ok());
  EXPECT_EQ(received.error().code(), Errc::kUsage);
}

// A move to nowhere would be a removal.
TEST(PushUsage, BackupDirectoriesThatAreNone) {
  struct Ignore : PushEvents {
    void on_request(PushRequest /*request*/) override {}
    void on_finished() override {}
  } events;
  for (const PeerKind peer : {PeerKind::kDaemon, PeerKind::kShell}) {
    for (const char* directory : {"", ".", "./", "a/..", "../d", "x/../../d", "/d"}) {
      PushConfig config;
      config.peer = peer;
      config.module = "m";
      config.root = "/d";
      config.kind = PushKind::kMove;
      config.backup_dir = directory;
      PushSession session(config, events);
      EXPECT_FALSE(session.receive({}).ok()) << directory;
    }
  }
}

}  // namespace
}  // namespace rsyncfs
