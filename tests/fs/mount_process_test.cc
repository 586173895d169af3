// SPDX-License-Identifier: GPL-3.0-or-later
// Read-write mounts whose process is killed, whose source is real, and which real programs work on.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <map>
#include <random>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "io/base/unique_fd.h"
#include "tests/fs/mount_rig.h"
#include "tests/fs/mount_server_rig.h"
#include "tests/support/files.h"
#include "tests/support/programs.h"
#include "tests/support/rsync_daemon.h"
#include "tests/support/seed.h"
#include "tests/support/tree_compare.h"

namespace rsyncfs::testing {
namespace {

using std::chrono::seconds;
using support::CommandResult;
using support::read_file;
using support::write_file;

// ---- kill -9 ----

// A small world of files, changed by one system call at a time; everything follows from the seed.
class World {
 public:
  explicit World(uint64_t seed) : random_(seed) {}

  struct Step {
    enum class Kind : uint8_t { kCreate, kAppend, kRename, kUnlink } kind = Kind::kCreate;
    std::string name;
    std::string text;  // kAppend: what; kRename: the new name
  };
  using Files = std::map<std::string, std::string>;

  Step next(const Files& files) {
    const unsigned draw = random_() % 10;
    if (files.size() < 3 || draw < 2) return {Step::Kind::kCreate, "f" + std::to_string(number_++), ""};
    auto chosen = files.begin();
    std::advance(chosen, static_cast<long>(random_() % files.size()));
    if (draw < 7) return {Step::Kind::kAppend, chosen->first, std::string(1 + random_() % 3000, letter())};
    if (draw < 9)
      return {Step::Kind::kRename, chosen->first, "f" + std::to_string(random_() % (number_ + 1))};
    return {Step::Kind::kUnlink, chosen->first, ""};
  }

  static void apply(Files& files, const Step& step) {
    switch (step.kind) {
      case Step::Kind::kCreate:
        files[step.name];
        return;
      case Step::Kind::kAppend:
        files[step.name] += step.text;
        return;
      case Step::Kind::kRename: {
        std::string content = files[step.name];
        files.erase(step.name);
        files[step.text] = std::move(content);
        return;
      }
      case Step::Kind::kUnlink:
        files.erase(step.name);
        return;
    }
  }

  static bool perform(const std::string& directory, const Step& step) {
    const std::string path = directory + "/" + step.name;
    switch (step.kind) {
      case Step::Kind::kCreate:
        return static_cast<bool>(UniqueFd(::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL, 0644)));
      case Step::Kind::kAppend: {
        const UniqueFd file(::open(path.c_str(), O_WRONLY | O_APPEND));
        return file && ::write(file.get(), step.text.data(), step.text.size()) ==
                           static_cast<ssize_t>(step.text.size());
      }
      case Step::Kind::kRename:
        return ::rename(path.c_str(), (directory + "/" + step.text).c_str()) == 0;
      case Step::Kind::kUnlink:
        return ::unlink(path.c_str()) == 0;
    }
    return false;
  }

 private:
  char letter() { return static_cast<char>('a' + random_() % 26); }
  std::mt19937_64 random_;
  uint64_t number_ = 0;
};

World::Files files_in(const std::string& directory) {
  World::Files files;
  for (const auto& entry : std::filesystem::directory_iterator(directory)) {
    files[entry.path().filename().string()] = read_file(entry.path().string());
  }
  return files;
}

std::string differences(const World::Files& expected, const World::Files& found) {
  std::string out;
  const auto size_in = [](const World::Files& files, const std::string& name) {
    const auto file = files.find(name);
    return file == files.end() ? std::string("nothing") : std::to_string(file->second.size()) + " bytes";
  };
  World::Files all = expected;
  all.insert(found.begin(), found.end());
  for (const auto& [name, text] : all) {
    const auto here = found.find(name);
    const auto there = expected.find(name);
    if (here != found.end() && there != expected.end() && here->second == there->second) continue;
    out += "\n  " + name + ": " + size_in(expected, name) + " expected, found " + size_in(found, name);
  }
  return out;
}

// write(2) may become two requests where it crosses a page: then the caller is told how much was written.
bool is_a_part(const World::Files& expected, const World::Step& step, World::Files found) {
  const auto before = expected.find(step.name);
  const auto now = found.find(step.name);
  if (step.kind != World::Step::Kind::kAppend || before == expected.end() || now == found.end()) return false;
  if (!(before->second + step.text).starts_with(now->second)) return false;
  if (now->second.size() < before->second.size()) return false;
  now->second = before->second;
  return found == expected;
}

// Performs the steps of a world and says so, one byte each, until something fails.
int perform_all(const std::string& directory, uint64_t seed, World::Files files, int told) {
  World world(seed);
  for (;;) {
    const World::Step step = world.next(files);
    if (!World::perform(directory, step)) return 0;
    World::apply(files, step);
    if (::write(told, "+", 1) != 1) return 1;
  }
}

size_t bytes_in(int pipe) {
  size_t count = 0;
  std::array<char, 4096> buffer{};
  for (ssize_t n = 0; (n = ::read(pipe, buffer.data(), buffer.size())) > 0;) count += static_cast<size_t>(n);
  return count;
}

TEST(MountKill, NothingThatWasDoneIsLost) {
  constexpr int kRounds = 8;
  std::mt19937_64 random(support::test_seed());
  MountServer server;
  size_t steps = 0;
  for (int round = 0; round < kRounds; ++round) {
    const std::string directory = server / ("round" + std::to_string(round));
    ASSERT_EQ(::mkdir(directory.c_str(), 0755), 0) << std::strerror(errno);
    const uint64_t seed = random();
    std::array<int, 2> ends{};
    ASSERT_EQ(::pipe2(ends.data(), 0), 0);
    // Beyond what Child closes: standard input.
    const UniqueFd reader(ends[0]);
    UniqueFd writer(ends[1]);
    const int kept = ::dup(STDIN_FILENO);
    ::dup2(writer.get(), STDIN_FILENO);
    Child child([&] { return perform_all(directory, seed, {}, STDIN_FILENO); });
    ::dup2(kept, STDIN_FILENO);
    ::close(kept);
    writer.reset();
    std::this_thread::sleep_for(std::chrono::milliseconds(20 + random() % 200));
    server.kill9();
    EXPECT_EQ(child.wait(), 0);
    const size_t done = bytes_in(reader.get());
    steps += done;
    server.start();
    World world(seed);
    World::Files expected;
    for (size_t i = 0; i < done; ++i) World::apply(expected, world.next(expected));
    const World::Step step = world.next(expected);
    World::Files one_more = expected;
    World::apply(one_more, step);
    const World::Files found = files_in(directory);
    EXPECT_TRUE(found == expected || found == one_more || is_a_part(expected, step, found))
        << "round " << round << " after " << done << " steps: " << differences(expected, found);
  }
  EXPECT_GT(steps, 0U);
}

// ---- a real source ----

constexpr const char* kEdits = R"sh(
set -eu
cd "$1"
printf 'CHANGED' | dd of=large bs=1 seek=300000 conv=notrunc status=none
printf 'more' >> small
truncate -s 100 shrinks
truncate -s 700000 grows
mv dir renamed
mv renamed/inside renamed/moved
mkdir renamed/new
echo text > renamed/new/file
ln small renamed/hard
ln -sf elsewhere link
rm -r gone
chmod 750 renamed
chmod 600 script
setfattr -n user.mark -v here small
setfattr -n user.long -v "$(printf 'x%.0s' $(seq 500))" small
touch -d '2001-02-03 04:05:06.123456789' renamed/moved
mkfifo fifo
cp -a large copied
)sh";

void make_source(const std::string& root) {
  support::make_dirs(root + "/dir/deep");
  support::make_dirs(root + "/gone/deeper");
  write_file(root + "/large", support::random_bytes(3'000'000, 1));
  write_file(root + "/small", "small");
  write_file(root + "/shrinks", support::random_bytes(50'000, 2));
  write_file(root + "/grows", support::random_bytes(500'000, 3));
  write_file(root + "/script", "#!/bin/sh\n", 0755);
  write_file(root + "/dir/inside", "inside");
  write_file(root + "/dir/deep/file", "deep");
  write_file(root + "/gone/deeper/file", "gone");
  std::filesystem::create_symlink("nowhere", root + "/link");
}

std::vector<std::string> differences(const std::string& expected, const std::string& actual) {
  support::CompareOptions options;
  // What was written and made is as old as the moment when that was.
  std::vector<std::string> lines;
  for (const std::string& line : support::compare_trees(expected, actual, options)) {
    if (line.find("mtime") == std::string::npos) lines.push_back(line);
  }
  return lines;
}

TEST(MountOfASource, EditsAreAsOnALocalCopy) {
  support::TempDir dir;
  const std::string source = dir.make_dir("source");
  make_source(source);
  const std::string local = dir / "local";
  support::run_shell("cp -a '" + source + "' '" + local + "'");
  support::RsyncDaemon daemon(support::RsyncDaemon::serving(source));
  MountServer server(daemon.url());
  for (const std::string& tree : {local, server.path()}) {
    const CommandResult run = support::run_command({"bash", "-c", kEdits, "bash", tree}, seconds(60));
    ASSERT_EQ(run.exit_code, 0) << tree << ": " << run.err;
  }
  EXPECT_EQ(support::join_lines(differences(local, server.path())), "");
  struct stat st {};
  ASSERT_EQ(::stat((server / "renamed/moved").c_str(), &st), 0);
  EXPECT_EQ(st.st_mtim.tv_nsec, 123'456'789);
  server.kill9();
  server.start();
  EXPECT_EQ(support::join_lines(differences(local, server.path())), "");
}

TEST(MountOfASource, AFileIsWrittenWithoutItsBytesBeingHere) {
  support::TempDir dir;
  const std::string source = dir.make_dir("source");
  std::string content = support::random_bytes(5'000'000, 1);
  write_file(source + "/large", content);
  support::RsyncDaemon daemon(support::RsyncDaemon::serving(source));
  MountServer server(daemon.url());
  const UniqueFd file(::open((server / "large").c_str(), O_WRONLY));
  ASSERT_TRUE(file);
  ASSERT_EQ(::pwrite(file.get(), std::string(4096, 'n').data(), 4096, 1'000'000 / 4096 * 4096), 4096);
  EXPECT_TRUE(daemon.transfers().empty());
  content.replace(1'000'000 / 4096 * 4096, 4096, std::string(4096, 'n'));
  EXPECT_EQ(read_file(server / "large"), content);
}

// ---- real programs ----

TEST(MountPrograms, DoWhatTheyDoOnALocalDisk) {
  support::TempDir dir;
  const std::string local = dir.make_dir("local");
  MountServer server;
  std::array<std::string, 2> said;
  size_t at = 0;
  for (const std::string& tree : {local, server.path()}) {
    const std::string outside = dir.make_dir("outside" + std::to_string(at));
    const CommandResult run =
        support::run_command({"bash", "-c", support::kPrograms, "bash", tree, outside}, seconds(100));
    EXPECT_EQ(run.exit_code, 0) << tree << ": " << run.err << run.out;
    said.at(at++) = run.out;
  }
  EXPECT_EQ(said[0], said[1]);
  server.restart();
  EXPECT_EQ(read_file(server / "document~"), read_file(local + "/document~"));
  const CommandResult check = support::run_command({"bash", "-c",
                                                    "cd \"$1\" && { ! command -v git >/dev/null || git -C "
                                                    "repository fsck --full; } && diff -r copy \"$2\"",
                                                    "bash", server.path(), local + "/copy"},
                                                   seconds(60));
  EXPECT_EQ(check.exit_code, 0) << check.out << check.err;
}

// ---- an ordinary user ----

// In a mount namespace where /dev/fuse is as open as Debian makes it. $1 server, $2 directory of the user, $3
// his id.
constexpr const char* kAsUser = R"sh(
set -eu
mkdir "$2/own"
mount -t tmpfs -o mode=755,dev,exec none "$2/own"
install -m 755 "$1" "$2/own/server"
mknod -m 666 "$2/own/fuse" c 10 229
mount --bind "$2/own/fuse" /dev/fuse
user() { setpriv --reuid="$uid" --regid="$uid" --clear-groups "$@"; }
dir=$2 uid=$3
serve() {
  setpriv --reuid="$uid" --regid="$uid" --clear-groups "$dir/own/server" "$dir/store" "$dir/mnt" - > "$dir/said" & pid=$!
  for moment in $(seq 200); do grep -q ready "$dir/said" && return 0; sleep 0.05; done
  return 1
}
serve
cat > "$dir/own/work" <<'EOF'
set -eu
cd "$1"
umask 022
echo text > file; mkdir d; mv file d/file; ln d/file hard; chmod 700 d; echo more >> d/file
if chown 0 d/file 2>/dev/null; then echo "gave it to root"; fi
stat -c '%u %g %a %s %h' d/file
rm hard; stat -c %h d/file
EOF
user bash "$dir/own/work" "$dir/mnt"
if ls "$dir/mnt" >/dev/null 2>&1; then echo "root: looks in"; else echo "root: kept out"; fi
kill "$pid"; wait "$pid"
serve
user cat "$dir/mnt/d/file"
kill "$pid"; wait "$pid"
)sh";

TEST(MountAsUser, WritesThroughFusermount) {
  if (::geteuid() != 0) GTEST_SKIP() << "only root can become another user";
  constexpr uid_t kUser = 65534;
  support::TempDir dir;
  for (const char* name : {"store", "mnt"}) {
    ASSERT_EQ(::chown(dir.make_dir(name).c_str(), kUser, kUser), 0);
    ASSERT_EQ(::chmod((dir / name).c_str(), 0700), 0);
  }
  const CommandResult run = support::run_command({"unshare", "--mount", "bash", "-c", kAsUser, "bash",
                                                  RSYNCFS_MOUNT_SERVER, dir.path(), std::to_string(kUser)},
                                                 seconds(60));
  EXPECT_EQ(run.exit_code, 0) << run.out << run.err;
  EXPECT_EQ(run.out, "65534 65534 644 10 2\n1\nroot: kept out\ntext\nmore\n") << run.err;
}

}  // namespace
}  // namespace rsyncfs::testing
