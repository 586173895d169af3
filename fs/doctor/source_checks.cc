// SPDX-License-Identifier: GPL-3.0-or-later
#include "fs/doctor/source_checks.h"

#include <array>
#include <cmath>
#include <cstdio>

namespace rsyncfs {
namespace {

using Severity::kNote;
using Severity::kOk;
using Severity::kProblem;
using Severity::kWarning;

constexpr int kModernProtocol = 31;  // rsync 3.1.0, 2013: times have fractions of seconds
constexpr int kOldestProtocol = 30;
constexpr double kClockNoticedS = 2;
constexpr double kClockWrongS = 60;
// A session over one directory takes two or three round trips, and the server a moment to begin.
constexpr int kUsualRoundTrips = 6;
constexpr std::chrono::milliseconds kUsualAnswer{35};  // a delayed acknowledgement (RFC 1122) alone is 40

bool has(std::string_view text, std::string_view part) {
  return text.find(part) != std::string_view::npos;
}

struct Cure {
  std::string_view part;  // of the message
  std::string_view cure;
};
// The first that fits counts.
constexpr std::array<Cure, 20> kCures = {{
    {"max connections", "raise \"max connections\" of the module, or mount with fewer: max_sessions="},
    {"auth failed",
     "check user (rsync://USER@host/module) and password (password_file=, RSYNC_PASSWORD) against the "
     "module's \"auth users\" and \"secrets file\""},
    {"no password", "give it by password_file= or RSYNC_PASSWORD"},
    {"Unknown module", "rsync rsync://HOST/ lists the modules that there are"},
    {"access denied", "let this host in: \"hosts allow\" and \"hosts deny\" of the module"},
    {"chdir failed", "correct \"path\" of the module: the daemon cannot enter it"},
    {"chroot failed", "correct \"path\" and \"use chroot\" of the module"},
    {"rrsync",
     "the key runs rrsync: let it have the directory and read-write access, or mount what it allows"},
    {"Host key verification failed", "log in once by hand (ssh HOST) and accept its key"},
    {"Permission denied (", "ssh has no key that HOST takes: ssh-copy-id HOST, or ssh-add"},
    {"Could not resolve", "check the name of the host, and /etc/resolv.conf"},
    {"Name or service not known", "check the name of the host, and /etc/resolv.conf"},
    {"Temporary failure in name resolution", "check the network, and /etc/resolv.conf"},
    {"Connection refused",
     "start the server there (rsync --daemon, sshd), or correct the port: rsync daemons have 873"},
    {"No route to host", "check the network and firewalls on the way"},
    {"Network is unreachable", "check this machine's network"},
    {"command not found", "install rsync on the source, or say where it is: rsync_path="},
    {"refuse", "allow it: \"refuse options\" in the server's rsyncd.conf"},
    {"Read-only file system", "the source's file system is mounted read-only there"},
    {"No space left on device", "make room on the source"},
}};

std::string unreachable_cure(Errc code) {
  switch (code) {
    case Errc::kTimedOut:
      return "the host or a firewall drops the packets: check host, port and network, or raise contimeout= "
             "and timeout=";
    case Errc::kNotFound:
      return "correct module and path of SOURCE";
    case Errc::kNotDirectory:
      return "name a directory as SOURCE";
    case Errc::kProtocol:
      return "no rsync server answers on that port: correct it (rsync daemons have 873)";
    case Errc::kAuth:
      return "check user and password or key";
    case Errc::kPermission:
      return "let the user of the server read it";
    default:
      return "check that the server runs, and its log";
  }
}

std::string seconds_text(double seconds) {
  std::array<char, 32> text{};
  std::snprintf(text.data(), text.size(), "%.0f s", std::abs(seconds));
  return text.data();
}

void add_protocol(Findings& out, const SourceFacts& facts, const SurveyRequest& request) {
  const int protocol = facts.status.protocol != 0 ? facts.status.protocol : facts.features.protocol;
  if (protocol == 0) return;
  std::string what = "protocol " + std::to_string(protocol);
  if (!facts.status.checksum.empty()) what += ", checksums " + facts.status.checksum;
  if (protocol >= kModernProtocol) {
    out.push_back({kOk, "protocol", what, ""});
  } else if (request.options.protocol < kModernProtocol) {
    out.push_back({kWarning, "protocol", what + ", as asked for: times have whole seconds only",
                   "leave out protocol="});
  } else {
    out.push_back({kWarning, "protocol",
                   what + ": an old server" +
                       (protocol > kOldestProtocol ? "" : " (rsync 3.0): times have whole seconds only"),
                   "install rsync 3.1 or later on the source; 3.2.3 has faster checksums"});
  }
}

struct Refusal {
  bool ServerFeatures::*feature;
  std::string_view what;
  std::string_view option;  // what it would have to allow
  Severity severity;
};
constexpr std::array<Refusal, 10> kRefusals = {{
    {&ServerFeatures::acls, "ACLs are not listed: the server refuses them or was built without", "acls",
     kNote},
    {&ServerFeatures::xattrs,
     "extended attributes are not listed: the server refuses them or was built without", "xattrs", kNote},
    {&ServerFeatures::hard_links, "hard links are not seen", "hard-links", kNote},
    {&ServerFeatures::deletes, "nothing can be removed or renamed at the source", "delete", kWarning},
    {&ServerFeatures::backup, "files are linked where they would be moved, directories keep their names",
     "backup", kWarning},
    {&ServerFeatures::keeps, "what others change in the moment of a push may be lost", "backup-dir", kNote},
    {&ServerFeatures::append, "files that grew are pushed as others are", "append", kNote},
    {&ServerFeatures::acknowledgements, "what was pushed is looked at afterwards", "remove-source-files",
     kNote},
    {&ServerFeatures::fsync, "what is pushed may not be on the source's disk when it says that it has it",
     "fsync", kNote},
    {&ServerFeatures::compresses, "large changed files are sent as they are", "compress", kNote},
}};

void add_refusals(Findings& out, const SourceFacts& facts, const SurveyRequest& request) {
  bool any = false;
  for (const Refusal& refusal : kRefusals) {
    if (facts.features.*refusal.feature) continue;
    if (refusal.feature == &ServerFeatures::acls && !request.options.acls) continue;
    if (refusal.feature == &ServerFeatures::xattrs && !request.options.xattrs) continue;
    any = true;
    out.push_back({refusal.severity, "refused options",
                   "the server refuses " + std::string(refusal.option) + ": " + std::string(refusal.what),
                   "take \"" + std::string(refusal.option) +
                       "\" out of \"refuse options\" in its rsyncd.conf, or install a newer rsync there"});
  }
  if (!facts.features.report_missing || facts.features.anchored)
    out.push_back({kNote, "rrsync", "the server is restricted (rrsync): some options are done without", ""});
  if (!any) out.push_back({kOk, "refused options", "the server refused none of those that were needed", ""});
}

void add_writing(Findings& out, const SourceFacts& facts, const SurveyRequest& request) {
  if (!request.may_write) {
    out.push_back({kNote, "writing", "not tried: ro was asked for", ""});
  } else if (!facts.read_only.empty()) {
    out.push_back({kProblem, "writing", "the source takes no changes: " + facts.read_only,
                   "set \"read only = false\" for the module in its rsyncd.conf, or mount with ro"});
  } else if (facts.write_failure) {
    const std::string& why = facts.write_failure->message();
    const bool denied = has(why, "Permission denied") || has(why, "Operation not permitted");
    const std::string known = cure_of(why);
    out.push_back({kProblem, "writing", "a file could not be made at the source: " + why,
                   denied ? "let the user of the server write there (\"uid\" of the module, permissions of "
                            "the directory), or mount with ro"
                   : known.empty() ? "see the server's log, or mount with ro"
                                   : known});
  } else if (facts.wrote) {
    out.push_back({kOk, "writing", "a file was made at the source and removed again", ""});
  }
  if (!facts.left_behind.empty())
    out.push_back({kWarning, "writing", "the file that was made could not be removed: " + facts.left_behind,
                   "remove it there"});
  if (facts.keeps_mode && !*facts.keeps_mode)
    out.push_back(
        {kNote, "permissions",
         "the source changes the permissions of what is sent (\"incoming chmod\", or its file system)", ""});
}

void add_times(Findings& out, const SourceFacts& facts) {
  if (facts.keeps_fractions && *facts.keeps_fractions) {
    out.push_back({kOk, "times", "fractions of seconds are kept", ""});
  } else if (facts.keeps_fractions) {
    out.push_back(
        {kNote, "times",
         "the source keeps whole seconds: changes within one second that keep a file's size are not seen",
         "use protocol 31 or later, and a file system that keeps more"});
  }
  if (!facts.clock_ahead_s) return;
  const double ahead = *facts.clock_ahead_s;
  if (std::abs(ahead) < kClockNoticedS) {
    out.push_back({kOk, "clock", "the source's agrees with ours", ""});
    return;
  }
  out.push_back(
      {std::abs(ahead) < kClockWrongS ? kNote : kWarning, "clock",
       "the source's clock is " + seconds_text(ahead) + (ahead > 0 ? " ahead of" : " behind") + " ours",
       "set both by NTP: what one side changes looks older than it is to the other"});
}

void add_answers(Findings& out, const SourceFacts& facts) {
  const bool measured = facts.round_trip.count() > 0 && facts.listing.count() > 0;
  if (measured && facts.listing > kUsualAnswer + kUsualRoundTrips * facts.round_trip) {
    out.push_back({kNote, "answers",
                   "a list of the top takes " + std::to_string(facts.listing.count()) + " ms, a round trip " +
                       std::to_string(facts.round_trip.count()) + " ms",
                   "in its rsyncd.conf, \"socket options = TCP_NODELAY\" and \"reverse lookup = no\" may "
                   "help; or its disk is slow"});
  }
  if (has(facts.status.last_error, "max connections"))
    out.push_back({kWarning, "connections", facts.status.last_error, cure_of(facts.status.last_error)});
  if (!facts.status.failing_paths.empty())
    out.push_back({kWarning, "reading", "the source could not give " + facts.status.failing_paths.front(),
                   "let the user of the server read it"});
}

}  // namespace

std::string cure_of(std::string_view message) {
  for (const Cure& known : kCures) {
    if (has(message, known.part)) return std::string(known.cure);
  }
  return "";
}

Finding explain_failure(const Error& why, const Source& source) {
  std::string cure = cure_of(why.message());
  if (cure.empty()) cure = unreachable_cure(why.code());
  Source shown = source;
  shown.user.clear();
  const bool named = why.message().starts_with(shown.canonical());
  return {kProblem, "source", named ? why.message() : shown.canonical() + ": " + why.message(),
          std::move(cure)};
}

Findings check_source(const SourceFacts& facts, const SurveyRequest& request) {
  Findings out;
  if (facts.no_contact) {
    out.push_back(explain_failure(*facts.no_contact, request.source));
    return out;
  }
  out.push_back({kOk, "source", request.source.canonical() + " can be reached and listed", ""});
  add_protocol(out, facts, request);
  add_refusals(out, facts, request);
  add_writing(out, facts, request);
  add_times(out, facts);
  add_answers(out, facts);
  return out;
}

}  // namespace rsyncfs
