// SPDX-License-Identifier: GPL-3.0-or-later
#include "sync/engine/refused_options.h"

#include <array>

namespace rsyncfs {

namespace {

struct Substitute {
  const char* option;  // as the server calls it, or the beginning of that; or what it says of it
  bool ServerFeatures::*feature;
  const char* without;
};

// The first that fits counts.
constexpr std::array<Substitute, 9> kSubstitutes = {{
    {"fsync", &ServerFeatures::fsync,
     "what is pushed may not be on the source's disk when it says that it has it"},
    {"append", &ServerFeatures::append, "files that grew are pushed as others are"},
    {"remove-source-files", &ServerFeatures::acknowledgements, "what was pushed is looked at afterwards"},
    {"backup", &ServerFeatures::backup,
     "files are linked where they would be moved, directories keep their names"},
    {"delete", &ServerFeatures::deletes, "what was removed or renamed here keeps its name at the source"},
    // A daemon that hides such names.
    {"options have been rejected", &ServerFeatures::keeps,
     "what others change in the moment of a push may be lost"},
    {"prune-empty-dirs", &ServerFeatures::trees, "trees are removed level by level"},
    {"--force", &ServerFeatures::trees, "trees are removed level by level"},
    {"compress", &ServerFeatures::compresses, "large changed files are sent as they are"},
}};

}  // namespace

std::optional<std::string> give_up_refused(const Error& why, ServerFeatures& features) {
  if (why.code() != Errc::kUnsupported) return std::nullopt;
  if (!features.anchored && why.message().find("anchor the path") != std::string::npos) {
    features.anchored = true;
    return "paths begin where the server is restricted to (" + why.message() + ")";
  }
  for (const Substitute& substitute : kSubstitutes) {
    if (why.message().find(substitute.option) == std::string::npos) continue;
    if (!(features.*substitute.feature)) return std::nullopt;
    features.*substitute.feature = false;
    return std::string(substitute.without) + " (" + why.message() + ")";
  }
  return std::nullopt;
}

}  // namespace rsyncfs
