// SPDX-License-Identifier: GPL-3.0-or-later
// Writes a manual page from its template: @OPTIONS@ from the table of mount options, @VERBS@ from --help's
// lines.
#include <cstdio>
#include <fstream>
#include <iostream>
#include <iterator>
#include <sstream>
#include <string>
#include <string_view>

#include "fs/cli/usage.h"
#include "fs/daemon/options.h"

namespace {

// As roff text: a backslash, a dash and a leading dot or quote mean something there.
std::string roff(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c == '\\') {
      out += "\\e";
    } else if (c == '-') {
      out += "\\-";
    } else {
      out += c;
    }
  }
  return !out.empty() && (out.front() == '.' || out.front() == '\'') ? "\\&" + out : out;
}

void replace(std::string& page, std::string_view mark, const std::string& with) {
  for (size_t at = page.find(mark); at != std::string::npos; at = page.find(mark, at + with.size()))
    page.replace(at, mark.size(), with);
}

std::string options() {
  std::string out;
  for (const rsyncfs::OptionGroup& group : rsyncfs::option_groups()) {
    out += ".SS " + roff(group.title) + "\n";
    std::string names;
    for (const rsyncfs::OptionSpec& spec : group.options) {
      std::string name = "\\fB" + roff(spec.name) + "\\fR";
      if (!spec.argument.empty()) name += "=\\fI" + roff(spec.argument) + "\\fR";
      if (spec.help.empty()) {
        names += (names.empty() ? "" : ",\n") + name;
      } else {
        out += ".TP\n" + name + "\n" + roff(spec.help) + "\n";
      }
    }
    if (!names.empty()) out += names + "\n";
  }
  return out;
}

// "rsyncfs umount MOUNTPOINT [--lazy]      what it does": the two halves are apart by two spaces or more.
std::string verbs() {
  std::istringstream help(rsyncfs::mount_help());
  std::string out;
  for (std::string line; std::getline(help, line) && !line.empty();) {
    const size_t gap = line.find("  ");
    if (gap == std::string::npos) continue;
    const size_t text = line.find_first_not_of(' ', gap);
    out += ".TP\n\\fB" + roff(line.substr(0, gap)) + "\\fR\n" + roff(line.substr(text)) + "\n";
  }
  return out;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 4) {
    std::fprintf(stderr, "usage: fill_page TEMPLATE PAGE VERSION\n");
    return 2;
  }
  std::ifstream in(argv[1]);
  std::string page{std::istreambuf_iterator<char>(in), {}};
  if (!in || page.empty()) {
    std::fprintf(stderr, "cannot read %s\n", argv[1]);
    return 1;
  }
  replace(page, "@VERSION@", argv[3]);
  replace(page, "@OPTIONS@", options());
  replace(page, "@VERBS@", verbs());
  std::ofstream out(argv[2]);
  out << page << std::flush;
  if (!out) {
    std::fprintf(stderr, "cannot write %s\n", argv[2]);
    return 1;
  }
  return 0;
}
