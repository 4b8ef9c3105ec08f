//! Reading a journal while it may be growing: a consistent snapshot of tiles and write-ahead log, entries and proofs.
//! Nothing here writes, locks, or vouches for a signature; `verify` does that.

use crate::note::{TreeHead, VerifierKey};
use crate::tile::{ENTRY_BYTES_MAX, Edge, Kind, TILE_HEIGHT, TILE_WIDTH, TileId, entries, hash_at};
use crate::tree::{self, Frontier, Hash, leaf_hash, node_hash, sha256};
use crate::verify::Fault;
use crate::wal::{Segment, replay};
use std::collections::HashMap;
use std::io::Read;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::{fs, io};

/// How often a read is tried again because the writer published or rotated meanwhile.
pub(crate) const SNAPSHOT_ATTEMPTS_MAX: usize = 16;
/// The longest file read whole, in bytes: a full bundle of the longest entries, or a segment that just reached its
/// bound and took one more group.
const FILE_BYTES_MAX: u64 = 2 * TILE_WIDTH * (ENTRY_BYTES_MAX as u64 + 2);

/// One moment of a journal: everything durable when it was opened, and nothing later.
#[derive(Debug)]
pub struct Reader {
    tiles: Tiles,
    size: u64,
    checkpoint: String,
}

impl Reader {
    /// Takes a snapshot of the journal in `dir`; works beside a running writer.
    ///
    /// # Errors
    /// [`Fault`] names the file that is missing, malformed or does not fit its checkpoint.
    pub fn open(dir: &Path) -> Result<Self, Fault> {
        retry(dir, |snapshot| {
            let mut tiles = Tiles::new(dir);
            let (mut edge, mut overlay) = (tiles.edge(snapshot.published()?.size)?, HashMap::new());
            let replayed = replay(
                &snapshot.segments,
                None,
                &mut edge,
                |tile, bytes| {
                    overlay.insert(tile, bytes);
                    Ok(())
                },
                |_| {},
            )?;
            overlay.extend(edge.partials().into_iter().map(|(tile, bytes)| (tile, bytes.to_vec())));
            tiles.overlay = overlay;
            let checkpoint = replayed.head.unwrap_or_else(|| snapshot.checkpoint.clone());
            Ok(Self { tiles, size: edge.size(), checkpoint })
        })
    }

    /// Number of entries.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The signed note for exactly this snapshot, signature unchecked. For an anchor to keep elsewhere prefer
    /// [`Journal::checkpoint`](crate::Journal::checkpoint) or the `checkpoint` file: a power failure may still undo a
    /// group that was read here before it was acknowledged.
    pub fn latest_checkpoint(&self) -> &str {
        &self.checkpoint
    }

    /// Iterates over `(index, entry)` for a range of indexes, cut to the snapshot's size. Ends after the first error.
    pub fn entries(&self, range: Range<u64>) -> Entries<'_> {
        Entries {
            tiles: &self.tiles,
            size: self.size,
            next: range.start,
            end: range.end.min(self.size),
            bundle: vec![],
        }
    }

    /// One entry.
    ///
    /// # Errors
    /// [`Fault::OutOfRange`], or what is wrong with the bundle.
    pub fn entry(&self, index: u64) -> Result<Vec<u8>, Fault> {
        let found = self.entries(index..index.saturating_add(1)).next();
        found.unwrap_or(Err(Fault::OutOfRange { position: index, size: self.size })).map(|(_, entry)| entry)
    }

    /// The leaf hash of one entry, from its tile.
    ///
    /// # Errors
    /// [`Fault::OutOfRange`], or what is wrong with the tile.
    pub fn leaf(&self, index: u64) -> Result<Hash, Fault> {
        self.within(index, index.checked_add(1))?;
        self.tiles.node(self.size, 0, index)
    }

    /// The root of the tree of the first `size` entries.
    ///
    /// # Errors
    /// [`Fault::OutOfRange`], or what is wrong with a tile.
    pub fn root(&self, size: u64) -> Result<Hash, Fault> {
        self.within(size, Some(size))?;
        Ok(Frontier::load(size, |level, index| self.tiles.node(self.size, level, index))?.root())
    }

    /// RFC 6962 audit path of leaf `index` in the tree of `size` entries; check it with
    /// [`verify_inclusion`](crate::verify_inclusion).
    ///
    /// # Errors
    /// [`Fault::OutOfRange`], or what is wrong with a tile.
    pub fn inclusion_proof(&self, index: u64, size: u64) -> Result<Vec<Hash>, Fault> {
        self.within(size, Some(size))?;
        if index >= size {
            return Err(Fault::OutOfRange { position: index, size });
        }
        tree::inclusion_proof(index, size, &mut |level, index| self.tiles.node(self.size, level, index))
    }

    /// RFC 6962 consistency proof from the tree of `old` entries to that of `size`; check it with
    /// [`verify_consistency`](crate::verify_consistency).
    ///
    /// # Errors
    /// [`Fault::OutOfRange`], or what is wrong with a tile.
    pub fn consistency_proof(&self, old: u64, size: u64) -> Result<Vec<Hash>, Fault> {
        self.within(size, Some(size))?;
        if old > size {
            return Err(Fault::OutOfRange { position: old, size });
        }
        tree::consistency_proof(old, size, &mut |level, index| self.tiles.node(self.size, level, index))
    }

    fn within(&self, position: u64, needed: Option<u64>) -> Result<(), Fault> {
        match needed {
            Some(needed) if needed <= self.size => Ok(()),
            _ => Err(Fault::OutOfRange { position, size: self.size }),
        }
    }
}

/// Iterator over the entries of a [`Reader`].
#[derive(Debug)]
pub struct Entries<'a> {
    tiles: &'a Tiles,
    size: u64,
    next: u64,
    end: u64,
    /// What remains of the current bundle, reversed.
    bundle: Vec<Vec<u8>>,
}

impl Iterator for Entries<'_> {
    type Item = Result<(u64, Vec<u8>), Fault>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.next >= self.end {
            return None;
        }
        if self.bundle.is_empty() {
            let skipped = (self.next % TILE_WIDTH) as usize;
            match self.tiles.bundle(self.size, self.next / TILE_WIDTH) {
                Ok((_, entries)) => self.bundle = entries.into_iter().skip(skipped).rev().collect(),
                Err(fault) => {
                    self.end = self.next;
                    return Some(Err(fault));
                }
            }
        }
        let (index, entry) = (self.next, self.bundle.pop()?);
        self.next += 1;
        Some(Ok((index, entry)))
    }
}

/// The mutable files of a journal, read in an order that leaves no hole: first the write-ahead log, then the
/// checkpoint. A segment is deleted only after the checkpoint covers it, so what was not listed is covered.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Snapshot {
    pub(crate) segments: Vec<Segment>,
    pub(crate) checkpoint: String,
}

impl Snapshot {
    pub(crate) fn take(dir: &Path) -> Result<Self, Fault> {
        let segments = segment_files(dir)?.into_iter().filter_map(|file| match read(dir, &file) {
            Ok(bytes) => Some(Ok(Segment { file, bytes })),
            // Published and deleted since the listing; the checkpoint read below covers it.
            Err(Fault::Missing { .. }) => None,
            Err(fault) => Some(Err(fault)),
        });
        let segments = segments.collect::<Result<_, _>>()?;
        let malformed = |_| Fault::Malformed { file: "checkpoint".into(), why: "it is not UTF-8" };
        let checkpoint = String::from_utf8(read(dir, "checkpoint")?).map_err(malformed)?;
        Ok(Self { segments, checkpoint })
    }

    fn published(&self) -> Result<TreeHead, Fault> {
        TreeHead::of_note(&self.checkpoint)
            .map_err(|source| Fault::Checkpoint { file: "checkpoint".into(), source })
    }
}

/// Runs `read` on a snapshot; when it fails and the journal changed meanwhile, the failure may come from the change.
pub(crate) fn retry<T>(dir: &Path, mut read: impl FnMut(&Snapshot) -> Result<T, Fault>) -> Result<T, Fault> {
    let mut snapshot = Snapshot::take(dir)?;
    for _ in 1..SNAPSHOT_ATTEMPTS_MAX {
        let fault = match read(&snapshot) {
            Ok(found) => return Ok(found),
            Err(fault) => fault,
        };
        let again = Snapshot::take(dir)?;
        if again == snapshot {
            return Err(fault);
        }
        snapshot = again;
    }
    read(&snapshot)
}

/// The names of all segments, oldest first.
pub(crate) fn segment_files(dir: &Path) -> Result<Vec<String>, Fault> {
    let fault = |source| Fault::Io { file: "wal".into(), source };
    let listing = match fs::read_dir(dir.join("wal")) {
        Ok(listing) => listing,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(vec![]),
        Err(error) => return Err(fault(error)),
    };
    let mut files = Vec::new();
    for item in listing {
        let name = item.map_err(fault)?.file_name();
        let name = name.to_string_lossy();
        if name.len() == 20 && name.bytes().all(|b| b.is_ascii_digit()) {
            files.push(format!("wal/{name}"));
        }
    }
    files.sort();
    Ok(files)
}

/// Reads a file below `dir` whole.
pub(crate) fn read(dir: &Path, file: &str) -> Result<Vec<u8>, Fault> {
    let fault = |source: io::Error| match source.kind() {
        io::ErrorKind::NotFound => Fault::Missing { file: file.to_owned() },
        _ => Fault::Io { file: file.to_owned(), source },
    };
    let opened = fs::File::open(dir.join(file)).map_err(fault)?;
    let mut bytes = Vec::new();
    opened.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(fault)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(Fault::Malformed {
            file: file.to_owned(),
            why: "it is longer than any file of a journal",
        });
    }
    Ok(bytes)
}

/// Tiles on disk, and over them those that the write-ahead log will become.
#[derive(Debug)]
pub(crate) struct Tiles {
    dir: PathBuf,
    overlay: HashMap<TileId, Vec<u8>>,
}

impl Tiles {
    pub(crate) fn new(dir: &Path) -> Self {
        Self { dir: dir.to_owned(), overlay: HashMap::new() }
    }

    /// A tile or bundle and the name of the file it came from; a full one stands in for a partial one, whose tail the
    /// caller cuts.
    fn load(&self, tile: TileId) -> Result<(String, Vec<u8>), Fault> {
        let file = tile.path();
        if let Some(bytes) = self.overlay.get(&tile) {
            return Ok((file, bytes.clone()));
        }
        match read(&self.dir, &file) {
            Err(Fault::Missing { .. }) if !tile.is_full() => {
                let full = TileId::full(tile.kind, tile.index).path();
                match read(&self.dir, &full) {
                    Ok(bytes) => Ok((full, bytes)),
                    Err(Fault::Missing { .. }) => Err(Fault::Missing { file }),
                    Err(fault) => Err(fault),
                }
            }
            read => Ok((file, read?)),
        }
    }

    /// Hash tile `index` of `level` in a tree of `size` leaves, cut to that tree.
    pub(crate) fn hashes(&self, size: u64, level: u8, index: u64) -> Result<(String, Vec<u8>), Fault> {
        let tile = TileId::in_tree(Kind::Level(level), index, size)
            .ok_or(Fault::OutOfRange { position: index.saturating_mul(TILE_WIDTH), size })?;
        let (file, mut bytes) = self.load(tile)?;
        let wanted = usize::from(tile.width) * size_of::<Hash>();
        let whole = if file == tile.path() { wanted } else { TILE_WIDTH as usize * size_of::<Hash>() };
        if bytes.len() != whole {
            return Err(Fault::Malformed { file, why: "the tile has another length than its width" });
        }
        bytes.truncate(wanted);
        Ok((file, bytes))
    }

    /// Entry bundle `index` in a tree of `size` leaves. Only where a full bundle stands in for a partial one is it cut:
    /// a bundle with too many or too few entries is returned as it is, for `verify` to say what happened to it.
    pub(crate) fn bundle(&self, size: u64, index: u64) -> Result<(String, Vec<Vec<u8>>), Fault> {
        let tile = TileId::in_tree(Kind::Entries, index, size)
            .ok_or(Fault::OutOfRange { position: index.saturating_mul(TILE_WIDTH), size })?;
        let (file, bytes) = self.load(tile)?;
        let Some(found) = entries(&bytes) else {
            return Err(Fault::Malformed { file, why: "an entry runs past the bundle's end" });
        };
        let cut = if file == tile.path() { found.len() } else { usize::from(tile.width) };
        let found = found.into_iter().take(cut).map(<[u8]>::to_vec).collect();
        Ok((file, found))
    }

    /// The root of the perfect subtree over leaves `index << level ..`.
    pub(crate) fn node(&self, size: u64, level: u32, index: u64) -> Result<Hash, Fault> {
        let (tile_level, height) = (level / TILE_HEIGHT, level % TILE_HEIGHT);
        let first = index << height;
        let (file, tile) = self.hashes(size, tile_level as u8, first / TILE_WIDTH)?;
        let start = (first % TILE_WIDTH) as usize;
        let row: Option<Vec<Hash>> =
            (start..start + (1 << height)).map(|position| hash_at(&tile, position)).collect();
        let mut row = row.ok_or(Fault::Malformed { file, why: "the tile is narrower than the tree" })?;
        while let [_, _, ..] = row[..] {
            row = row.as_chunks::<2>().0.iter().map(|[left, right]| node_hash(left, right)).collect();
        }
        Ok(row[0])
    }

    /// The right edge of the published tree of `size` leaves.
    pub(crate) fn edge(&self, size: u64) -> Result<Edge, Fault> {
        let partial = |count: u64| !count.is_multiple_of(TILE_WIDTH);
        let frontier = Frontier::load(size, |level, index| self.node(size, level, index))?;
        let mut edge = Edge { frontier, ..Edge::default() };
        for level in 0..u64::BITS / TILE_HEIGHT {
            let count = size >> (TILE_HEIGHT * level);
            if count == 0 {
                break;
            }
            let tile =
                partial(count).then(|| self.hashes(size, level as u8, count / TILE_WIDTH)).transpose()?;
            edge.levels.push(tile.map(|(_, bytes)| bytes).unwrap_or_default());
        }
        if partial(size) {
            let (file, found) = self.bundle(size, size / TILE_WIDTH)?;
            let hashes: Vec<u8> = found.iter().flat_map(|entry| leaf_hash(entry)).collect();
            if hashes != edge.levels[0] {
                return Err(Fault::Malformed {
                    file,
                    why: "its entries are not those of the hash tile beside it",
                });
            }
            found.iter().for_each(|entry| crate::tile::put_entry(&mut edge.bundle, entry));
        }
        Ok(edge)
    }

    /// A tile that holds leaves at or after `size`, if one was ever published, and how far it reaches.
    pub(crate) fn beyond(&self, size: u64) -> Result<Option<(String, u64)>, Fault> {
        let (index, width) = (size / TILE_WIDTH, size % TILE_WIDTH);
        for (kind, index, width) in [Kind::Entries, Kind::Level(0)]
            .into_iter()
            .flat_map(|kind| [(kind, index, width), (kind, index + 1, 0)])
        {
            let full = TileId::full(kind, index).path();
            if self.dir.join(&full).exists() {
                return Ok(Some((full, (index + 1).saturating_mul(TILE_WIDTH))));
            }
            let partials = format!("{full}.p");
            let listing = match fs::read_dir(self.dir.join(&partials)) {
                Ok(listing) => listing,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(source) => return Err(Fault::Io { file: partials, source }),
            };
            for item in listing {
                let name = item.map_err(|source| Fault::Io { file: partials.clone(), source })?.file_name();
                let found = name.to_str().and_then(|name| name.parse().ok()).unwrap_or(0);
                if found > width {
                    return Ok(Some((
                        format!("{partials}/{found}"),
                        index.saturating_mul(TILE_WIDTH).saturating_add(found),
                    )));
                }
            }
        }
        Ok(None)
    }
}

/// The published checkpoint of a snapshot, its signature checked, and the edge of its tree, checked against its root.
pub(crate) fn published(
    snapshot: &Snapshot,
    tiles: &Tiles,
    key: &VerifierKey,
) -> Result<(crate::note::Checkpoint, Edge), Fault> {
    let file = || String::from("checkpoint");
    let checkpoint = crate::note::Checkpoint::verify(&snapshot.checkpoint, key)
        .map_err(|source| Fault::Checkpoint { file: file(), source })?;
    let edge = tiles.edge(checkpoint.size())?;
    if edge.frontier.root() != *checkpoint.root() {
        return Err(Fault::Root { file: file(), size: checkpoint.size(), intact: 0 });
    }
    Ok((checkpoint, edge))
}

/// The root of the empty tree.
pub(crate) fn empty_root() -> Hash {
    sha256(b"")
}
