// SPDX-License-Identifier: GPL-3.0-or-later
#include "fs/cli/usage.h"

#include <cstdio>

#include "fs/daemon/options.h"
#include "io/base/text.h"

namespace rsyncfs {
namespace {

constexpr std::string_view kHead =
    R"(rsyncfs SOURCE MOUNTPOINT [-o OPTION,...] [-f] [-v|-q]    mount, in the background unless -f
rsyncfs umount MOUNTPOINT [--timeout=S | --lazy]          unmount; what is not on the source yet is sent, or listed
rsyncfs status [MOUNTPOINT] [--json|--metrics] [--watch]  link, changes, transfers, cache; all mounts if none is named
rsyncfs info PATH [--json]                                what is known of a file or directory
rsyncfs fetch PATH...                                     bring files, or all below directories, here
rsyncfs free PATH...                                      give the disk space of what the source has back
rsyncfs pin PATH..., rsyncfs unpin PATH...                fetch, and keep here and current; no longer so
rsyncfs flush MOUNTPOINT|PATH [--timeout=S]               wait until all changes there are on the source
rsyncfs refresh PATH                                      look now what the source has there
rsyncfs verify [--remote] PATH...                         read what is here through; compare it with the source
rsyncfs conflicts MOUNTPOINT [--json] [--clear]           names changed on both sides, and what became of them
rsyncfs resume MOUNTPOINT                                 go on sending after it was stopped
rsyncfs doctor [SOURCE|MOUNTPOINT] [--bundle=FILE]        what is wrong, and its cure; a support bundle

SOURCE is rsync://[user@]host[:port]/module[/path] or [user@]host::module[/path] (an rsync daemon), or
[user@]host:path (through ssh, or the shell of rsh=). The daemon's password comes from RSYNC_PASSWORD or password_file=.

  -o OPTION[,OPTION...]     mount options; a comma within one is written \,
  -f, --foreground          stay in front and log to standard error
  -d, --debug               log every request; implies -f
  -v, --verbose             log more; twice: much more
  -q, --quiet               log errors only
  -h, --help                this text; VERB --help: that of a verb
  -V, --version

Each option below is -o NAME or --NAME; '-' and '_' are the same in names.
)";

constexpr std::string_view kTail = R"(
State is kept in $RSYNCFS_STATE_DIR, or /var/lib/rsyncfs (root), $XDG_STATE_HOME/rsyncfs, ~/.local/state/rsyncfs.
Control sockets lie in $RSYNCFS_RUNTIME_DIR, or /run/rsyncfs (root), $XDG_RUNTIME_DIR/rsyncfs, or the state directory.
Exit codes: 0 done; 1 failed, or changes are not on the source (flush, umount), or damage stays (verify), or there is
a problem (doctor); 2 wrong usage.
)";

void add_option(std::string& out, const OptionSpec& spec) {
  constexpr size_t kColumn = 26;
  std::string left = "  " + std::string(spec.name);
  if (!spec.argument.empty()) left.append("=").append(spec.argument);
  out.append(left)
      .append(left.size() < kColumn ? kColumn - left.size() : 2, ' ')
      .append(spec.help)
      .append("\n");
}

// Options without effect share lines: their names are all there is to say.
void add_names(std::string& out, const OptionGroup& group) {
  constexpr size_t kWidth = 110;
  std::string line = " ";
  for (const OptionSpec& spec : group.options) {
    std::string word = " " + std::string(spec.name);
    if (!spec.argument.empty()) word.append("=").append(spec.argument);
    if (line.size() + word.size() > kWidth) {
      out.append(line).append("\n");
      line = " ";
    }
    line += word;
  }
  out.append(line).append("\n");
}

}  // namespace

std::string mount_help() {
  std::string out(kHead);
  for (const OptionGroup& group : option_groups()) {
    out.append("\n").append(group.title).append(":\n");
    if (group.options.front().help.empty()) {
      add_names(out, group);
    } else {
      for (const OptionSpec& spec : group.options) add_option(out, spec);
    }
  }
  return out.append(kTail);
}

void complain(std::string_view line) {
  std::fprintf(stderr, "rsyncfs: %s\n", escape_control(line).c_str());
}

}  // namespace rsyncfs
