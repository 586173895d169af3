// SPDX-License-Identifier: GPL-3.0-or-later
// Makes golden/*.bin anew: builds the golden tree, holds every conversation of golden_cases() with the rsync
// installed and keeps what it sent. Usage: rsync_golden_capture DIRECTORY. Must run as root (owners,
// devices).
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>

#include "tests/rsync/golden_cases.h"
#include "tests/rsync/golden_pushes.h"
#include "tests/support/blocking_pull.h"
#include "tests/support/files.h"
#include "tests/support/rsync_daemon.h"
#include "tests/support/setup_failure.h"
#include "tests/support/temp_dir.h"

namespace rsyncfs {
namespace {

using support::BlockingPull;
using support::write_file;

void must(bool ok, const char* what) {
  if (!ok) support::fail_setup_errno(what);
}

// golden_test.cc says the same of it.
void make_golden_tree(const std::string& root) {
  support::make_dirs(root + "/dir/inner");
  support::make_dirs(root + "/empty");
  write_file(root + "/text", golden_text());
  write_file(root + "/dir/one", "one\n");
  write_file(root + "/dir/\xff odd\nname", "odd");
  write_file(root + "/dir.txt", "beside dir", 0640);
  write_file(root + "/dir/inner/zero", "");
  must(link((root + "/dir/one").c_str(), (root + "/empty.link").c_str()) == 0, "link");
  must(symlink("dir/one", (root + "/symlink").c_str()) == 0, "symlink");
  must(mkfifo((root + "/fifo").c_str(), 0640) == 0, "mkfifo");
  must(mknod((root + "/device").c_str(), S_IFBLK | 0660, makedev(259, 70000)) == 0, "mknod");
  must(chmod((root + "/device").c_str(), 0660) == 0, "chmod");
  const std::string large(100, 'L');
  must(lsetxattr((root + "/text").c_str(), "user.small", "value", 5, 0) == 0, "setxattr");
  must(lsetxattr((root + "/text").c_str(), "user.large", large.data(), large.size(), 0) == 0, "setxattr");
  const std::string acl(
      "\x02\0\0\0\x01\0\x06\0\xff\xff\xff\xff\x02\0\x04\0\x01\0\0\0\x04\0\x04\0\xff\xff\xff\xff"
      "\x10\0\x04\0\xff\xff\xff\xff\x20\0\0\0\xff\xff\xff\xff",
      44);
  must(lsetxattr((root + "/dir.txt").c_str(), "system.posix_acl_access", acl.data(), acl.size(), 0) == 0,
       "acl");
  must(lsetxattr((root + "/dir").c_str(), "system.posix_acl_default", acl.data(), acl.size(), 0) == 0, "acl");
  must(lchown((root + "/dir/one").c_str(), 1, 2) == 0, "chown");
  for (const char* name : {"/dir/inner/zero", "/dir/inner", "/dir/one", "/dir/\xff odd\nname", "/dir",
                           "/dir.txt", "/empty", "/symlink", "/fifo", "/device", "/text", ""}) {
    support::set_mtime(root + name, 1'600'000'000, 0);
  }
  support::set_mtime(root + "/text", 1'700'000'000, 987'654'321);
  support::set_mtime(root + "/dir.txt", -86400, 0);
}

std::string capture(const GoldenCase& golden, const std::string& root) {
  std::string bytes;
  support::BlockingPullOptions options;
  options.record = &bytes;
  std::optional<support::RsyncDaemon> daemon;
  std::unique_ptr<BlockingPull> pull;
  PullConfig config = golden.config;
  if (config.peer == PeerKind::kDaemon) {
    daemon.emplace(support::RsyncDaemon::serving(root));
    pull = BlockingPull::over_tcp(daemon->port(), config, options);
  } else {
    config.root = root;
    if (golden.without_v) options.edit_arguments = support::without_negotiation;
    pull = BlockingPull::over_pipe("rsync", config, options);
  }
  const auto check = [](const auto& result) {
    if (!result.ok()) support::fail_setup(result.error().message());
  };
  if (config.paged) {
    check(pull->wait_for_pages());
    return bytes;
  }
  check(pull->wait_for_list());
  for (uint32_t ndx = 0; ndx < pull->list().size(); ++ndx) {
    const FileEntry& entry = pull->list().entry(ndx);
    const bool delta = golden.delta && pull->list().path(entry) == "text";
    if (S_ISREG(entry.mode)) check(pull->fetch(ndx, delta ? golden_basis() : ""));
  }
  check(pull->fetch_xattrs(*pull->list().find("text")));
  check(pull->finish());
  return bytes;
}

// Keeps its arguments and both directions of what passes through it; "$@" is HOST, the server's program and
// its arguments.
constexpr const char* kRecorder = R"(#!/bin/bash
shift 2
args=("$@")
if [ -n "$WITHOUT_V" ]; then
  for i in "${!args[@]}"; do args[i]=${args[i]/%e.LsfxCIvu/e.Lsf}; done
  args=(--protocol=31 "${args[@]}")
fi
printf '%s\n' "${@:1:$#-1}" > "$RECORD.args"
rsync "${args[@]}" < <(tee "$RECORD.sent") > >(tee "$RECORD.received")
)";

void capture_push(const GoldenPush& golden, const std::string& directory) {
  const support::TempDir dir;
  make_golden_tree(dir / "tree");
  write_file(dir / "recorder", kRecorder, 0755);
  support::make_dirs(dir / "destination");
  support::run_shell("cd " + (dir / "destination") + "; set -- " + (dir / "tree") + "; " +
                     golden.destination);
  std::string names;
  for (const std::string& path : golden.paths) names += path + '\0';
  write_file(dir / "names", names);
  std::vector<std::string> argv = {"rsync",
                                   "-e",
                                   dir / "recorder",
                                   "--from0",
                                   "--files-from=" + (dir / "names"),
                                   "-R",
                                   "--no-implied-dirs",
                                   "--checksum-seed=4711",
                                   "--no-msgs2stderr",
                                   "--protocol=" + std::to_string(golden.config.max_protocol)};
  if (golden.acknowledged) argv.emplace_back("--remove-source-files");
  if (golden.config.numeric_ids) argv.emplace_back("--numeric-ids");
  argv.insert(argv.end(), golden.options.begin(), golden.options.end());
  argv.push_back(dir / "tree/");
  argv.push_back("host:" + (dir / "destination/"));
  support::ProcessOptions process;
  process.environment = {{"RECORD", directory + "/push_" + golden.name}};
  if (golden.without_v) process.environment.emplace_back("WITHOUT_V", "1");
  const auto result = support::run_command(argv, std::chrono::seconds(30), process);
  std::printf("push %s: exit %d %s%s", golden.name.c_str(), result.exit_code, result.out.c_str(),
              result.err.empty() ? "\n" : result.err.c_str());
}

}  // namespace
}  // namespace rsyncfs

int main(int argc, char** argv) {
  using namespace rsyncfs;
  if (argc != 2 || geteuid() != 0) {
    std::fprintf(stderr, "usage (as root): %s DIRECTORY\n", argv[0]);
    return 2;
  }
  support::TempDir dir;
  make_golden_tree(dir / "tree");
  std::vector<GoldenCase> cases = golden_cases();
  for (GoldenCase& golden : golden_pages()) cases.push_back(std::move(golden));
  for (const GoldenCase& golden : cases) {
    const std::string bytes = capture(golden, dir / "tree");
    support::write_file(std::string(argv[1]) + "/" + golden.name + ".bin", bytes);
    std::printf("%s: %zu bytes\n", golden.name.c_str(), bytes.size());
  }
  for (const GoldenPush& golden : golden_pushes()) capture_push(golden, argv[1]);
  return 0;
}
