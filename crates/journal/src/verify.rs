//! Verification with the public key alone: everything is recomputed from the entries and compared with every tile,
//! every signature and every anchor. It never writes, never takes a lock, and never trusts one file because of another.

use crate::note::{Checkpoint, NoteError, VerifierKey};
use crate::reader::{Snapshot, Tiles, empty_root, published, retry};
use crate::tile::{TILE_HEIGHT, TILE_WIDTH, hash_at};
use crate::tree::{Frontier, Hash, leaf_hash};
use crate::wal::replay;
use std::{fmt, io, path::Path};

/// What is wrong with a journal, and where. Files are named below the journal's directory.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// A file that the checkpoint requires is gone.
    #[error("{file} is missing: it was deleted, or the journal was copied incompletely")]
    Missing {
        /// The file.
        file: String,
    },
    /// A file's bytes are not what its format allows.
    #[error("{file} is malformed: {why}")]
    Malformed {
        /// The file.
        file: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// A checkpoint is unsigned, forged, signed by another key, or of another log.
    #[error("checkpoint in {file} is not valid: {source}")]
    Checkpoint {
        /// The file.
        file: String,
        /// Why the signature does not count.
        source: NoteError,
    },
    /// An entry is not the one whose hash the tree holds.
    #[error("leaf {index} in {file} was {change}: it is not the entry whose hash was recorded")]
    Entry {
        /// The first leaf that differs.
        index: u64,
        /// The entry bundle.
        file: String,
        /// What the change looks like.
        change: Change,
    },
    /// A hash tile does not follow from the tile below it.
    #[error("hash {position} in {file} does not follow from the entries below it")]
    Tile {
        /// The tile.
        file: String,
        /// The first hash that differs.
        position: u64,
    },
    /// The entries give another root than the one signed: entries and tiles were rewritten together.
    #[error(
        "the {size} entries do not have the root signed in {file}: something from leaf {intact} on was rewritten"
    )]
    Root {
        /// The file with the signed checkpoint.
        file: String,
        /// Its tree size.
        size: u64,
        /// The size of the largest anchored tree that is intact.
        intact: u64,
    },
    /// A damaged group in the write-ahead log that is not an interrupted last append.
    #[error("group at byte {offset} of {file} is damaged: {why}")]
    Frame {
        /// The write-ahead file.
        file: String,
        /// Where the group starts, in bytes.
        offset: u64,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The write-ahead log does not continue where the entries before it end.
    #[error(
        "{file} continues at leaf {found}, expected leaf {expected}: groups were removed, repeated or reordered"
    )]
    Gap {
        /// The write-ahead file.
        file: String,
        /// The next leaf.
        expected: u64,
        /// The leaf found.
        found: u64,
    },
    /// The journal is shorter than it once was.
    #[error(
        "the journal has {size} entries but {witness} shows it had {seen}: its tail was truncated or rolled back"
    )]
    RolledBack {
        /// Entries the journal has now.
        size: u64,
        /// Entries it had.
        seen: u64,
        /// What shows that: an anchor or a file.
        witness: String,
    },
    /// The journal's own key signed a different history.
    #[error("the anchor of {size} entries has another root: the journal's history was rewritten or split")]
    Fork {
        /// The anchor's tree size.
        size: u64,
    },
    /// An anchor that says nothing about this journal.
    #[error("the anchor of {size} entries is signed by another key or for another journal")]
    ForeignAnchor {
        /// The anchor's tree size.
        size: u64,
    },
    /// The caller asked for a position that the journal does not have.
    #[error("position {position} lies outside the journal's {size} entries")]
    OutOfRange {
        /// The leaf index or size asked for.
        position: u64,
        /// Entries there are.
        size: u64,
    },
    /// A file could not be read or written.
    #[error("{file}: {source}")]
    Io {
        /// The file or directory.
        file: String,
        /// The operating system's reason.
        source: io::Error,
    },
}

/// How a bundle differs from the hashes recorded for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// The entry's bytes are different.
    Edited,
    /// The entry is gone and later ones moved up.
    Deleted,
    /// An entry that was never recorded stands before it.
    Inserted,
    /// The recorded entries are there, in another order.
    Reordered,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Edited => "edited",
            Self::Deleted => "deleted",
            Self::Inserted => "displaced by an inserted entry",
            Self::Reordered => "reordered",
        })
    }
}

/// What was verified.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub struct Report {
    /// Entries verified, published and not.
    pub size: u64,
    /// Of these, entries published as tiles.
    pub published: u64,
    /// Signed groups verified in the write-ahead log.
    pub groups: u64,
    /// Anchors found consistent.
    pub anchors: usize,
    /// Bytes after the last whole group: an append in progress or interrupted, acknowledged to nobody.
    pub unfinished_bytes: u64,
    /// The latest signed checkpoint, over all `size` entries: a good anchor for the next verification.
    pub checkpoint: Checkpoint,
}

/// Verifies the journal in `dir` against its public key and against `anchors`, checkpoints of it kept elsewhere. Without
/// an anchor, a tail cut off together with its checkpoint cannot be noticed by anyone. Works beside a running writer.
///
/// # Errors
/// The first [`Fault`] found.
pub fn verify(dir: &Path, key: &VerifierKey, anchors: &[Checkpoint]) -> Result<Report, Fault> {
    if let Some(foreign) = anchors.iter().find(|anchor| !anchor.signed_by(key)) {
        return Err(Fault::ForeignAnchor { size: foreign.size() });
    }
    let mut anchors: Vec<&Checkpoint> = anchors.iter().collect();
    anchors.sort_by_key(|anchor| anchor.size());
    retry(dir, |snapshot| verify_snapshot(dir, snapshot, key, &anchors))
}

fn verify_snapshot(
    dir: &Path,
    snapshot: &Snapshot,
    key: &VerifierKey,
    anchors: &[&Checkpoint],
) -> Result<Report, Fault> {
    let tiles = Tiles::new(dir);
    let mut walk = AnchorWalk { anchors, met: 0, forked: None };
    let source = |source| Fault::Checkpoint { file: "checkpoint".into(), source };
    let local = Checkpoint::verify(&snapshot.checkpoint, key).map_err(source)?;
    verify_tiles(&tiles, &local, &mut walk)?;
    let (_, mut edge) = published(snapshot, &tiles, key)?;
    let replayed =
        replay(&snapshot.segments, Some(key), &mut edge, |_, _| Ok(()), |frontier| walk.pass(frontier))
            .map_err(|fault| match fault {
                Fault::Root { file, size, intact } => {
                    Fault::Root { file, size, intact: intact.max(walk.intact()) }
                }
                other => other,
            })?;
    let size = edge.size();
    if let Some(size) = walk.forked {
        return Err(Fault::Fork { size });
    }
    if let Some(ahead) = anchors.last().filter(|anchor| anchor.size() > size) {
        return Err(Fault::RolledBack { size, seen: ahead.size(), witness: "an anchor".into() });
    }
    if let Some((witness, seen)) = tiles.beyond(size)? {
        return Err(Fault::RolledBack { size, seen, witness });
    }
    let unfinished_bytes = match replayed.tail {
        None => 0,
        Some(tail) if tail.short => tail.bytes as u64,
        Some(tail) => {
            return Err(Fault::Frame { file: tail.file, offset: tail.offset as u64, why: tail.why });
        }
    };
    let checkpoint = match replayed.head {
        Some(head) => Checkpoint::verify(&head, key)
            .map_err(|source| Fault::Checkpoint { file: "the write-ahead log".into(), source })?,
        None => local.clone(),
    };
    Ok(Report {
        size,
        published: local.size(),
        groups: replayed.groups,
        anchors: anchors.len(),
        unfinished_bytes,
        checkpoint,
    })
}

/// Recomputes the published tree from its entries and compares it, hash by hash, with every tile.
fn verify_tiles(tiles: &Tiles, checkpoint: &Checkpoint, walk: &mut AnchorWalk<'_>) -> Result<(), Fault> {
    let size = checkpoint.size();
    let mut frontier = Frontier::default();
    // The tile each upper level is being compared with: its index, file and bytes.
    let mut upper: Vec<(u64, String, Vec<u8>)> = Vec::new();
    walk.pass(&frontier);
    for index in 0..size.div_ceil(TILE_WIDTH) {
        let (file, entries) = tiles.bundle(size, index)?;
        let (_, tile) = tiles.hashes(size, 0, index)?;
        let recorded = tile.as_chunks::<32>().0;
        let found: Vec<Hash> = entries.iter().map(|entry| leaf_hash(entry)).collect();
        if let Some((at, change)) = difference(&found, recorded) {
            return Err(Fault::Entry { index: index * TILE_WIDTH + at, file, change });
        }
        let mut completed = Vec::new();
        for leaf in found {
            frontier.push(leaf, |level, index, hash| {
                if level > 0 && level % TILE_HEIGHT == 0 {
                    completed.push(((level / TILE_HEIGHT) as u8, index, *hash));
                }
            });
            walk.pass(&frontier);
        }
        for (level, index, hash) in completed {
            let (slot, tile, position) = (usize::from(level) - 1, index / TILE_WIDTH, index % TILE_WIDTH);
            if upper.get(slot).is_none_or(|(loaded, ..)| *loaded != tile) {
                let (file, bytes) = tiles.hashes(size, level, tile)?;
                upper.truncate(slot);
                upper.push((tile, file, bytes));
            }
            let (_, file, bytes) = &upper[slot];
            if hash_at(bytes, position as usize) != Some(hash) {
                return Err(Fault::Tile { file: file.clone(), position });
            }
        }
    }
    if frontier.root() != *checkpoint.root() {
        return Err(Fault::Root { file: "checkpoint".into(), size, intact: walk.intact() });
    }
    Ok(())
}

/// The first position where the entries found differ from the hashes recorded, and what the difference looks like.
fn difference(found: &[Hash], recorded: &[Hash]) -> Option<(u64, Change)> {
    if found == recorded {
        return None;
    }
    let at = found.iter().zip(recorded).take_while(|(found, recorded)| found == recorded).count();
    let (rest, expected) = (&found[at..], &recorded[at..]);
    // A deletion or insertion shifts everything after it, to the end of the bundle or one short of it.
    let shifted = |longer: &[Hash], shorter: &[Hash]| {
        longer.len() > 1 && shorter.len() + 1 >= longer.len() && shorter.starts_with(&longer[1..])
    };
    let sorted = |hashes: &[Hash]| {
        let mut hashes = hashes.to_vec();
        hashes.sort_unstable();
        hashes
    };
    let change = if rest.len() == expected.len() && sorted(rest) == sorted(expected) {
        Change::Reordered
    } else if rest.len() < expected.len() || shifted(expected, rest) {
        Change::Deleted
    } else if rest.len() > expected.len() || shifted(rest, expected) {
        Change::Inserted
    } else {
        Change::Edited
    };
    Some((at as u64, change))
}

/// Compares anchors, sorted by size, with the tree as it passes their sizes. A mismatch is only remembered: when the
/// local signature fails as well, that says more.
struct AnchorWalk<'a> {
    anchors: &'a [&'a Checkpoint],
    met: usize,
    forked: Option<u64>,
}

impl AnchorWalk<'_> {
    fn pass(&mut self, frontier: &Frontier) {
        while let Some(anchor) = self.anchors.get(self.met).filter(|anchor| anchor.size() == frontier.size())
        {
            self.met += 1;
            let root = if anchor.size() == 0 { empty_root() } else { frontier.root() };
            if root != *anchor.root() {
                self.forked.get_or_insert(anchor.size());
            }
        }
    }

    /// The size of the largest anchored tree that was met intact.
    fn intact(&self) -> u64 {
        let met = self.anchors[..self.met].iter().map(|anchor| anchor.size());
        met.take_while(|size| self.forked.is_none_or(|forked| *size < forked)).last().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_are_named() {
        let h = |names: &str| names.bytes().map(|b| [b; 32]).collect::<Vec<_>>();
        let cases = [
            ("abcd", None),
            ("abXd", Some((2, Change::Edited))),
            ("abcX", Some((3, Change::Edited))),
            ("acd", Some((1, Change::Deleted))),
            ("abc", Some((3, Change::Deleted))),
            ("acde", Some((1, Change::Deleted))),
            ("aXbcd", Some((1, Change::Inserted))),
            ("aXbc", Some((1, Change::Inserted))),
            ("abcdX", Some((4, Change::Inserted))),
            ("abdc", Some((2, Change::Reordered))),
            ("", Some((0, Change::Deleted))),
        ];
        for (found, expected) in cases {
            assert_eq!(difference(&h(found), &h("abcd")), expected, "{found}");
        }
    }
}
