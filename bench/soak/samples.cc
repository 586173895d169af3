// SPDX-License-Identifier: GPL-3.0-or-later
#include "bench/soak/samples.h"

#include <sys/stat.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <sstream>
#include <stdexcept>

#include <nlohmann/json.hpp>

namespace rsyncfs::bench {
namespace {

namespace fs = std::filesystem;

constexpr double kKilobyte = 1024;
constexpr double kBlock = 512;  // the unit of st_blocks
constexpr double kTenth = 0.1;
constexpr double kSlopeOperations = 100'000;

// A number of /proc/PID/status by its name; sizes are kB.
double status_field(const std::string& proc, const std::string& name) {
  std::ifstream in(proc + "/status");
  for (std::string line; std::getline(in, line);) {
    if (line.starts_with(name + ":")) return std::stod(line.substr(name.size() + 1));
  }
  throw std::runtime_error("no " + name + " in " + proc + "/status");
}

double count_lines(const std::string& path) {
  std::ifstream in(path);
  return static_cast<double>(std::count(std::istreambuf_iterator<char>(in), {}, '\n'));
}

double count_entries(const std::string& path) {
  return static_cast<double>(std::distance(fs::directory_iterator(path), {}));
}

struct DiskUse {
  double apparent_kb = 0;
  double allocated_kb = 0;
  double files = 0;
};

// Of a file, or all below a directory. What vanishes meanwhile takes nothing.
DiskUse disk_use(const fs::path& path) {
  DiskUse sum;
  const auto add = [&sum](const fs::path& file) {
    struct stat status {};
    if (::lstat(file.c_str(), &status) != 0 || !S_ISREG(status.st_mode)) return;
    sum.apparent_kb += static_cast<double>(status.st_size) / kKilobyte;
    sum.allocated_kb += static_cast<double>(status.st_blocks) * kBlock / kKilobyte;
    sum.files += 1;
  };
  add(path);
  std::error_code error;
  for (fs::recursive_directory_iterator at(path, error), end; at != end; at.increment(error)) add(at->path());
  return sum;
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const size_t middle = values.size() / 2;
  return values.size() % 2 == 1 ? values[middle] : (values[middle - 1] + values[middle]) / 2;
}

}  // namespace

// Memory is given back to the system in its own time, and what the working set takes goes up and down: hence
// a tenth. Half of the operations lie between the two medians: of a million, 15 bytes that each leaves in
// memory are too many, or 1.2 in the database.
const std::vector<Quantity>& quantities() {
  static const std::vector<Quantity> kAll = {
      {"resident memory", "kB", true, kTenth, 2048},
      {"anonymous memory", "kB", true, kTenth, 2048},
      {"file descriptors", "", true, 0, 8},
      {"threads", "", true, 0, 2},
      {"maps", "", true, kTenth, 16},
      {"store, allocated", "kB", true, kTenth, 4096},
      {"store, apparent", "kB", false},
      {"store.db", "kB", true, kTenth, 512},
      {"store.db-wal", "kB", false},
      {"journal", "kB", false},
      {"slabs, allocated", "kB", false},
      {"slabs, apparent", "kB", false},
      {"slabs", "", false},
      {"blocks, allocated", "kB", false},
      {"blocks, apparent", "kB", false},
      {"block files", "", false},
      {"log", "kB", false},
      {"nodes in the store", "", true, kTenth, 100},
      {"nodes that the kernel knows", "", true, kTenth, 100},
      {"cached files", "", false},
  };
  return kAll;
}

Sample look_at_daemon(uint64_t operations, const std::string& status_json) {
  const nlohmann::json status = nlohmann::json::parse(status_json);
  const std::string proc = "/proc/" + std::to_string(status.at("pid").get<int>());
  const fs::path store = status.at("state_directory").get<std::string>();
  Sample out;
  out.operations = operations;
  auto& values = out.values;
  values["resident memory"] = status_field(proc, "VmRSS");
  values["anonymous memory"] = status_field(proc, "RssAnon");
  values["threads"] = status_field(proc, "Threads");
  values["file descriptors"] = count_entries(proc + "/fd");
  values["maps"] = count_lines(proc + "/maps");
  const DiskUse log = disk_use(store / "rsyncfs.log");
  const DiskUse all = disk_use(store);
  const DiskUse slabs = disk_use(store / "slabs");
  const DiskUse blocks = disk_use(store / "blocks");
  // The log has a limit of its own.
  values["store, allocated"] = all.allocated_kb - log.allocated_kb;
  values["store, apparent"] = all.apparent_kb - log.apparent_kb;
  values["store.db"] = disk_use(store / "store.db").apparent_kb;
  values["store.db-wal"] = disk_use(store / "store.db-wal").apparent_kb;
  values["journal"] = disk_use(store / "journal.0").apparent_kb + disk_use(store / "journal.1").apparent_kb;
  values["slabs, allocated"] = slabs.allocated_kb;
  values["slabs, apparent"] = slabs.apparent_kb;
  values["slabs"] = slabs.files;
  values["blocks, allocated"] = blocks.allocated_kb;
  values["blocks, apparent"] = blocks.apparent_kb;
  values["block files"] = blocks.files;
  values["log"] = log.apparent_kb;
  values["nodes in the store"] = status.at("cache").at("nodes").get<double>();
  values["nodes that the kernel knows"] = status.at("fuse").at("known_nodes").get<double>();
  values["cached files"] = status.at("cache").at("files").get<double>();
  return out;
}

Trend trend(const Quantity& quantity, const std::vector<Sample>& samples) {
  Trend out;
  const size_t count = samples.size();
  double mean_x = 0;
  double mean_y = 0;
  const auto x = [&](size_t i) { return static_cast<double>(samples[i].operations) / kSlopeOperations; };
  const auto y = [&](size_t i) { return samples[i].values.at(quantity.name); };
  for (size_t i = 0; i < count; ++i) {
    mean_x += x(i) / static_cast<double>(count);
    mean_y += y(i) / static_cast<double>(count);
  }
  double above = 0;
  double below = 0;
  std::vector<double> quarter[4];
  for (size_t i = 0; i < count; ++i) {
    above += (x(i) - mean_x) * (y(i) - mean_y);
    below += (x(i) - mean_x) * (x(i) - mean_x);
    quarter[i * 4 / count].push_back(y(i));
  }
  out.slope = below > 0 ? above / below : 0;
  for (size_t i = 0; i < 4; ++i) out.quarters[i] = median(quarter[i]);
  out.limit = out.quarters[1] * (1 + quantity.part) + quantity.more;
  return out;
}

}  // namespace rsyncfs::bench
