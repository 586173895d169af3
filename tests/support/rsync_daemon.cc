// SPDX-License-Identifier: GPL-3.0-or-later
#include "tests/support/rsync_daemon.h"

#include <dirent.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <sstream>

#include "tests/support/files.h"
#include "tests/support/setup_failure.h"
#include "tests/support/wait.h"

namespace rsyncfs::support {
namespace {

constexpr std::string_view kTransferMark = "SENT ";
constexpr std::chrono::seconds kStartLimit{15};

bool has(const DaemonParameters& parameters, std::string_view name) {
  return std::any_of(parameters.begin(), parameters.end(), [&](const auto& p) { return p.first == name; });
}

// Parent and process group of `pid`, from /proc/PID/stat; zeros if it is gone.
std::pair<pid_t, pid_t> parent_and_group(pid_t pid) {
  FILE* file = std::fopen(("/proc/" + std::to_string(pid) + "/stat").c_str(), "re");
  if (file == nullptr) return {0, 0};
  std::string text(512, '\0');
  text.resize(std::fread(text.data(), 1, text.size(), file));
  std::fclose(file);
  const size_t end = text.rfind(')');
  if (end == std::string::npos) return {0, 0};
  std::istringstream fields(text.substr(end + 1));
  std::string state;
  pid_t parent = 0;
  pid_t group = 0;
  fields >> state >> parent >> group;
  return {parent, group};
}

std::vector<pid_t> members_of_group(pid_t group) {
  std::vector<pid_t> members;
  DIR* proc = opendir("/proc");
  if (proc == nullptr) return members;
  while (const dirent* entry = readdir(proc)) {
    const auto pid = static_cast<pid_t>(std::strtol(entry->d_name, nullptr, 10));
    if (pid > 0 && parent_and_group(pid).second == group) members.push_back(pid);
  }
  closedir(proc);
  return members;
}

}  // namespace

DaemonOptions RsyncDaemon::serving(const std::string& path) {
  DaemonOptions options;
  options.modules.push_back({.name = "m", .path = path, .read_only = true, .users = {}, .parameters = {}});
  return options;
}

RsyncDaemon::RsyncDaemon(DaemonOptions options) : options_(std::move(options)), dir_("rsyncd") {
  write_configuration();
  start();
}

void RsyncDaemon::reconfigure(DaemonOptions options) {
  options_ = std::move(options);
  write_configuration();
}

void RsyncDaemon::write_configuration() {
  std::ostringstream text;
  const auto put = [&](const auto& name, const auto& value) { text << name << " = " << value << "\n"; };
  put("log file", dir_ / "log");
  put("pid file", dir_ / "pid");
  for (const auto& [name, value] : options_.globals) put(name, value);
  for (const DaemonModule& module : options_.modules) {
    text << "[" << module.name << "]\n";
    put("path", module.path);
    put("read only", module.read_only ? "yes" : "no");
    const DaemonParameters defaults = {{"use chroot", "no"},
                                       {"munge symlinks", "no"},
                                       {"transfer logging", "yes"},
                                       {"log format", std::string(kTransferMark) + "%l %f"},
                                       {"uid", std::to_string(getuid())},
                                       {"gid", std::to_string(getgid())}};
    for (const auto& [name, value] : defaults) {
      if (!has(module.parameters, name)) put(name, value);
    }
    for (const auto& [name, value] : module.parameters) put(name, value);
    if (!module.users.empty()) {
      std::string names;
      std::string secrets;
      for (const auto& [user, password] : module.users) {
        names += (names.empty() ? "" : ",") + user;
        secrets.append(user).append(":").append(password).append("\n");
      }
      put("auth users", names);
      put("secrets file", dir_ / ("secrets." + module.name));
      write_file(dir_ / ("secrets." + module.name), secrets, 0600);
    }
  }
  write_file(dir_ / "rsyncd.conf", text.str());
}

void RsyncDaemon::start() {
  std::vector<std::string> argv = {options_.rsync,
                                   "--daemon",
                                   "--no-detach",
                                   "--address=127.0.0.1",
                                   "--port=" + std::to_string(port()),
                                   "--config=" + (dir_ / "rsyncd.conf")};
  argv.insert(argv.end(), options_.arguments.begin(), options_.arguments.end());
  unlink((dir_ / "pid").c_str());
  process_ = std::make_unique<ChildProcess>(std::move(argv));
  const bool listening =
      wait_until([&] { return is_listening(port()) || !process_->running(); }, kStartLimit);
  if (!listening || !process_->running())
    fail_setup("rsync --daemon does not start: " + process_->err() + log());
}

void RsyncDaemon::stop() {
  constexpr std::chrono::seconds kLimit{5};
  process_->signal_group(SIGCONT);
  process_->signal(SIGTERM);
  process_->wait_for(kLimit);
  process_->kill9();
}

void RsyncDaemon::kill9() {
  process_->kill9();
}
void RsyncDaemon::pause() {
  process_->signal_group(SIGSTOP);
}
void RsyncDaemon::resume() {
  process_->signal_group(SIGCONT);
}

void RsyncDaemon::drop_connections() {
  for (const pid_t pid : members_of_group(process_->pid())) {
    if (pid != process_->pid()) kill(pid, SIGKILL);
  }
}

void RsyncDaemon::end_connections() {
  for (const pid_t pid : members_of_group(process_->pid())) {
    if (pid != process_->pid()) kill(pid, SIGTERM);
  }
}

bool RsyncDaemon::serving() const {
  return members_of_group(process_->pid()).size() > 1;
}

std::string RsyncDaemon::url(const std::string& module, const std::string& path,
                             const std::string& user) const {
  std::string text = "rsync://" + (user.empty() ? "" : user + "@") + "127.0.0.1:" + std::to_string(port());
  text += "/" + module;
  if (!path.empty()) text += "/" + path;
  return text;
}

std::string RsyncDaemon::log() const {
  return access((dir_ / "log").c_str(), R_OK) == 0 ? read_file(dir_ / "log") : "";
}

std::vector<std::string> RsyncDaemon::transfers() const {
  std::vector<std::string> paths;
  std::istringstream lines(log());
  for (std::string line; std::getline(lines, line);) {
    const size_t mark = line.find("] " + std::string(kTransferMark));
    if (mark == std::string::npos) continue;
    const size_t size_begin = mark + 2 + kTransferMark.size();
    const size_t name_begin = line.find(' ', size_begin);
    if (name_begin != std::string::npos) paths.push_back(line.substr(name_begin + 1));
  }
  return paths;
}

int RsyncDaemon::connections() const {
  const std::string text = log();
  int count = 0;
  for (size_t at = text.find("connect from "); at != std::string::npos;
       at = text.find("connect from ", at + 1))
    ++count;
  return count;
}

}  // namespace rsyncfs::support
