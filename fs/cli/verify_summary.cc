// SPDX-License-Identifier: GPL-3.0-or-later
#include "fs/cli/verify_summary.h"

#include "io/base/text.h"

namespace rsyncfs {
namespace {

// "1,234"
std::string grouped(uint64_t number) {
  std::string out = std::to_string(number);
  for (size_t at = out.size(); at > 3; at -= 3) out.insert(at - 3, ",");
  return out;
}

std::string files(uint64_t count) {
  return grouped(count) + (count == 1 ? " file" : " files");
}

std::string damage(const VerifyTotals& totals) {
  if (totals.damaged == 0) return "; nothing is damaged";
  const std::string damaged =
      "; " + grouped(totals.damaged) + (totals.damaged == 1 ? " damaged file" : " damaged files");
  if (totals.restored == 0) return damaged + ", fetched when read";
  if (totals.restored < totals.damaged)
    return damaged + ", " + grouped(totals.restored) + " fetched again, the rest is when read";
  const char* all = totals.damaged == 1   ? ", fetched again"
                    : totals.damaged == 2 ? ", both fetched again"
                                          : ", all fetched again";
  return damaged + all;
}

void add_part(std::string& out, uint64_t count, const char* what) {
  if (count > 0) out += "; " + grouped(count) + " " + what;
}

std::string comparison(const VerifyTotals& totals) {
  const bool one = totals.equal == 1;
  std::string out = files(totals.equal) + ", " + human_bytes(totals.equal_bytes) + (one ? " is" : " are") +
                    " as at the source";
  add_part(out, totals.differing, totals.differing == 1 ? "differs" : "differ");
  add_part(out, totals.changed, "changed while compared");
  add_part(out, totals.uncompared, "could not be compared");
  add_part(out, totals.partly_here, "partly here, not compared");
  add_part(out, totals.changed_here, "changed here, not compared");
  add_part(out, totals.not_here, "not here");
  return out + " (" + human_bytes(totals.sent_bytes) + " sent, " + human_bytes(totals.received_bytes) +
         " received)";
}

}  // namespace

void add_up(VerifyTotals& sum, const VerifyTotals& part) {
  sum.checked += part.checked;
  sum.checked_bytes += part.checked_bytes;
  sum.damaged += part.damaged;
  sum.restored += part.restored;
  sum.lost += part.lost;
  sum.failed += part.failed;
  sum.remote = sum.remote || part.remote;
  sum.equal += part.equal;
  sum.equal_bytes += part.equal_bytes;
  sum.differing += part.differing;
  sum.changed += part.changed;
  sum.uncompared += part.uncompared;
  sum.partly_here += part.partly_here;
  sum.not_here += part.not_here;
  sum.changed_here += part.changed_here;
  sum.sent_bytes += part.sent_bytes;
  sum.received_bytes += part.received_bytes;
}

std::string verify_summary(const VerifyTotals& totals) {
  std::string out =
      files(totals.checked) + ", " + human_bytes(totals.checked_bytes) + " checked" + damage(totals);
  add_part(out, totals.lost, totals.lost == 1 ? "file is lost" : "files are lost");
  if (totals.remote) out += "\n" + comparison(totals);
  return out;
}

}  // namespace rsyncfs
