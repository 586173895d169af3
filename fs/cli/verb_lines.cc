// SPDX-License-Identifier: GPL-3.0-or-later
#include "fs/cli/verb_lines.h"

#include <array>
#include <utility>

#include "fs/cli/usage.h"
#include "fs/cli/word_parser.h"
#include "fs/daemon/nearest_word.h"

namespace rsyncfs {
namespace {

constexpr int kLongestTimeout = 86'400;
constexpr double kShortestInterval = 0.1;
constexpr double kLongestInterval = 3'600;

Result<Command> parse_unmount(const Words& words) {
  CLI::App app(
      "Unmounts, and waits until all changes are on the source and the daemon has ended. What is not there\n"
      "within the limit is listed, exit code 1; it stays in the store, and the next mount sends it.",
      "rsyncfs umount MOUNTPOINT");
  UnmountCommand command;
  app.add_option("--timeout", command.timeout_s,
                 "give the source so many seconds to take changes (default: 30)")
      ->check(CLI::Range(0, kLongestTimeout).description(""))
      ->type_name("SECONDS");
  app.add_flag("-l,--lazy", command.lazy,
               "detach at once; the daemon ends when the last user is gone and changes are sent");
  const Result<Parsed> parsed = run_verb(app, words, "MOUNTPOINT", 1, 1);
  if (!parsed) return parsed.error();
  if (parsed->shown) return Command(*parsed->shown);
  command.mountpoint = parsed->words[0];
  return Command(command);
}

Result<Command> parse_status(const Words& words) {
  CLI::App app("Shows what mounts are doing; all of them if none is named.", "rsyncfs status [MOUNTPOINT]");
  StatusCommand command;
  app.add_flag("--json", command.json, "as JSON (fs/control/STATUS_JSON.md)");
  app.add_flag("--metrics", command.metrics,
               "once, as metrics= serves it to Prometheus (fs/control/METRICS.md)");
  app.add_flag("-w,--watch", command.watch, "again and again, until interrupted");
  app.add_option("--interval", command.interval_s, "seconds between two looks (default: 1); implies --watch")
      ->check(CLI::Range(kShortestInterval, kLongestInterval).description(""))
      ->type_name("SECONDS");
  const Result<Parsed> parsed = run_verb(app, words, "MOUNTPOINT", 0, 1);
  if (!parsed) return parsed.error();
  if (parsed->shown) return Command(*parsed->shown);
  if (!parsed->words.empty()) command.mountpoint = parsed->words[0];
  command.watch = command.watch || app.count("--interval") > 0;
  if (command.metrics && command.mountpoint.empty())
    return Error(Errc::kUsage, "--metrics is of one mount: MOUNTPOINT is missing");
  if (command.metrics && (command.watch || command.json))
    return Error(Errc::kUsage, "--metrics prints one page: it goes with neither --json nor --watch");
  return Command(command);
}

Result<Command> parse_info(const Words& words) {
  CLI::App app("Shows what is known of a file or directory of a mount.", "rsyncfs info PATH");
  InfoCommand command;
  app.add_flag("--json", command.json, "as JSON (fs/control/STATUS_JSON.md)");
  const Result<Parsed> parsed = run_verb(app, words, "PATH", 1, 1);
  if (!parsed) return parsed.error();
  if (parsed->shown) return Command(*parsed->shown);
  command.path = parsed->words[0];
  return Command(command);
}

Result<Command> parse_fetch(const Words& words) {
  CLI::App app("Brings files, and all below directories, into the store.", "rsyncfs fetch PATH...");
  FetchCommand command;
  app.add_flag("-q,--quiet", command.quiet, "no progress");
  const Result<Parsed> parsed = run_verb(app, words, "PATH", 1, words.size());
  if (!parsed) return parsed.error();
  if (parsed->shown) return Command(*parsed->shown);
  command.paths = parsed->words;
  return Command(command);
}

Result<Command> parse_pin(const Words& words) {
  CLI::App app(
      "Brings files, and all below directories, into the store and keeps them there and current, also what "
      "comes\n"
      "to be below directories later, until `rsyncfs unpin`.",
      "rsyncfs pin PATH...");
  FetchCommand command;
  command.pin = true;
  app.add_flag("-q,--quiet", command.quiet, "no progress");
  const Result<Parsed> parsed = run_verb(app, words, "PATH", 1, words.size());
  if (!parsed) return parsed.error();
  if (parsed->shown) return Command(*parsed->shown);
  command.paths = parsed->words;
  return Command(command);
}

Result<Command> parse_unpin(const Words& words) {
  CLI::App app(
      "Takes pins away from files and directories, and from all below them. What is here stays until its\n"
      "space is needed.",
      "rsyncfs unpin PATH...");
  const Result<Parsed> parsed = run_verb(app, words, "PATH", 1, words.size());
  if (!parsed) return parsed.error();
  if (parsed->shown) return Command(*parsed->shown);
  return Command(UnpinCommand{parsed->words});
}

Result<Command> parse_free(const Words& words) {
  CLI::App app(
      "Gives the disk space of files, and of all below directories, back. What the source does not have yet\n"
      "stays, and what is pinned or in use.",
      "rsyncfs free PATH...");
  const Result<Parsed> parsed = run_verb(app, words, "PATH", 1, words.size());
  if (!parsed) return parsed.error();
  if (parsed->shown) return Command(*parsed->shown);
  return Command(FreeCommand{parsed->words});
}

Result<Command> parse_flush(const Words& words) {
  CLI::App app(
      "Sends what was changed at and below PATH now, and waits until the source has it. Exit code 0: all is\n"
      "there; 1: it is not, and what is left is listed.",
      "rsyncfs flush MOUNTPOINT|PATH");
  FlushCommand command;
  int timeout_s = 0;
  app.add_option("--timeout", timeout_s, "wait no longer than so many seconds (default: as long as it takes)")
      ->check(CLI::Range(0, kLongestTimeout).description(""))
      ->type_name("SECONDS");
  app.add_flag("-q,--quiet", command.quiet, "no progress");
  const Result<Parsed> parsed = run_verb(app, words, "MOUNTPOINT or PATH", 1, 1);
  if (!parsed) return parsed.error();
  if (parsed->shown) return Command(*parsed->shown);
  command.path = parsed->words[0];
  if (app.count("--timeout") > 0) command.timeout_s = timeout_s;
  return Command(command);
}

Result<Command> parse_refresh(const Words& words) {
  CLI::App app(
      "Looks at once what the source has at and below PATH, and comes back when that is shown here. By "
      "itself\n"
      "that happens each second where somebody is at work, and elsewhere sooner or later (poll=).",
      "rsyncfs refresh PATH");
  const Result<Parsed> parsed = run_verb(app, words, "PATH", 1, 1);
  if (!parsed) return parsed.error();
  if (parsed->shown) return Command(*parsed->shown);
  return Command(RefreshCommand{parsed->words[0]});
}

Result<Command> parse_verify(const Words& words) {
  CLI::App app(
      "Reads all that is here of files, and of all below directories, from the disk and looks whether it is "
      "what\n"
      "was stored. What is damaged is fetched again. Exit code 0: all is sound, or is again; 1: it is not, "
      "or\n"
      "something could not be compared.",
      "rsyncfs verify PATH...");
  VerifyCommand command;
  app.add_flag("--remote", command.remote,
               "then compare it with the source by sums; only what differs is fetched");
  app.add_flag("-q,--quiet", command.quiet, "no progress");
  const Result<Parsed> parsed = run_verb(app, words, "PATH", 1, words.size());
  if (!parsed) return parsed.error();
  if (parsed->shown) return Command(*parsed->shown);
  command.paths = parsed->words;
  return Command(command);
}

Result<Command> parse_conflicts(const Words& words) {
  CLI::App app("Lists names that were changed here and at the source, and what became of them.",
               "rsyncfs conflicts MOUNTPOINT");
  ConflictsCommand command;
  app.add_flag("--json", command.json, "as JSON (fs/control/STATUS_JSON.md)");
  app.add_flag("--clear", command.clear, "forget those that are listed; files stay as they are");
  const Result<Parsed> parsed = run_verb(app, words, "MOUNTPOINT", 1, 1);
  if (!parsed) return parsed.error();
  if (parsed->shown) return Command(*parsed->shown);
  command.mountpoint = parsed->words[0];
  return Command(command);
}

Result<Command> parse_resume(const Words& words) {
  CLI::App app("Goes on sending after it was stopped; `rsyncfs status` says why it was.",
               "rsyncfs resume MOUNTPOINT");
  const Result<Parsed> parsed = run_verb(app, words, "MOUNTPOINT", 1, 1);
  if (!parsed) return parsed.error();
  if (parsed->shown) return Command(*parsed->shown);
  return Command(ResumeCommand{parsed->words[0]});
}

Result<Command> parse_doctor(const Words& words) {
  CLI::App app(
      "Looks for what keeps mounts from working, or from working well, and says the cure: on this machine; "
      "with\n"
      "a SOURCE also there, where a file is made and removed again unless -o ro is given; with a MOUNTPOINT "
      "the\n"
      "state of that mount. Exit code 1 if there is a problem.",
      "rsyncfs doctor [SOURCE|MOUNTPOINT]");
  DoctorCommand command;
  Words lists;
  app.add_option("-o", lists, "mount options that SOURCE is to be mounted with")
      ->expected(1)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll)
      ->allow_extra_args(false)
      ->type_name("OPTION,...");
  app.add_flag("--json", command.json, "as JSON (fs/control/STATUS_JSON.md)");
  app.add_option("--bundle", command.bundle,
                 "write a support bundle (tar.gz) without passwords, contents and names of files")
      ->type_name("FILE");
  app.add_flag("--with-names", command.with_names, "with names of files in the bundle");
  const Result<Parsed> parsed = run_verb(app, words, "SOURCE or MOUNTPOINT", 0, 1);
  if (!parsed) return parsed.error();
  if (parsed->shown) return Command(*parsed->shown);
  if (!parsed->words.empty()) command.target = parsed->words[0];
  if (command.with_names && command.bundle.empty())
    return Error(Errc::kUsage, "--with-names is for --bundle=FILE");
  for (const std::string& list : lists) {
    if (const Result<void> applied = apply_option_list(command.options, list); !applied)
      return applied.error();
  }
  return Command(command);
}

Result<Command> parse_help(const Words& /*words*/) {
  return Command(ShowText{mount_help()});
}

using Parser = Result<Command> (*)(const Words& words);
constexpr std::array<std::pair<std::string_view, Parser>, 15> kVerbs{{
    {"umount", parse_unmount},
    {"unmount", parse_unmount},
    {"status", parse_status},
    {"info", parse_info},
    {"fetch", parse_fetch},
    {"free", parse_free},
    {"pin", parse_pin},
    {"unpin", parse_unpin},
    {"flush", parse_flush},
    {"refresh", parse_refresh},
    {"verify", parse_verify},
    {"conflicts", parse_conflicts},
    {"resume", parse_resume},
    {"doctor", parse_doctor},
    {"help", parse_help},
}};

}  // namespace

std::string nearest_verb(const std::string& word) {
  std::vector<std::string_view> known = {"mount"};
  for (const auto& [name, parse] : kVerbs) known.push_back(name);
  return nearest_word(word, known);
}

std::optional<Result<Command>> parse_verb(const std::string& verb, const std::vector<std::string>& words) {
  for (const auto& [name, parse] : kVerbs) {
    if (verb == name) return parse(words);
  }
  return std::nullopt;
}

}  // namespace rsyncfs
