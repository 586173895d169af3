// SPDX-License-Identifier: GPL-3.0-or-later
#include "fs/daemon/mount_plan.h"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdlib>
#include <utility>

#include "fs/daemon/mountpoint.h"
#include "fs/daemon/password.h"
#include "io/base/unique_fd.h"
#include "sync/transport/connect.h"

namespace rsyncfs {
namespace {

std::string variable(const char* name) {
  const char* value = std::getenv(name);
  return value != nullptr ? value : "";
}

std::string working_directory() {
  std::array<char, 4096> buffer{};
  return getcwd(buffer.data(), buffer.size()) == nullptr ? "/" : buffer.data();
}

bool is_inside(const std::string& path, const std::string& directory) {
  if (directory == "/") return true;
  return path.rfind(directory, 0) == 0 && (path.size() == directory.size() || path[directory.size()] == '/');
}

Result<Source> definite_source(const std::string& text, const MountOptions& options) {
  Result<Source> source = parse_source(text);
  if (!source) return source;
  // As with rsync, a port in the source wins over port=.
  if (source->kind == Source::Kind::kDaemon && source->port == 0) source->port = options.port;
  return source;
}

bool is_ssh(const std::string& shell) {
  const Result<std::vector<std::string>> words = shell_words(shell);
  if (!words || words->empty()) return false;
  const std::string& program = words->front();
  return program.substr(program.rfind('/') + 1) == "ssh";
}

// The shell with its port and address family, for host:path sources.
std::string definite_shell(const MountOptions& options) {
  std::string shell = options.remote_shell.empty() ? variable("RSYNC_RSH") : options.remote_shell;
  const bool has_family = options.family != AF_UNSPEC && (shell.empty() || is_ssh(shell));
  if (options.port == 0 && !has_family) return shell;
  if (shell.empty()) {
    // The transport's own choice when it is told nothing, which has no place for a port.
    shell = "ssh -oBatchMode=yes -oServerAliveInterval=15 -oConnectTimeout=" +
            std::to_string(options.connect_timeout.count());
  }
  if (has_family) shell += options.family == AF_INET ? " -4" : " -6";
  return options.port == 0 ? shell : shell + " -p " + std::to_string(options.port);
}

// What only means something where we connect by ourselves.
Result<void> check_socket_options(const MountPlan& plan) {
  const MountOptions& options = plan.options;
  const bool has_any = options.address.has_value() || !options.sockopts.empty();
  if (has_any && plan.source.kind == Source::Kind::kShell) {
    return Error(Errc::kUsage, std::string("option '") + (options.address ? "address" : "sockopts") +
                                   "' is for rsync daemons; " + plan.source_text +
                                   " goes through a remote shell: tell that, as with rsh='ssh -b ADDRESS'");
  }
  if (options.address && options.family != AF_UNSPEC && options.address->storage.ss_family != options.family)
    return Error(Errc::kUsage, "options 'address' and 'ipv4' or 'ipv6' contradict each other; leave out one");
  return {};
}

Result<void> find_password(SourceAccess& access, const std::string& text, const MountOptions& options) {
  if (!options.password_file.empty()) {
    if (access.source.kind != Source::Kind::kDaemon) {
      return Error(Errc::kUsage, "option 'password_file' is for rsync daemons; " + text +
                                     " goes through a remote shell, which has its own ways");
    }
    Result<std::string> password = read_password_file(options.password_file, geteuid());
    if (!password) return password.error();
    access.password = std::move(password.value());
    access.has_password = true;
  } else if (const char* password = std::getenv("RSYNC_PASSWORD")) {
    access.password = password;
    access.has_password = true;
  }
  // Neither the remote shell nor anything else that is started needs to see it.
  unsetenv("RSYNC_PASSWORD");
  return {};
}

// Whom rsync would log in as.
void find_user(Source& source) {
  if (source.kind != Source::Kind::kDaemon || !source.user.empty()) return;
  source.user = variable("USER");
  if (source.user.empty()) source.user = variable("LOGNAME");
  if (source.user.empty()) source.user = "nobody";
}

void find_log(MountPlan& plan, const MountRequest& request) {
  plan.log_file = plan.options.log_file;
  if (plan.log_file.empty() && !plan.foreground) plan.log_file = plan.store + "/rsyncfs.log";
  LogLevel level = plan.foreground ? LogLevel::kWarn : LogLevel::kInfo;
  if (request.verbosity < 0) level = LogLevel::kError;
  if (request.verbosity > 0) level = request.verbosity == 1 ? LogLevel::kInfo : LogLevel::kDebug;
  if (plan.debug) level = LogLevel::kDebug;
  plan.log_level = plan.options.log_level.value_or(level);
}

Result<void> make_places(MountPlan& plan, const UserPlaces& user) {
  Result<std::string> runtime = runtime_directory(user);
  if (!runtime) return runtime.error();
  plan.runtime_directory = lexical_absolute(*runtime, "/");
  plan.store = plan.options.store;
  if (plan.store.empty()) {
    Result<std::string> root = state_root(user);
    if (!root) return root.error();
    plan.store = lexical_absolute(*root + "/" + mount_id(plan.canonical_source, plan.mountpoint), "/");
  }
  for (const std::string& place :
       {plan.store, plan.runtime_directory, plan.options.log_file, plan.options.metrics.socket}) {
    if (!place.empty() && is_inside(place, plan.mountpoint)) {
      return Error(Errc::kRefused,
                   place +
                       " would lie inside the mount; choose another place (store=, log_file=, metrics=, "
                       "RSYNCFS_STATE_DIR, RSYNCFS_RUNTIME_DIR)");
    }
  }
  plan.store_is_new = plan.options.store.empty() && access(plan.store.c_str(), F_OK) != 0;
  Result<void> store =
      plan.options.store.empty() ? make_private_directory(plan.store) : make_directory_path(plan.store);
  if (!store) return store;
  return make_private_directory(plan.runtime_directory);
}

// The log library knows no way to report that a file cannot be opened.
Result<void> check_log(const std::string& path) {
  if (path.empty() || path == kSystemLog) return {};
  const UniqueFd fd(open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOCTTY, 0600));
  if (!fd) return Error::os(errno, "log file " + path);
  return {};
}

}  // namespace

Result<SourceAccess> source_access(const std::string& source, const MountOptions& options) {
  SourceAccess access;
  Result<Source> definite = definite_source(source, options);
  if (!definite) return definite.error();
  access.source = std::move(definite.value());
  find_user(access.source);
  access.remote_shell = definite_shell(options);
  if (const Result<void> found = find_password(access, source, options); !found) return found.error();
  return access;
}

Result<MountPlan> make_mount_plan(const MountRequest& request, const UserPlaces& user) {
  MountPlan plan;
  plan.options = request.options;
  plan.foreground = request.foreground || request.debug;
  plan.debug = request.debug;
  plan.source_text = request.source;
  Result<SourceAccess> access = source_access(request.source, plan.options);
  if (!access) return access.error();
  // What is shown, and names the store, has the user only if one was typed.
  plan.canonical_source = definite_source(request.source, plan.options)->canonical();
  plan.source = std::move(access->source);
  plan.password = std::move(access->password);
  plan.has_password = access->has_password;
  if (const Result<void> may = check_socket_options(plan); !may) return may.error();
  const std::string here = working_directory();
  for (std::string* path : {&plan.options.store, &plan.options.log_file, &plan.options.metrics.socket}) {
    const bool is_path = !path->empty() && (path != &plan.options.log_file || *path != kSystemLog);
    if (is_path) *path = lexical_absolute(*path, here);
  }
  plan.options.remote_shell = std::move(access->remote_shell);
  if (plan.options.fsname.empty()) plan.options.fsname = plan.source_text;
  Result<std::string> mountpoint = prepare_mountpoint(request.mountpoint, user, plan.notes);
  if (!mountpoint) return mountpoint.error();
  plan.mountpoint = std::move(mountpoint.value());
  if (const Result<void> made = make_places(plan, user); !made) return made.error();
  find_log(plan, request);
  if (const Result<void> usable = check_log(plan.log_file); !usable) return usable.error();
  plan.writable = plan.options.read_write.value_or(true);
  return plan;
}

}  // namespace rsyncfs
