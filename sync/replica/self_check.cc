// SPDX-License-Identifier: GPL-3.0-or-later
#include "sync/replica/self_check.h"

#include <array>
#include <string>

namespace rsyncfs {
namespace {

constexpr Sql kIntegrity{"PRAGMA integrity_check(1)"};
constexpr Sql kBegin{"BEGIN"};
constexpr Sql kEnd{"COMMIT"};

struct Rule {
  const char* broken;
  Sql count;  // of violations
};

// S_IFMT is 61440, S_IFDIR 16384.
constexpr std::array kRules = {
    Rule{"names lead to nodes that are missing or orphans",
         {"SELECT count(*) FROM names LEFT JOIN nodes AS n ON n.id=names.node WHERE n.id IS NULL OR "
          "n.orphan=1"}},
    Rule{"names lie in something that is no directory",
         {"SELECT count(*) FROM names LEFT JOIN nodes AS n ON n.id=names.parent"
          " WHERE n.id IS NULL OR n.orphan=1 OR (n.mode & 61440)<>16384"}},
    Rule{"nodes have no name and are no orphans",
         {"SELECT count(*) FROM nodes WHERE orphan=0 AND id<>1 AND NOT EXISTS"
          " (SELECT 1 FROM names WHERE names.node=nodes.id)"}},
    Rule{"nodes have more names than nlink",
         {"SELECT count(*) FROM (SELECT n.nlink AS nlink, count(*) AS names FROM names JOIN nodes AS n"
          " ON n.id=names.node GROUP BY names.node HAVING count(*)>n.nlink)"}},
    Rule{"directories have several names",
         {"SELECT count(*) FROM (SELECT 1 FROM names JOIN nodes AS n ON n.id=names.node"
          " WHERE (n.mode & 61440)=16384 GROUP BY names.node HAVING count(*)>1)"}},
    Rule{"listed directories have the wrong nlink",
         {"SELECT count(*) FROM nodes AS d WHERE d.listed_at_s<>0 AND d.orphan=0 AND d.nlink<>2+"
          "(SELECT count(*) FROM names JOIN nodes AS n ON n.id=names.node"
          " WHERE names.parent=d.id AND (n.mode & 61440)=16384)"}},
    Rule{"live inode numbers are shared",
         {"SELECT count(*) FROM (SELECT 1 FROM nodes WHERE orphan=0 GROUP BY ino HAVING count(*)>1)"}},
    Rule{"sets of extended attributes are missing",
         {"SELECT count(*) FROM nodes WHERE xattr_set<>0 AND xattr_set NOT IN (SELECT id FROM xattr_sets)"}},
    Rule{"uses of extended attributes are miscounted",
         {"SELECT count(*) FROM xattr_sets AS s LEFT JOIN"
          " (SELECT xattr_set AS id, count(*) AS uses FROM"
          "  (SELECT xattr_set FROM nodes UNION ALL SELECT xattr_set FROM base_nodes) GROUP BY xattr_set) AS "
          "n ON n.id=s.id"
          " WHERE s.uses<>coalesce(n.uses, 0)"}},
    Rule{"contents belong to no node",
         {"SELECT count(*) FROM contents WHERE node NOT IN (SELECT id FROM nodes)"}},
    Rule{"versions are to be made from, or for, nodes that are missing",
         {"SELECT count(*) FROM bases WHERE node=older OR node NOT IN (SELECT id FROM nodes)"
          " OR older NOT IN (SELECT id FROM nodes)"}},
    Rule{"slabs are miscounted",
         {"SELECT count(*) FROM slabs AS s LEFT JOIN"
          " (SELECT slab AS id, count(*) AS files, sum(size) AS bytes FROM contents GROUP BY slab) AS c ON "
          "c.id=s.id"
          " WHERE s.live_files<>coalesce(c.files, 0) OR s.live_bytes<>coalesce(c.bytes, 0)"}},
    Rule{"contents lie beyond the used part of their slab",
         {"SELECT count(*) FROM contents AS c WHERE slab<>0 AND NOT EXISTS"
          " (SELECT 1 FROM slabs AS s WHERE s.id=c.slab AND c.position+c.size<=s.used)"}},
    Rule{"contents share bytes",
         {"SELECT count(*) FROM (SELECT slab, position+size AS ends,"
          " lead(position) OVER (PARTITION BY slab ORDER BY position) AS next FROM contents WHERE slab<>0)"
          " WHERE next<ends"}},
    // kAbsentAtSource is 32.
    Rule{
        "nodes differ from the source without saying how, or say so without reason",
        {"SELECT count(*) FROM nodes AS n LEFT JOIN base_nodes AS b ON b.node=n.id WHERE (b.node IS NOT NULL)"
         "<>(n.differences<>0 AND NOT (n.orphan=1 AND (n.differences & 32)<>0))"}},
    Rule{"the source's side of a node is wrong",
         {"SELECT count(*) FROM base_nodes AS b LEFT JOIN nodes AS n ON n.id=b.node WHERE n.id IS NULL"
          " OR (b.present=0)<>((n.differences & 32)<>0)"
          " OR (b.present=0 AND (b.foreign_bytes<>0 OR b.xattr_set<>0))"
          " OR (b.present=1 AND ((b.mode<>n.mode)<>((n.differences & 2)<>0)"
          " OR (b.uid<>n.uid OR b.gid<>n.gid)<>((n.differences & 4)<>0)"
          " OR (b.xattr_set<>n.xattr_set)<>((n.differences & 16)<>0)))"}},
    Rule{"names that do not differ are said to",
         {"SELECT count(*) FROM base_names AS b WHERE b.node="
          "coalesce((SELECT n.node FROM names AS n WHERE n.parent=b.parent AND n.name=b.name), 0)"}},
    Rule{"names of the source lead to nothing",
         {"SELECT count(*) FROM base_names AS b LEFT JOIN nodes AS n ON n.id=b.node WHERE b.node<>0 AND"
          " (n.id IS NULL OR (n.differences & 32)<>0)"}},
    Rule{"names of the source lie in something that is no directory",
         {"SELECT count(*) FROM base_names AS b LEFT JOIN nodes AS n ON n.id=b.parent"
          " WHERE n.id IS NULL OR (n.mode & 61440)<>16384"}},
    Rule{"names lead to what the source does not have, and it is not said",
         {"SELECT count(*) FROM names JOIN nodes AS n ON n.id=names.node WHERE (n.differences & 32)<>0"
          " AND NOT EXISTS (SELECT 1 FROM base_names AS b WHERE b.parent=names.parent AND "
          "b.name=names.name)"}},
    Rule{"the source has nodes nowhere",
         {"SELECT count(*) FROM nodes AS n WHERE n.orphan=0 AND n.id<>1 AND (n.differences & 32)=0"
          " AND NOT EXISTS (SELECT 1 FROM base_names AS b WHERE b.node=n.id AND b.node<>0)"
          " AND NOT EXISTS (SELECT 1 FROM names WHERE names.node=n.id AND NOT EXISTS"
          "  (SELECT 1 FROM base_names AS b WHERE b.parent=names.parent AND b.name=names.name))"}},
    Rule{"names of the source lie in directories that it does not have",
         {"SELECT count(*) FROM base_names AS b JOIN nodes AS n ON n.id=b.parent"
          " WHERE b.node<>0 AND (n.differences & 32)<>0"}},
    Rule{"directories have several names at the source",
         {"SELECT count(*) FROM (SELECT 1 FROM (SELECT node FROM base_names WHERE node<>0 UNION ALL"
          " SELECT n.node FROM names AS n WHERE NOT EXISTS"
          "  (SELECT 1 FROM base_names AS b WHERE b.parent=n.parent AND b.name=n.name)) AS bound"
          " JOIN nodes AS d ON d.id=bound.node WHERE (d.mode & 61440)=16384 GROUP BY bound.node HAVING "
          "count(*)>1)"}},
    Rule{"former names are of nodes that are missing or have a name",
         {"SELECT count(*) FROM former_names AS f LEFT JOIN nodes AS n ON n.id=f.node"
          " WHERE n.id IS NULL OR n.orphan=0"}},
    Rule{"the totals are wrong",
         {"SELECT count(*) FROM totals WHERE nodes<>(SELECT count(*) FROM nodes)"
          " OR orphans<>(SELECT count(*) FROM nodes WHERE orphan=1)"
          " OR cached_bytes<>(SELECT coalesce(sum(present),0) FROM contents)"
          " OR cached_files<>(SELECT count(*) FROM contents WHERE extents IS NULL)"
          " OR partial_files<>(SELECT count(*) FROM contents WHERE extents IS NOT NULL)"
          " OR pending_names<>(SELECT count(*) FROM base_names)"
          " OR pending_nodes<>(SELECT count(*) FROM base_nodes)"}},
    Rule{"layers belong to nothing that differs",
         {"SELECT count(*) FROM layers AS l LEFT JOIN nodes AS n ON n.id=l.node"
          " WHERE n.id IS NULL OR (n.differences & 33)=0 OR (n.mode & 61440)<>32768"}},
    Rule{"layers are neither open nor sealed",
         {"SELECT count(*) FROM layers WHERE layer NOT IN (0, 1) OR (layer=1 AND digest IS NOT NULL)"}},
    Rule{"ranges belong to no layer",
         {"SELECT count(*) FROM layer_extents WHERE block_file=0"
          " OR block_file NOT IN (SELECT block_file FROM layers)"}},
    Rule{"ranges of a layer overlap",
         {"SELECT count(*) FROM (SELECT begins, ends,"
          " lead(begins) OVER (PARTITION BY block_file ORDER BY begins) AS next FROM layer_extents)"
          " WHERE ends<=begins OR next<ends"}},
    Rule{"layers and contents share a block file",
         {"SELECT count(*) FROM layers WHERE block_file<>0"
          " AND block_file IN (SELECT position FROM contents WHERE slab=0)"}},
    Rule{"layers do not reach from the base to the end of their file",
         {"SELECT count(*) FROM (SELECT l.base_limit AS base_limit,"
          "  CASE l.layer WHEN 0 THEN l.size ELSE n.size END AS size, coalesce(max(e.ends), 0) AS ends,"
          "  coalesce(sum(max(e.ends-max(e.begins, l.base_limit), 0)), 0) AS beyond"
          "  FROM layers AS l JOIN nodes AS n ON n.id=l.node"
          "  LEFT JOIN layer_extents AS e ON e.block_file=l.block_file GROUP BY l.node, l.layer)"
          " WHERE base_limit>size OR ends>size OR beyond<>size-base_limit"}},
    Rule{"layers do not lie upon each other",
         {"SELECT count(*) FROM layers AS sealed JOIN nodes AS n ON n.id=sealed.node"
          " LEFT JOIN layers AS open ON open.node=sealed.node AND open.layer=1"
          " WHERE sealed.layer=0 AND coalesce(open.base_limit>sealed.size, n.size<>sealed.size)"}},
};

Result<void> check_rules(Connection& db) {
  {
    Query query(db, kIntegrity);
    auto row = query.step();
    if (!row) return row.error();
    if (query.blob_at(0) != "ok") {
      return Error(Errc::kCorrupt, "the store's database is damaged: " + std::string(query.blob_at(0)));
    }
  }
  for (const Rule& rule : kRules) {
    Query query(db, rule.count);
    auto row = query.step();
    if (!row) return row.error();
    if (const int64_t count = query.integer_at(0); count != 0) {
      return Error(Errc::kCorrupt, "the store is inconsistent: " + std::string(rule.broken) + " (" +
                                       std::to_string(count) + ")");
    }
  }
  return {};
}

}  // namespace

Result<void> check_database(Connection& db) {
  // One moment for all of the rules.
  if (auto done = Query(db, kBegin).run(); !done) return done;
  auto checked = check_rules(db);
  static_cast<void>(Query(db, kEnd).run());
  return checked;
}

}  // namespace rsyncfs
