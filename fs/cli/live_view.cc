// SPDX-License-Identifier: GPL-3.0-or-later
#include "fs/cli/live_view.h"

#include <langinfo.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <clocale>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <numeric>

#include "fs/control/text_lines.h"
#include "io/base/text.h"

namespace rsyncfs {
namespace {

enum class Ink : uint8_t { kPlain, kBold, kDim, kGood, kWarning, kBad, kBar };

// Text and how it looks; its width counts characters, one column each.
class Line {
 public:
  explicit Line(const TerminalStyle& style) : style_(style) {}

  // What does not fit is left out.
  Line& add(std::string_view text, Ink ink = Ink::kPlain) {
    std::string fitting = cut(escape_control(text), style_.columns - std::min(width_, style_.columns));
    width_ += columns_of(fitting);
    if (!style_.colour || ink == Ink::kPlain || fitting.empty()) {
      text_ += fitting;
    } else {
      text_.append("\033[").append(code(ink)).append("m").append(fitting).append("\033[0m");
    }
    return *this;
  }
  Line& pad_to(size_t column) {
    if (width_ < column) add(std::string(column - width_, ' '));
    return *this;
  }
  size_t width() const { return width_; }
  size_t left() const { return style_.columns - std::min(width_, style_.columns); }
  const std::string& text() const { return text_; }

  static size_t columns_of(std::string_view text) {
    return static_cast<size_t>(
        std::count_if(text.begin(), text.end(), [](char c) { return (c & 0xc0) != 0x80; }));
  }
  static std::string cut(std::string text, size_t columns) {
    if (columns_of(text) <= columns) return text;
    size_t at = 0;
    for (size_t count = 0; at < text.size(); ++at) {
      if ((text[at] & 0xc0) != 0x80 && count++ == columns) break;
    }
    text.resize(at);
    return text;
  }

 private:
  static std::string_view code(Ink ink) {
    switch (ink) {
      case Ink::kBold:
        return "1";
      case Ink::kDim:
        return "2";
      case Ink::kGood:
        return "32";
      case Ink::kWarning:
        return "33";
      case Ink::kBad:
        return "31";
      case Ink::kBar:
        return "36";
      default:
        return "0";
    }
  }

  const TerminalStyle& style_;
  std::string text_;
  size_t width_ = 0;
};

// The end of a path says more than its beginning.
std::string last_columns(const std::string& text, size_t columns) {
  const std::string shown = escape_control(text);
  const size_t width = Line::columns_of(shown);
  if (width <= columns) return shown;
  size_t at = 0;
  for (size_t skip = width - columns + 2; at < shown.size() && skip > 0; ++at) {
    if ((shown[at] & 0xc0) != 0x80) --skip;
  }
  while (at < shown.size() && (shown[at] & 0xc0) == 0x80) ++at;
  return ".." + shown.substr(at);
}

std::string bar(uint64_t done, uint64_t total, size_t columns, bool utf8) {
  const double share = total == 0 ? 1 : std::min(1.0, static_cast<double>(done) / static_cast<double>(total));
  const auto full = static_cast<size_t>(std::lround(share * static_cast<double>(columns)));
  std::string out;
  for (size_t i = 0; i < columns; ++i) out += i < full ? (utf8 ? "█" : "#") : (utf8 ? "░" : "-");
  return out;
}

std::string sparkline(const std::deque<double>& values, size_t columns, bool utf8) {
  constexpr std::array kBlocks = {"▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};
  constexpr std::string_view kPlain = "_.-~=+*#";
  const double most = values.empty() ? 0 : *std::max_element(values.begin(), values.end());
  std::string out(values.size() < columns ? columns - values.size() : 0, ' ');
  const size_t skip = values.size() > columns ? values.size() - columns : 0;
  for (size_t i = skip; i < values.size(); ++i) {
    const auto step = most <= 0 ? size_t{0} : static_cast<size_t>(std::lround(values[i] / most * 7));
    if (utf8) {
      out += kBlocks[std::min<size_t>(step, 7)];
    } else {
      out += kPlain[std::min<size_t>(step, 7)];
    }
  }
  return out;
}

std::string rate_text(double bytes_per_second) {
  return human_bytes(static_cast<uint64_t>(bytes_per_second)) + "/s";
}

uint64_t total_of(const std::vector<std::pair<std::string, uint64_t>>& counters) {
  return std::accumulate(counters.begin(), counters.end(), uint64_t{0},
                         [](uint64_t sum, const auto& counter) { return sum + counter.second; });
}

constexpr size_t kLabel = 12;

Line labelled(const TerminalStyle& style, std::string_view label, Ink ink = Ink::kDim) {
  Line line(style);
  line.add("  ").add(label, ink).pad_to(kLabel);
  return line;
}

Line link_line(const MountStatus& mount, const TerminalStyle& style) {
  const LinkState state = mount.syncer.link;
  const Ink ink = state == LinkState::kUp     ? Ink::kGood
                  : state == LinkState::kDown ? Ink::kBad
                                              : Ink::kWarning;
  Line line = labelled(style, "link");
  line.add(style.utf8 ? "● " : "* ", ink).add(link_state_name(state), ink);
  if (!mount.syncer.link_text.empty()) line.add("  " + mount.syncer.link_text, Ink::kDim);
  return line;
}

Line changes_line(const MountStatus& mount, const TerminalStyle& style) {
  const PushStatus& push = mount.syncer.push;
  Line line = labelled(style, "changes");
  if (pending_changes(push) == 0) {
    line.add("all is on the source", Ink::kGood);
  } else {
    line.add(changes_text(pending_changes(push), push.pending_bytes) + " to be sent", Ink::kWarning);
    if (push.oldest_s != 0)
      line.add(", the oldest for " + duration_text(std::max<int64_t>(0, time(nullptr) - push.oldest_s)));
  }
  if (push.conflicts > 0) line.add("   ").add(counted(push.conflicts, "conflict"), Ink::kBad);
  return line;
}

Line cache_line(const MountStatus& mount, const TerminalStyle& style) {
  const CacheStatus& cache = mount.syncer.cache;
  Line line = labelled(style, "cache");
  line.add(human_bytes(mount.cached_bytes) + " in " + counted(mount.cached_files, "file"));
  if (mount.partial_files > 0) line.add(", " + number(mount.partial_files) + " in part");
  if (cache.limit_bytes > 0) {
    line.add("  ").add(bar(cache.disk_bytes, cache.limit_bytes, 12, style.utf8), Ink::kBar);
    line.add(" of " + human_bytes(cache.limit_bytes), Ink::kDim);
  }
  line.add("   " + human_bytes(cache.free_bytes) + " free", Ink::kDim);
  return line;
}

Line transfer_line(const TransferStatus& transfer, bool up, double rate, const TerminalStyle& style) {
  constexpr size_t kBar = 16;
  constexpr size_t kNumbers = 44;  // the bar and what follows it
  Line line(style);
  line.add("  ").add(up ? (style.utf8 ? "↑ " : "> ") : (style.utf8 ? "↓ " : "< "), Ink::kBar);
  const size_t name = style.columns > kNumbers + 20 ? style.columns - kNumbers - 4 : 16;
  line.add(last_columns(transfer.path, name)).pad_to(4 + name + 1);
  const uint64_t percent = transfer.total_bytes == 0
                               ? 100
                               : static_cast<uint64_t>(static_cast<double>(transfer.done_bytes) * 100 /
                                                       static_cast<double>(transfer.total_bytes));
  line.add(bar(transfer.done_bytes, transfer.total_bytes, kBar, style.utf8), Ink::kBar);
  const std::string share = number(std::min<uint64_t>(100, percent));
  line.add(std::string(4 - std::min<size_t>(share.size(), 4), ' ') + share + " %");
  if (rate > 0) line.add("  " + rate_text(rate), Ink::kDim);
  return line;
}

}  // namespace

TerminalStyle TerminalStyle::of_terminal() {
  TerminalStyle style;
  winsize size{};
  if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 && size.ws_row > 0) {
    style.columns = size.ws_col;
    style.rows = size.ws_row;
  }
  const char* no_colour = std::getenv("NO_COLOR");
  const char* term = std::getenv("TERM");
  style.colour = (no_colour == nullptr || *no_colour == '\0') && term != nullptr && *term != '\0' &&
                 std::strcmp(term, "dumb") != 0;
  std::setlocale(LC_CTYPE, "");
  style.utf8 = std::strcmp(nl_langinfo(CODESET), "UTF-8") == 0;
  return style;
}

void LiveView::Rate::take(uint64_t now_total, double seconds) {
  if (seconds > 0 && now_total >= total)
    per_second.push_back(static_cast<double>(now_total - total) / seconds);
  if (per_second.size() > kHistory) per_second.pop_front();
  total = now_total;
}

LiveView::Seen& LiveView::update(const MountStatus& mount, std::chrono::steady_clock::time_point now) {
  const auto known = seen_.find(mount.mountpoint);
  const bool same = known != seen_.end() && known->second.pid == mount.pid;
  if (!same) seen_[mount.mountpoint] = Seen{.pid = mount.pid, .at = now};
  Seen& seen = seen_[mount.mountpoint];
  const double seconds = std::chrono::duration<double>(now - seen.at).count();
  seen.at = now;
  seen.in.take(mount.syncer.bytes_in, seconds);
  seen.out.take(mount.syncer.bytes_out, seconds);
  seen.requests.take(total_of(mount.requests), seconds);
  std::map<std::string, Rate> transfers;
  for (const auto* list : {&mount.syncer.transfers, &mount.syncer.push.sending}) {
    for (const TransferStatus& transfer : *list) {
      const auto before = seen.transfers.find(transfer.path);
      Rate rate = before == seen.transfers.end() ? Rate{.total = transfer.done_bytes} : before->second;
      rate.take(transfer.done_bytes, before == seen.transfers.end() ? 0 : seconds);
      transfers[transfer.path] = std::move(rate);
    }
  }
  seen.transfers = std::move(transfers);
  return seen;
}

std::string LiveView::draw(const std::vector<MountStatus>& mounts, const std::vector<std::string>& complaints,
                           std::chrono::steady_clock::time_point now, const std::string& clock,
                           const TerminalStyle& style) {
  std::vector<std::string> lines;
  const auto add = [&lines](const Line& line) { lines.push_back(line.text()); };
  const std::string head = "rsyncfs: " + counted(mounts.size(), "mount");
  Line first(style);
  first.add(head, Ink::kBold);
  if (style.columns > head.size() + clock.size())
    first.pad_to(style.columns - clock.size()).add(clock, Ink::kDim);
  add(first);
  for (const MountStatus& mount : mounts) {
    const Seen& seen = update(mount, now);
    lines.emplace_back();
    Line title(style);
    title.add(mount.mountpoint, Ink::kBold).add("  " + mount.source);
    if (mount.is_draining) title.add("  unmounted, sending what is left", Ink::kWarning);
    if (!mount.writable) title.add("  read-only", Ink::kDim);
    add(title);
    add(link_line(mount, style));
    constexpr size_t kSpark = 12;
    Line traffic = labelled(style, "traffic");
    traffic.add("in ").add(sparkline(seen.in.per_second, kSpark, style.utf8), Ink::kBar);
    traffic.add(" " + rate_text(seen.in.now())).pad_to(kLabel + 32);
    traffic.add("out ").add(sparkline(seen.out.per_second, kSpark, style.utf8), Ink::kBar);
    traffic.add(" " + rate_text(seen.out.now()));
    add(traffic);
    add(changes_line(mount, style));
    if (!mount.syncer.push.stopped.empty())
      add(labelled(style, "stopped", Ink::kBad).add(mount.syncer.push.stopped, Ink::kBad));
    add(cache_line(mount, style));
    Line requests = labelled(style, "requests");
    requests.add(number(static_cast<uint64_t>(std::lround(seen.requests.now()))) + "/s");
    if (mount.front_waiting > 0)
      requests.add("   " + number(mount.front_waiting) + " waiting for the source", Ink::kWarning);
    requests.add("   " + counted(mount.syncer.sessions.size(), "session"), Ink::kDim);
    add(requests);
    const auto add_transfers = [&](const std::vector<TransferStatus>& list, bool up) {
      for (size_t i = 0; i < std::min(list.size(), kMostTransfers); ++i)
        add(transfer_line(list[i], up, seen.transfers.at(list[i].path).now(), style));
      if (list.size() > kMostTransfers)
        add(labelled(style, "").add(number(list.size() - kMostTransfers) + " more", Ink::kDim));
    };
    add_transfers(mount.syncer.push.sending, true);
    add_transfers(mount.syncer.transfers, false);
    for (const auto* failing : {&mount.syncer.push.failing, &mount.syncer.failing_paths}) {
      for (size_t i = 0; i < std::min(failing->size(), kMostTransfers / 2); ++i)
        add(labelled(style, failing == &mount.syncer.push.failing ? "unsent" : "failing", Ink::kBad)
                .add((*failing)[i]));
    }
  }
  std::erase_if(seen_, [&](const auto& seen) {
    return std::ranges::none_of(mounts, [&](const auto& mount) { return mount.mountpoint == seen.first; });
  });
  for (const std::string& complaint : complaints) {
    lines.emplace_back();
    add(Line(style).add(complaint, Ink::kBad));
  }
  // A taller picture would roll away; the last row stays free for the cursor.
  if (lines.size() + 1 > style.rows) lines.resize(style.rows > 1 ? style.rows - 1 : 1);
  std::string out;
  for (const std::string& line : lines) out.append(out.empty() ? "" : "\n").append(line);
  return out;
}

}  // namespace rsyncfs
