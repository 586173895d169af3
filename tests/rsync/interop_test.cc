// SPDX-License-Identifier: GPL-3.0-or-later
// Whole trees from the real rsync: every combination of server, protocol, checksum and compression; any order
// of requests.
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <random>
#include <tuple>

#include "tests/rsync/pull_testing.h"
#include "tests/support/old_rsync.h"
#include "tests/support/seed.h"

namespace rsyncfs {
namespace {

void make_tree(const std::string& root) {
  support::make_dirs(root + "/a/b");
  support::make_dirs(root + "/a-");
  support::make_dirs(root + "/empty");
  support::write_file(root + "/one", "one\n");
  support::write_file(root + "/a/two", std::string(300'000, 'x') + "end");
  support::write_file(root + "/a/random", support::random_bytes(200'001, 5));
  support::write_file(root + "/a/b/zero", "");
  support::write_file(root + "/a/b/text.gz", support::random_bytes(40'000, 6));
  support::write_file(root + "/a.txt", "sorts before the directory a");
  support::write_file(root + "/a-/x", std::string(70'000, 'y'));
  ASSERT_EQ(symlink("one", (root + "/link").c_str()), 0);
  support::set_mtime(root + "/one", 1'500'000'000, 123'456'789);
}
constexpr size_t kTreeEntries = 13;

// Fetches every regular file, in an order that the seed decides, several times over, pipelined.
void fetch_all_shuffled(BlockingPull& pull, const std::string& root, uint64_t seed) {
  std::mt19937_64 random(seed);
  std::vector<uint32_t> order;
  for (uint32_t i = 0; i < pull.list().size(); ++i) {
    if (S_ISREG(pull.list().entry(i).mode)) order.insert(order.end(), 3, i);
  }
  std::shuffle(order.begin(), order.end(), random);
  std::vector<MemorySink> sinks(order.size());
  for (size_t i = 0; i < order.size(); ++i) pull.session().request_file(order[i], {}, sinks[i]);
  EXPECT_EQ(pull.session().unanswered(), order.size());
  ASSERT_OK(pull.pump_until([&] { return pull.session().unanswered() == 0; }));
  for (size_t i = 0; i < order.size(); ++i) {
    const std::string path = pull.list().path(pull.list().entry(order[i]));
    ASSERT_TRUE(sinks[i].end) << path;
    EXPECT_EQ(sinks[i].end->status, FileEnd::Status::kGood) << path;
    EXPECT_EQ(sinks[i].data, support::read_file(root + "/" + path)) << path;
    EXPECT_EQ(sinks[i].end->size, sinks[i].data.size());
    EXPECT_EQ(sinks[i].begun, 1);
    EXPECT_FALSE(sinks[i].gap);
  }
}

enum class Server { kDaemon, kPipe, kOldPipe, kNoNegotiation };
using Combination = std::tuple<Server, int, std::optional<ChecksumKind>, CompressionKind>;

class PullMatrix : public testing::TestWithParam<Combination> {};

TEST_P(PullMatrix, ListsAndFetches) {
  const auto& [server, protocol, checksum, compression] = GetParam();
  TempDir dir;
  make_tree(dir.path());
  PullConfig config = daemon_config();
  config.max_protocol = protocol;
  config.checksum = checksum;
  config.compression = compression;
  std::optional<RsyncDaemon> daemon;
  std::unique_ptr<BlockingPull> pull;
  if (server == Server::kDaemon) {
    daemon.emplace(RsyncDaemon::serving(dir.path()));
    pull = BlockingPull::over_tcp(daemon->port(), config);
  } else {
    config.root = dir.path();
    const std::string program = server == Server::kOldPipe ? support::require_old_rsync() : "rsync";
    BlockingPullOptions options;
    if (server == Server::kNoNegotiation) options.edit_arguments = support::without_negotiation;
    pull = BlockingPull::over_pipe(program, config, options);
  }
  ASSERT_OK(pull->wait_for_list());
  EXPECT_TRUE(pull->established);
  EXPECT_EQ(pull->session().state(), PullState::kArmed);
  EXPECT_EQ(pull->session().protocol(), protocol);
  const auto usual = server == Server::kNoNegotiation ? ChecksumKind::kMd5 : ChecksumKind::kXxh128;
  EXPECT_EQ(pull->session().checksum(), checksum.value_or(usual));
  EXPECT_EQ(pull->session().compression(), compression);
  EXPECT_EQ(pull->session().server_version().empty(), server != Server::kDaemon);
  EXPECT_EQ(pull->list().size(), kTreeEntries);
  const auto& one = pull->list().entry(*pull->list().find("one"));
  EXPECT_EQ(one.mtime_s, 1'500'000'000);
  EXPECT_EQ(one.mtime_ns, protocol >= 31 ? 123'456'789u : 0u);
  fetch_all_shuffled(*pull, dir.path(), support::test_seed());
  EXPECT_OK(pull->finish());
}

std::string combination_name(const testing::TestParamInfo<Combination>& info) {
  const auto& [server, protocol, checksum, compression] = info.param;
  constexpr const char* kServers[] = {"daemon", "pipe", "old", "nonegotiation"};
  std::string name = kServers[static_cast<size_t>(server)];
  name += std::to_string(protocol);
  name += checksum ? std::string(checksum_name(*checksum)) : "negotiated";
  return name + (compression == CompressionKind::kNone   ? "plain"
                 : compression == CompressionKind::kZstd ? "zstd"
                                                         : "zlibx");
}

INSTANTIATE_TEST_SUITE_P(AllWays, PullMatrix,
                         testing::Combine(testing::Values(Server::kDaemon, Server::kPipe, Server::kOldPipe),
                                          testing::Values(30, 31, 32),
                                          testing::Values(std::optional<ChecksumKind>()),
                                          testing::Values(CompressionKind::kNone, CompressionKind::kZlibx,
                                                          CompressionKind::kZstd)),
                         combination_name);

// As rsync before 3.2.0 answers: flags of one and two bytes, MD5, no zstd.
INSTANTIATE_TEST_SUITE_P(WithoutNegotiation, PullMatrix,
                         testing::Combine(testing::Values(Server::kNoNegotiation), testing::Values(30, 31),
                                          testing::Values(std::optional<ChecksumKind>(), ChecksumKind::kMd4),
                                          testing::Values(CompressionKind::kNone, CompressionKind::kZlibx)),
                         combination_name);

INSTANTIATE_TEST_SUITE_P(AllChecksums, PullMatrix,
                         testing::Combine(testing::Values(Server::kDaemon, Server::kOldPipe),
                                          testing::Values(32),
                                          testing::Values(ChecksumKind::kMd4, ChecksumKind::kMd5,
                                                          ChecksumKind::kSha1, ChecksumKind::kXxh64,
                                                          ChecksumKind::kXxh3, ChecksumKind::kXxh128,
                                                          ChecksumKind::kNone),
                                          testing::Values(CompressionKind::kNone)),
                         combination_name);

TEST(PullInterop, ByteByByteEqualsWhole) {
  TempDir dir;
  make_tree(dir.path());
  RsyncDaemon daemon(RsyncDaemon::serving(dir.path()));
  for (const CompressionKind compression :
       {CompressionKind::kNone, CompressionKind::kZlibx, CompressionKind::kZstd}) {
    PullConfig config = daemon_config();
    config.compression = compression;
    BlockingPullOptions options;
    options.read_size = 1;
    auto pull = BlockingPull::over_tcp(daemon.port(), config, options);
    ASSERT_OK(pull->wait_for_list());
    EXPECT_EQ(pull->list().size(), kTreeEntries);
    fetch_all_shuffled(*pull, dir.path(), 1);
    EXPECT_OK(pull->finish());
  }
}

TEST(PullInterop, OneFlightOpening) {
  TempDir dir;
  make_tree(dir.path());
  RsyncDaemon daemon(RsyncDaemon::serving(dir.path()));
  PullConfig config = paths_config({"a/", "one"});
  config.taken_for.emplace();
  config.compression = CompressionKind::kZstd;
  auto pull = BlockingPull::over_tcp(daemon.port(), config);
  ASSERT_OK(pull->wait_for_list());
  EXPECT_OK(pull->fetch("a/two"));
  EXPECT_OK(pull->finish());
}

TEST(PullInterop, PipelinesTwentyThousandFiles) {
  TempDir dir;
  support::make_many_files(dir.path(), 40, 500, 1000);
  RsyncDaemon daemon(RsyncDaemon::serving(dir.path()));
  PullConfig config = daemon_config();
  config.numeric_ids = true;
  auto pull = BlockingPull::over_tcp(daemon.port(), config);
  ASSERT_OK(pull->wait_for_list());
  std::vector<uint32_t> files;
  for (uint32_t i = 0; i < pull->list().size(); ++i) {
    if (S_ISREG(pull->list().entry(i).mode)) files.push_back(i);
  }
  ASSERT_EQ(files.size(), 20'000u);
  std::vector<MemorySink> sinks(files.size());
  for (size_t i = 0; i < files.size(); ++i) pull->session().request_file(files[i], {}, sinks[i]);
  ASSERT_OK(pull->pump_until([&] { return pull->session().unanswered() == 0; }));
  for (size_t i = 0; i < files.size(); ++i) {
    ASSERT_EQ(sinks[i].end->status, FileEnd::Status::kGood);
    ASSERT_EQ(sinks[i].data, support::read_file(dir / pull->list().path(pull->list().entry(files[i]))));
  }
  EXPECT_OK(pull->finish());
}

TEST(PullInterop, SilentClientsOutliveTheServersTimeout) {
  TempDir dir;
  make_tree(dir.path());
  auto options = RsyncDaemon::serving(dir.path());
  options.modules[0].parameters.emplace_back("timeout", "2");
  RsyncDaemon daemon(options);
  auto pull = BlockingPull::over_tcp(daemon.port(), daemon_config());
  ASSERT_OK(pull->wait_for_list());
  EXPECT_EQ(pull->session().server_io_timeout_s(), 2);
  const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(5);
  const uint64_t received = pull->bytes_received;
  const uint64_t sent = pull->bytes_sent;
  ASSERT_OK(pull->pump_until([&] { return std::chrono::steady_clock::now() > until; }));
  EXPECT_GT(pull->bytes_received, received);  // the server's own keep-alives
  EXPECT_EQ(pull->bytes_sent, sent);
  EXPECT_OK(pull->fetch("a/two"));
  EXPECT_OK(pull->finish());
}

// A stream that nobody reads lasts as long as the client says that it is there, and no longer.
TEST(PullInterop, UnreadStreamsNeedKeepAlives) {
  TempDir dir;
  constexpr off_t kSize = 256 << 20;  // more than what the sockets hold
  support::write_file(dir / "f", "");
  ASSERT_EQ(truncate((dir / "f").c_str(), kSize), 0);
  auto options = RsyncDaemon::serving(dir.path());
  options.modules[0].parameters.emplace_back("timeout", "3");
  RsyncDaemon daemon(options);
  struct Counter : MemorySink {
    Result<void> literal(uint64_t /*offset*/, std::span<const std::byte> bytes) override {
      literal_bytes += bytes.size();
      return {};
    }
  } kept_sink;
  Counter left_sink;
  auto kept = BlockingPull::over_tcp(daemon.port(), daemon_config());
  auto left = BlockingPull::over_tcp(daemon.port(), daemon_config());
  for (auto [pull, sink] : {std::pair(kept.get(), &kept_sink), {left.get(), &left_sink}}) {
    ASSERT_OK(pull->wait_for_list());
    pull->session().request_file(*pull->list().find("f"), {}, *sink);
    ASSERT_OK(pull->pump_until([&] { return sink->begun > 0; }));
  }
  const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(8);
  while (std::chrono::steady_clock::now() < until) {
    kept->session().keep_alive();
    ASSERT_OK(kept->send_some());
    usleep(200'000);
  }
  EXPECT_OK(kept->pump_until([&] { return kept_sink.end.has_value(); }));
  EXPECT_EQ(kept_sink.literal_bytes, static_cast<uint64_t>(kSize));
  EXPECT_OK(kept->finish());
  const auto ended = left->pump_until([&] { return left_sink.end.has_value(); });
  EXPECT_FALSE(ended.ok());
  EXPECT_LT(left_sink.literal_bytes, static_cast<uint64_t>(kSize));
}

TEST(PullInterop, FailingSinkDoesNotDisturbTheNext) {
  TempDir dir;
  make_tree(dir.path());
  RsyncDaemon daemon(RsyncDaemon::serving(dir.path()));
  auto pull = BlockingPull::over_tcp(daemon.port(), daemon_config());
  ASSERT_OK(pull->wait_for_list());
  MemorySink broken;
  broken.fail_with = Error(Errc::kLimit, "no space");
  pull->session().request_file(*pull->list().find("a/two"), {}, broken);
  auto next = pull->fetch("a/two");
  ASSERT_OK(next);
  EXPECT_EQ(next->end->status, FileEnd::Status::kGood);
  ASSERT_TRUE(broken.end);
  EXPECT_EQ(broken.end->status, FileEnd::Status::kBadDigest);
  EXPECT_EQ(broken.end->reason.message(), "no space");
  EXPECT_OK(pull->finish());
}

TEST(PullInterop, ARestrictedShellAccepts) {
  TempDir dir;
  make_tree(dir.path());
  // rrsync runs what the client asked for in $SSH_ORIGINAL_COMMAND, below one directory.
  const std::string script = dir / "restricted";
  support::write_file(
      script, "#!/bin/bash\nexport SSH_ORIGINAL_COMMAND=\"rsync $*\"\nexec rrsync -ro " + dir.path() + "\n",
      0755);
  for (const bool with_paths : {false, true}) {
    PullConfig config = with_paths ? paths_config({"b/", "gone"}) : daemon_config();
    config.root = "a";
    config.report_missing = false;  // a read-only one takes no option named after deleting
    config.checksum_seed = 5;
    config.io_timeout_s = 30;
    config.compression = with_paths ? CompressionKind::kZstd : CompressionKind::kZlibx;
    auto pull = BlockingPull::over_pipe(script, config);
    ASSERT_OK(pull->wait_for_list());
    EXPECT_OK(pull->fetch("b/text.gz"));
    EXPECT_OK(pull->finish());
  }
  PullConfig config = paths_config({"gone"});
  config.root = "a";
  const auto refused = BlockingPull::over_pipe(script, config)->wait_for_list();
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().code(), Errc::kDisconnected);
}

TEST(PullInterop, FiltersHideFiles) {
  TempDir dir;
  make_tree(dir.path());
  RsyncDaemon daemon(RsyncDaemon::serving(dir.path()));
  PullConfig config = daemon_config();
  config.filters = {"- *.txt", "- /a/"};
  auto pull = BlockingPull::over_tcp(daemon.port(), config);
  ASSERT_OK(pull->wait_for_list());
  EXPECT_FALSE(pull->list().find("a.txt"));
  EXPECT_FALSE(pull->list().find("a"));
  EXPECT_TRUE(pull->list().find("a-/x"));
}

TEST(PullInterop, FiltersOfAnyBytesAndTheOneThatForgets) {
  TempDir dir;
  for (const char* name : {"\xff\xfe", "caf\xe9", "keep"}) support::write_file(dir / name, "x");
  RsyncDaemon daemon(RsyncDaemon::serving(dir.path()));
  PullConfig config = daemon_config();
  config.filters = {"- keep", "!", "- \xff*", "- *\xe9"};
  auto pull = BlockingPull::over_tcp(daemon.port(), config);
  ASSERT_OK(pull->wait_for_list());
  EXPECT_EQ(pull->list().size(), 2u);  // with the root
  EXPECT_TRUE(pull->list().find("keep"));
  EXPECT_OK(pull->finish());
}

// A server offers what it was built with, in rsync's order: the first of our names that it has is taken.
TEST(PullInterop, CompressionIsTheFirstThatBothHave) {
  TempDir dir;
  const std::string text(1'000'000, 'x');
  support::write_file(dir / "f", text);
  PullConfig config;
  config.root = dir.path();
  config.compression = CompressionKind::kZstd;
  for (const auto& [offered, expected] :
       {std::pair<std::string, CompressionKind>("zstd lz4 zlibx zlib", CompressionKind::kZstd),
        {"lz4 zlibx zlib", CompressionKind::kZlibx}}) {
    SCOPED_TRACE(offered);
    BlockingPullOptions options;
    options.edit_arguments = [&](std::vector<std::string>& arguments) {
      arguments.insert(arguments.begin(), {"env", "RSYNC_COMPRESS_LIST=" + offered});
    };
    auto pull = BlockingPull::over_pipe("rsync", config, options);
    ASSERT_OK(pull->wait_for_list());
    EXPECT_EQ(pull->session().compression(), expected);
    const auto file = pull->fetch("f");
    ASSERT_OK(file);
    EXPECT_TRUE(file->data == text);
    EXPECT_LT(pull->bytes_received, text.size() / 10);
    EXPECT_OK(pull->finish());
  }
  BlockingPullOptions none;
  none.edit_arguments = [](std::vector<std::string>& arguments) {
    arguments.insert(arguments.begin(), {"env", "RSYNC_COMPRESS_LIST=zlib"});
  };
  auto pull = BlockingPull::over_pipe("rsync", config, none);
  const auto listed = pull->wait_for_list();
  ASSERT_FALSE(listed.ok());
  EXPECT_EQ(listed.error().code(), Errc::kUnsupported) << listed.error().message();
}

TEST(PullInterop, ModuleList) {
  TempDir dir;
  const std::string motd = dir / "motd";
  support::write_file(motd, "welcome\tto\nthis server\n");
  auto options = RsyncDaemon::serving(dir.path());
  options.globals.emplace_back("motd file", motd);
  options.modules[0].parameters.emplace_back("comment", "the only one");
  options.modules.push_back(
      {.name = "a name of more than fifteen", .path = dir.path(), .users = {}, .parameters = {}});
  options.modules.push_back(
      {.name = "hidden", .path = dir.path(), .users = {}, .parameters = {{"list", "no"}}});
  RsyncDaemon daemon(options);
  const std::string raw =
      support::run_shell("exec 3<>/dev/tcp/127.0.0.1/" + std::to_string(daemon.port()) +
                         "; printf '@RSYNCD: 32.0 sha512 sha256 sha1 md5 md4\\n#list\\n' >&3; cat <&3");
  ModuleListSession session;
  for (const char c : raw) ASSERT_OK(session.receive(std::as_bytes(std::span(&c, 1))));
  ASSERT_TRUE(session.finished());
  ASSERT_EQ(session.modules().size(), 2u);
  EXPECT_EQ(session.modules()[0].name, "m");
  EXPECT_EQ(session.modules()[0].comment, "the only one");
  EXPECT_EQ(session.modules()[1].name, "a name of more than fifteen");
}

}  // namespace
}  // namespace rsyncfs
