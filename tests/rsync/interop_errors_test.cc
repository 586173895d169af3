// SPDX-License-Identifier: GPL-3.0-or-later
// Logins and refusals of the real daemon, and the Errors they become.
#include <sys/stat.h>
#include <unistd.h>

#include "sync/rsync/server_text.h"
#include "tests/rsync/pull_testing.h"
#include "tests/support/setup_failure.h"

namespace rsyncfs {
namespace {

// Tries to get a list; the error it ends with.
Error list_error(uint16_t port, const PullConfig& config) {
  auto pull = BlockingPull::over_tcp(port, config);
  auto listed = pull->wait_for_list();
  if (listed.ok()) return Error(Errc::kCanceled, "listed after all");
  return listed.error();
}

support::DaemonOptions with_login(const std::string& path) {
  auto options = RsyncDaemon::serving(path);
  options.modules[0].users = {{"alice", "wonder land #1"}};
  return options;
}

class Login : public testing::TestWithParam<std::string> {};

TEST_P(Login, EachDigest) {
  TempDir dir;
  support::write_file(dir / "f", "secret");
  auto options = with_login(dir.path());
  options.globals.emplace_back("auth digest", GetParam());
  RsyncDaemon daemon(options);
  PullConfig config = daemon_config();
  config.user = "alice";
  config.password = "wonder land #1";
  auto pull = BlockingPull::over_tcp(daemon.port(), config);
  ASSERT_OK(pull->wait_for_list());
  const auto file = pull->fetch("f");
  ASSERT_OK(file);
  EXPECT_EQ(file->data, "secret");
  EXPECT_OK(pull->finish());
}
INSTANTIATE_TEST_SUITE_P(Digests, Login, testing::Values("sha512", "sha256", "sha1", "md5", "md4"),
                         [](const auto& info_) { return info_.param; });

TEST(PullErrors, LoginsThatFail) {
  TempDir dir;
  RsyncDaemon daemon(with_login(dir.path()));
  PullConfig config = daemon_config();
  EXPECT_EQ(list_error(daemon.port(), config).code(), Errc::kAuth);
  config.user = "alice";
  config.password = "wrong";
  const Error wrong = list_error(daemon.port(), config);
  EXPECT_EQ(wrong.code(), Errc::kAuth);
  EXPECT_EQ(wrong.message(), "auth failed on module m");
  config.user = "bob";
  EXPECT_EQ(list_error(daemon.port(), config).code(), Errc::kAuth);
  config.taken_for.emplace();
  EXPECT_EQ(list_error(daemon.port(), config).code(), Errc::kAuth);
}

// What a client hears that has none of the daemon's digests; ours has them all.
TEST(PullErrors, NoDigestInCommonIsUnsupported) {
  TempDir dir;
  RsyncDaemon daemon(with_login(dir.path()));
  const std::string heard = support::run_shell("exec 3<>/dev/tcp/127.0.0.1/" + std::to_string(daemon.port()) +
                                               "; printf '@RSYNCD: 32.0 foo\\nm\\n' >&3; cat <&3");
  const size_t error = heard.find("@ERROR");
  ASSERT_NE(error, std::string::npos) << heard;
  EXPECT_EQ(session_error(heard.substr(error), Errc::kRefused).code(), Errc::kUnsupported) << heard;
}

TEST(PullErrors, DaemonRefusals) {
  TempDir dir;
  auto options = RsyncDaemon::serving(dir.path());
  const auto module = [&](const std::string& name, support::DaemonParameters parameters,
                          const std::string& path) {
    options.modules.push_back({.name = name, .path = path, .users = {}, .parameters = std::move(parameters)});
  };
  module("denied", {{"hosts deny", "*"}}, dir.path());
  module("one", {{"max connections", "1"}, {"lock file", dir / "lock"}}, dir.path());
  module("noacl", {{"refuse options", "acls"}}, dir.path());
  module("noxattr", {{"refuse options", "xattrs"}}, dir.path());
  module("absent", {}, dir / "absent");
  module("writeonly", {{"write only", "yes"}}, dir.path());
  RsyncDaemon daemon(options);
  const auto error = [&](const std::string& name) {
    PullConfig config = daemon_config();
    config.module = name;
    return list_error(daemon.port(), config);
  };
  EXPECT_EQ(error("nosuch").code(), Errc::kNotFound);
  EXPECT_EQ(error("denied").code(), Errc::kRefused);
  EXPECT_EQ(error("absent").code(), Errc::kRefused);
  EXPECT_EQ(error("writeonly").code(), Errc::kPermission);
  EXPECT_EQ(error("noacl").code(), Errc::kUnsupported);
  EXPECT_NE(error("noacl").message().find("acls"), std::string::npos) << error("noacl").message();
  EXPECT_EQ(error("noxattr").code(), Errc::kUnsupported);
  PullConfig config = daemon_config();
  config.module = "one";
  auto holder = BlockingPull::over_tcp(daemon.port(), config);
  ASSERT_OK(holder->wait_for_list());
  EXPECT_EQ(error("one").code(), Errc::kRefused);
  // Without the refused option the list comes.
  config.module = "noacl";
  config.acls = false;
  auto pull = BlockingPull::over_tcp(daemon.port(), config);
  EXPECT_OK(pull->wait_for_list());
}

TEST(PullErrors, UnknownOptionsAreUnsupported) {
  TempDir dir;
  RsyncDaemon daemon(RsyncDaemon::serving(dir.path()));
  PullConfig config = daemon_config();
  config.extra_args = {"--no-such-option"};
  const Error error = list_error(daemon.port(), config);
  EXPECT_EQ(error.code(), Errc::kUnsupported) << error.message();
}

TEST(PullErrors, RootsThatAreMissingOrNoDirectory) {
  TempDir dir;
  support::write_file(dir / "file", "x");
  RsyncDaemon daemon(RsyncDaemon::serving(dir.path()));
  for (const bool with_paths : {false, true}) {
    SCOPED_TRACE(with_paths);
    PullConfig config = with_paths ? paths_config({"./"}) : daemon_config();
    config.root = "gone/deeper";
    const Error gone = list_error(daemon.port(), config);
    EXPECT_EQ(gone.code(), Errc::kNotFound) << gone.message();
    EXPECT_EQ(gone.os_errno(), ENOENT);
    config.root = "file";
    const Error file = list_error(daemon.port(), config);
    EXPECT_EQ(file.code(), Errc::kNotDirectory) << file.message();
  }
}

TEST(PullErrors, UnreadableRootIsPermission) {
  if (geteuid() != 0) GTEST_SKIP() << "needs root, so that the daemon's \"nobody\" meets another's directory";
  TempDir dir;
  support::make_dirs(dir / "locked/inner");
  ASSERT_EQ(chmod((dir / "locked").c_str(), 0700), 0);
  auto options = RsyncDaemon::serving(dir.path());
  options.modules[0].parameters = {{"uid", "nobody"}, {"gid", "nogroup"}};
  RsyncDaemon daemon(options);
  PullConfig config = daemon_config();
  config.root = "locked/inner";
  const Error error = list_error(daemon.port(), config);
  EXPECT_EQ(error.code(), Errc::kPermission) << error.message();
  // A directory that cannot be read is listed, with the error noted: what is absent proves nothing.
  config.root = "locked";
  EXPECT_EQ(list_error(daemon.port(), config).code(), Errc::kPermission);
  config.root = "";
  auto pull = BlockingPull::over_tcp(daemon.port(), config);
  ASSERT_OK(pull->wait_for_list());
  EXPECT_NE(pull->list().io_error, 0u);
  EXPECT_TRUE(pull->list().find("locked"));
}

TEST(PullErrors, MessageOfTheDayIsPassedOn) {
  TempDir dir;
  support::write_file(dir / "motd", "hello\nthere\n");
  auto options = RsyncDaemon::serving(dir.path());
  options.globals.emplace_back("motd file", dir / "motd");
  RsyncDaemon daemon(options);
  auto pull = BlockingPull::over_tcp(daemon.port(), daemon_config());
  ASSERT_OK(pull->wait_for_list());
  ASSERT_EQ(pull->messages.size(), 3u);
  EXPECT_EQ(pull->messages[0], std::pair(MessageKind::kMotd, std::string("hello")));
  EXPECT_EQ(pull->messages[1].second, "there");
  EXPECT_TRUE(pull->session().server_version().starts_with("@RSYNCD: 32.0"));
}

TEST(PullErrors, KilledServerIsADisconnection) {
  TempDir dir;
  RsyncDaemon daemon(RsyncDaemon::serving(dir.path()));
  auto pull = BlockingPull::over_tcp(daemon.port(), daemon_config());
  ASSERT_OK(pull->wait_for_list());
  daemon.kill9();
  const auto ended = pull->pump_until([] { return false; });
  ASSERT_FALSE(ended.ok());
  EXPECT_EQ(ended.error().code(), Errc::kDisconnected);
}

TEST(PullErrors, ADeclinedFileIsNotWhyAServerDiedLater) {
  if (geteuid() != 0) GTEST_SKIP() << "needs root, so that the daemon's \"nobody\" meets another's file";
  TempDir dir;
  support::write_file(dir / "locked", "x");
  ASSERT_EQ(chmod(dir.path().c_str(), 0755), 0);
  ASSERT_EQ(chmod((dir / "locked").c_str(), 0600), 0);
  auto options = RsyncDaemon::serving(dir.path());
  options.modules[0].parameters = {{"uid", "nobody"}, {"gid", "nogroup"}};
  RsyncDaemon daemon(options);
  auto pull = BlockingPull::over_tcp(daemon.port(), daemon_config());
  ASSERT_OK(pull->wait_for_list());
  const auto declined = pull->fetch("locked");
  ASSERT_OK(declined);
  EXPECT_EQ(declined->end->reason.code(), Errc::kPermission);
  daemon.kill9();
  EXPECT_EQ(pull->pump_until([] { return false; }).error().code(), Errc::kDisconnected);
}

// What the real server said up to the middle of a list in which one directory could not be read.
TEST(PullErrors, AnUnreadableDirectoryIsNotWhyTheLinkWasCut) {
  if (geteuid() != 0) GTEST_SKIP() << "needs root, so that the daemon's \"nobody\" meets another's directory";
  TempDir dir;
  support::make_dirs(dir / "a_locked/inner");
  support::make_many_files(dir / "many", 20, 100, 1);
  ASSERT_EQ(chmod(dir.path().c_str(), 0755), 0);
  ASSERT_EQ(chmod((dir / "a_locked").c_str(), 0700), 0);
  auto options = RsyncDaemon::serving(dir.path());
  options.modules[0].parameters = {{"uid", "nobody"}, {"gid", "nogroup"}};
  RsyncDaemon daemon(options);
  std::string recorded;
  BlockingPullOptions recording;
  recording.record = &recorded;
  auto whole = BlockingPull::over_tcp(daemon.port(), daemon_config(), recording);
  ASSERT_OK(whole->wait_for_list());
  const size_t complaint = recorded.find("Permission denied (13)");
  ASSERT_NE(complaint, std::string::npos);
  struct Listener : PullEvents {
    void on_list(const FileList& /*list*/) override { listed = true; }
    void on_message(MessageKind kind, std::string_view /*text*/) override {
      complained |= kind == MessageKind::kError;
    }
    bool listed = false;
    bool complained = false;
  } listener;
  PullSession cut(daemon_config(), listener);
  const std::string_view before(recorded.data(),
                                complaint + std::string_view("Permission denied (13)\n").size());
  ASSERT_OK(cut.receive(std::as_bytes(std::span(before.data(), before.size()))));
  ASSERT_TRUE(listener.complained);
  ASSERT_FALSE(listener.listed);
  EXPECT_EQ(cut.end_of_input().error().code(), Errc::kDisconnected);
}

// Without -R a sender loses its way when the directory of a request is gone, and ends as if it had been asked
// to.
TEST(PullErrors, AServerThatStopsByItselfSaysWhy) {
  TempDir dir;
  for (const char* name : {"one", "two"}) {
    support::make_dirs(dir / name);
    support::write_file(dir / (std::string(name) + "/f_" + name), "x");
  }
  PullConfig config;
  config.root = dir.path();
  BlockingPullOptions options;
  options.edit_arguments = [&](std::vector<std::string>& arguments) {
    arguments.back() = dir / "one/";
    arguments.push_back(dir / "two/");
  };
  auto pull = BlockingPull::over_pipe("rsync", config, options);
  ASSERT_OK(pull->wait_for_list());
  ASSERT_EQ(rename((dir / "one").c_str(), (dir / "gone").c_str()), 0);
  const auto got = pull->fetch("f_one");
  ASSERT_FALSE(got.ok());
  EXPECT_EQ(got.error().code(), Errc::kDisconnected);
  EXPECT_NE(got.error().message().find("No such file"), std::string::npos) << got.error().message();
}

TEST(PullErrors, AnotherProgramOnTheOtherSide) {
  TempDir dir;
  PullConfig config;
  config.root = dir.path();
  auto noisy = BlockingPull::over_pipe("/bin/echo", config);
  const auto listed = noisy->wait_for_list();
  ASSERT_FALSE(listed.ok());
  EXPECT_EQ(listed.error().code(), Errc::kProtocol) << listed.error().message();
  auto silent = BlockingPull::over_pipe("/bin/false", config);
  EXPECT_EQ(silent->wait_for_list().error().code(), Errc::kDisconnected);
}

TEST(PullErrors, BadConfigurationsAreUsage) {
  const auto code = [](auto change) {
    PullConfig config = daemon_config();
    change(config);
    struct : PullEvents {
      void on_list(const FileList& /*list*/) override {}
    } events;
    PullSession session(config, events);
    const auto received = session.receive({});
    EXPECT_TRUE(session.output().empty());
    return received.ok() ? Errc::kCanceled : received.error().code();
  };
  EXPECT_EQ(code([](PullConfig& c) { c.module = ""; }), Errc::kUsage);
  EXPECT_EQ(code([](PullConfig& c) { c.module = "a/b"; }), Errc::kUsage);
  EXPECT_EQ(code([](PullConfig& c) { c.module = "a\nb"; }), Errc::kUsage);
  EXPECT_EQ(code([](PullConfig& c) { c.module = "#list"; }), Errc::kUsage);
  EXPECT_EQ(code([](PullConfig& c) { c.max_protocol = 29; }), Errc::kUsage);
  EXPECT_EQ(code([](PullConfig& c) { c.root = std::string("a\0b", 3); }), Errc::kUsage);
  EXPECT_EQ(code([](PullConfig& c) { c.paths = {std::string("\0", 1)}; }), Errc::kUsage);
  EXPECT_EQ(code([](PullConfig& c) { c.paths = {std::string(5000, 'x')}; }), Errc::kUsage);
  EXPECT_EQ(code([](PullConfig& c) { c.user = "two words"; }), Errc::kUsage);
  EXPECT_EQ(code([](PullConfig& c) { c.extra_args = {""}; }), Errc::kUsage);
}

}  // namespace
}  // namespace rsyncfs
