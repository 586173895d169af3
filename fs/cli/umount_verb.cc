// SPDX-License-Identifier: GPL-3.0-or-later
#include <poll.h>
#include <sys/pidfd.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <string>
#include <utility>
#include <vector>

#include "fs/cli/daemon_call.h"
#include "fs/cli/progress_bar.h"
#include "fs/cli/unsent_list.h"
#include "fs/cli/usage.h"
#include "fs/cli/verbs.h"
#include "fs/control/mount_claim.h"
#include "fs/control/mount_table.h"
#include "fs/control/push_json.h"
#include "fs/control/text_lines.h"
#include "io/base/unique_fd.h"

namespace rsyncfs {
namespace {

constexpr int kEndLimitMs = 30'000;  // from the last answer to the daemon's end

int fail(const std::string& line) {
  complain(line);
  return kExitFailed;
}

int busy(const std::string& mountpoint) {
  std::string users;
  for (const std::string& user : users_of_mount(mountpoint)) users += (users.empty() ? "" : ", ") + user;
  return fail(mountpoint +
              " is busy: " + (users.empty() ? "in use by a process that cannot be seen from here" : users) +
              "; --lazy detaches it all the same");
}

// The daemon is dead, or there never was one in this runtime directory.
int unmount_without_daemon(const std::string& mountpoint, bool lazy) {
  // A dead mount has nothing that could be lost, and its users can only leave.
  Result<void> done = unmount_directly(mountpoint, lazy);
  if (!done && done.error().os_errno() == EBUSY) return busy(mountpoint);
  return done ? kExitDone : fail("cannot unmount " + mountpoint + ": " + done.error().message());
}

// The daemon is dead or stuck. What its record speaks of may be gone, and another file system may be mounted
// there, which is none of ours.
int unmount_what_is_left(const FoundMount& mount, bool is_gone, bool lazy) {
  const std::string path = mount.directory + "/" + record_name(mount.mountpoint);
  const Result<MountRecord> record = read_mount_record(path);
  const auto mounted = mounted_at(mount.mountpoint);
  const bool ours = mounted && (record ? is_recorded(*mounted, *record) : mounted->is_ours());
  int code = kExitDone;
  if (ours) {
    code = unmount_without_daemon(mount.mountpoint, lazy);
  } else if (mounted) {
    code = fail(mount.mountpoint + " is not a mount of rsyncfs any more: " + mounted->source + ", type " +
                mounted->type + ", is mounted there");
  }
  if (is_gone && (code == kExitDone || !ours)) {
    release_mount(mount.directory, mount.mountpoint, record ? record->pid : 0);
  }
  return code;
}

// A process descriptor knows the daemon's end even if its number is used again.
UniqueFd open_process(pid_t pid) {
  return UniqueFd(pid > 0 ? static_cast<int>(syscall(SYS_pidfd_open, pid, 0)) : -1);
}

// Detached at once; its changes go on being sent.
int finish_lazily(const FoundMount& mount, const ControlAnswer& answer) {
  const Result<Json> document = parse_json_object(answer.document);
  if (!document) return kExitDone;
  const PushStatus push = read_push(object_field(*document, "push"));
  if (pending_changes(push) > 0) {
    complain(mount.mountpoint + " is detached; " + changes_text(pending_changes(push), push.pending_bytes) +
             " not on the source yet, the daemon goes on sending");
  }
  return kExitDone;
}

// Unmounted, and everything is sent that will be. Waits for the daemon's end.
int finish(const ControlAnswer& answer, const UnsentList& left, ControlClient& client,
           const UniqueFd& process) {
  const bool unsent = answer.kind == ControlAnswer::Kind::kFailed;
  if (unsent) left.tell("unmounted, but " + answer.reason + "; the next mount sends the rest");
  const Result<void> closed = client.wait_closed(kEndLimitMs);
  pollfd ended{process.get(), POLLIN, 0};
  if (!closed || (process && poll(&ended, 1, kEndLimitMs) == 0)) {
    return fail("unmounted, but the daemon has not ended within " + std::to_string(kEndLimitMs / 1000) +
                " s");
  }
  return unsent ? kExitFailed : kExitDone;
}

int unmount_by_daemon(const FoundMount& mount, ControlClient& client, const UnmountCommand& command) {
  const UniqueFd process = open_process(client.daemon_pid());
  ControlRequest request{.verb = ControlVerb::kUnmount, .lazy = command.lazy};
  request.limit_s = static_cast<uint64_t>(command.timeout_s);
  ProgressBar bar(ProgressBar::style_for(STDERR_FILENO), "changes");
  UnsentList left;
  const Result<ControlAnswer> answer =
      client.call(request, command.timeout_s * 1000 + kAnswerLimitMs, [&](const ControlAnswer& said) {
        if (said.kind == ControlAnswer::Kind::kProgress) return bar.show(said.progress);
        left.add(said);
      });
  bar.clear();
  if (!answer) {
    if (answer.error().code() == Errc::kDisconnected && !mounted_at(mount.mountpoint)) return kExitDone;
    return fail(answer.error().message() + (command.lazy ? "" : "; --lazy detaches the mount all the same"));
  }
  const bool failed = answer->kind == ControlAnswer::Kind::kFailed;
  if (failed && answer->failure == ControlFailure::kBusy) return busy(mount.mountpoint);
  if (failed && answer->failure != ControlFailure::kUnsent) {
    return fail("cannot unmount " + mount.mountpoint + ": " + answer->reason);
  }
  return command.lazy ? finish_lazily(mount, *answer) : finish(*answer, left, client, process);
}

}  // namespace

int run_unmount(const UnmountCommand& command) {
  const UserPlaces user = UserPlaces::of_this_process();
  Result<FoundMount> mount = find_mount(command.mountpoint, user);
  if (mount && !mount->inner.empty()) {
    return fail(command.mountpoint + " lies inside the mount " + mount->mountpoint);
  }
  if (!mount) {
    const Result<std::string> point = absolute_mountpoint(command.mountpoint);
    const auto mounted = point ? mounted_at(*point) : std::nullopt;
    if (!mounted || !mounted->is_ours()) return fail(mount.error().message());
    return unmount_without_daemon(*point, command.lazy);
  }
  Result<ControlClient> client = ControlClient::connect(*mount, kConnectLimitMs);
  if (client) return unmount_by_daemon(*mount, *client, command);
  const bool is_gone = client.error().code() == Errc::kDisconnected;
  if (!is_gone && !command.lazy) {
    return fail(client.error().message() + "; --lazy detaches the mount all the same");
  }
  return unmount_what_is_left(*mount, is_gone, command.lazy);
}

}  // namespace rsyncfs
