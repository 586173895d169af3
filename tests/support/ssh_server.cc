// SPDX-License-Identifier: GPL-3.0-or-later
#include "tests/support/ssh_server.h"

#include <dirent.h>
#include <pwd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <fstream>
#include <map>
#include <sstream>
#include <vector>

#include "tests/support/files.h"
#include "tests/support/setup_failure.h"
#include "tests/support/wait.h"

namespace rsyncfs::support {
namespace {

void make_key(const std::string& path) {
  run_shell("ssh-keygen -q -t ed25519 -N '' -C test -f '" + path + "'");
}

std::string user_name() {
  const passwd* entry = getpwuid(getuid());
  if (entry == nullptr) fail_setup("the running user has no name");
  return entry->pw_name;
}

// `root` and all that descends from it. Sessions leave sshd's process group, so a group signal would miss
// them.
std::vector<pid_t> descendants(pid_t root) {
  std::multimap<pid_t, pid_t> children;
  DIR* proc = opendir("/proc");
  if (proc == nullptr) return {root};
  while (const dirent* entry = readdir(proc)) {
    const auto pid = static_cast<pid_t>(std::strtol(entry->d_name, nullptr, 10));
    if (pid <= 0) continue;
    std::ifstream file("/proc/" + std::to_string(pid) + "/stat");
    std::string text;
    std::getline(file, text);
    const size_t end = text.rfind(')');
    if (end == std::string::npos) continue;
    std::istringstream fields(text.substr(end + 1));
    std::string state;
    pid_t parent = 0;
    fields >> state >> parent;
    children.emplace(parent, pid);
  }
  closedir(proc);
  std::vector<pid_t> found = {root};
  for (size_t i = 0; i < found.size(); ++i) {
    const auto [first, last] = children.equal_range(found[i]);
    for (auto it = first; it != last; ++it) found.push_back(it->second);
  }
  return found;
}

}  // namespace

SshServer::SshServer() : dir_("sshd") {
  make_key(dir_ / "host_key");
  make_key(dir_ / "client_key");
  write_file(dir_ / "authorized_keys", read_file(dir_ / "client_key.pub"), 0600);
  const std::string port = std::to_string(lease_.port());
  write_file(dir_ / "known_hosts", "[127.0.0.1]:" + port + " " + read_file(dir_ / "host_key.pub"));
  std::ostringstream server;
  server << "ListenAddress 127.0.0.1:" << port << "\nHostKey " << (dir_ / "host_key")
         << "\nAuthorizedKeysFile " << (dir_ / "authorized_keys")
         << "\nPidFile none\nStrictModes no\nUsePAM no\nPasswordAuthentication no\n"
         << "PermitRootLogin yes\nMaxStartups 100\nLogLevel VERBOSE\n"
         // What the user's shell does when it starts is not to be killed by a test, nor waited for.
         << "SetEnv HOME=" << dir_.path() << "\n";
  write_file(dir_ / "server.conf", server.str());
  std::ostringstream client;
  client << "Host " << kHost << "\nHostName 127.0.0.1\nPort " << port << "\nUser " << user_name()
         << "\nIdentityFile " << (dir_ / "client_key") << "\nIdentitiesOnly yes\nUserKnownHostsFile "
         << (dir_ / "known_hosts")
         << "\nGlobalKnownHostsFile /dev/null\nStrictHostKeyChecking yes\nBatchMode yes\nControlPath none\n";
  write_file(dir_ / "client.conf", client.str());
  start();
}

void SshServer::start() {
  // sshd refuses to run without its privilege separation directory, which Debian makes at boot.
  if (geteuid() == 0) mkdir("/run/sshd", 0755);
  process_ = std::make_unique<ChildProcess>(
      std::vector<std::string>{"/usr/sbin/sshd", "-D", "-e", "-f", dir_ / "server.conf"});
  constexpr std::chrono::seconds kLimit{15};
  const bool listening =
      wait_until([&] { return is_listening(lease_.port()) || !process_->running(); }, kLimit);
  if (!listening || !process_->running()) fail_setup("sshd does not start: " + process_->err());
}

void SshServer::signal_all(int number) const {
  for (const pid_t pid : descendants(process_->pid())) kill(pid, number);
}

void SshServer::kill9() {
  signal_all(SIGKILL);
  process_->kill9();
}

void SshServer::pause() {
  signal_all(SIGSTOP);
}
void SshServer::resume() {
  signal_all(SIGCONT);
}

}  // namespace rsyncfs::support
