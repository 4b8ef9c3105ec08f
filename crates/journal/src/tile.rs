//! The C2SP tlog-tiles layout: tile paths, entry bundles, and the right edge of the tree that fills them. Nothing here
//! touches a file or trusts a length it was given.

use crate::tree::{Frontier, Hash};

/// The longest entry a journal takes, in bytes: bundles prefix each entry with a uint16.
pub const ENTRY_BYTES_MAX: usize = 65_535;

/// Hashes in a full tile and entries in a full bundle.
pub(crate) const TILE_WIDTH: u64 = 256;
pub(crate) const TILE_HEIGHT: u32 = 8;
const HASH_BYTES: usize = 32;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    Entries,
    Level(u8),
}

/// One tile or entry bundle: the `index`-th of its kind, `width` (1..=256) items wide.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct TileId {
    pub(crate) kind: Kind,
    pub(crate) index: u64,
    pub(crate) width: u16,
}

impl TileId {
    pub(crate) fn full(kind: Kind, index: u64) -> Self {
        Self { kind, index, width: TILE_WIDTH as u16 }
    }

    pub(crate) fn is_full(&self) -> bool {
        u64::from(self.width) == TILE_WIDTH
    }

    /// The widest version of tile `index` in a tree of `size` leaves; `None` where the tree has no such tile.
    pub(crate) fn in_tree(kind: Kind, index: u64, size: u64) -> Option<Self> {
        let items = match kind {
            Kind::Entries => size,
            Kind::Level(level) => size.checked_shr(TILE_HEIGHT * u32::from(level)).unwrap_or(0),
        };
        let width = items.checked_sub(index.checked_mul(TILE_WIDTH)?)?.min(TILE_WIDTH) as u16;
        (width > 0).then_some(Self { kind, index, width })
    }

    /// The path below the journal's directory, `tile/<L>/<N>[.p/<W>]`.
    pub(crate) fn path(&self) -> String {
        let mut path = match self.kind {
            Kind::Entries => String::from("tile/entries"),
            Kind::Level(level) => format!("tile/{level}"),
        };
        let digits = self.index.to_string();
        let padded = format!("{digits:0>width$}", width = digits.len().div_ceil(3) * 3);
        for at in (0..padded.len()).step_by(3) {
            path.push_str(if at + 3 < padded.len() { "/x" } else { "/" });
            path.push_str(&padded[at..at + 3]);
        }
        if !self.is_full() {
            path.push_str(&format!(".p/{}", self.width));
        }
        path
    }
}

/// Appends one entry in bundle encoding. The entry has passed the length check of `append`.
pub(crate) fn put_entry(bundle: &mut Vec<u8>, entry: &[u8]) {
    let length = u16::try_from(entry.len()).expect("append refuses entries over ENTRY_BYTES_MAX");
    bundle.extend_from_slice(&length.to_be_bytes());
    bundle.extend_from_slice(entry);
}

/// Splits a bundle into its entries; `None` when a length runs past the end.
pub(crate) fn entries(mut bundle: &[u8]) -> Option<Vec<&[u8]>> {
    let mut found = Vec::new();
    while !bundle.is_empty() {
        let (length, rest) = bundle.split_first_chunk::<2>()?;
        let (entry, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
        found.push(entry);
        bundle = rest;
    }
    Some(found)
}

/// Hash number `position` of a tile.
pub(crate) fn hash_at(tile: &[u8], position: usize) -> Option<Hash> {
    tile.get(position * HASH_BYTES..(position + 1) * HASH_BYTES)?.try_into().ok()
}

/// The right edge of a growing log: the frontier, and the partial tiles and bundle that end at it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Edge {
    pub(crate) frontier: Frontier,
    pub(crate) bundle: Vec<u8>,
    pub(crate) levels: Vec<Vec<u8>>,
}

impl Edge {
    pub(crate) fn size(&self) -> u64 {
        self.frontier.size()
    }

    /// Adds one entry and returns the tiles this filled, entry bundle first.
    pub(crate) fn push(&mut self, entry: &[u8], leaf: Hash) -> Vec<(TileId, Vec<u8>)> {
        let mut filled = Vec::new();
        let index = self.size();
        put_entry(&mut self.bundle, entry);
        if index % TILE_WIDTH == TILE_WIDTH - 1 {
            filled.push((TileId::full(Kind::Entries, index / TILE_WIDTH), std::mem::take(&mut self.bundle)));
        }
        let levels = &mut self.levels;
        self.frontier.push(leaf, |level, index, hash| {
            if level % TILE_HEIGHT != 0 {
                return;
            }
            let level = (level / TILE_HEIGHT) as usize;
            if levels.len() == level {
                levels.push(Vec::new());
            }
            levels[level].extend_from_slice(hash);
            if index % TILE_WIDTH == TILE_WIDTH - 1 {
                let tile = TileId::full(Kind::Level(level as u8), index / TILE_WIDTH);
                filled.push((tile, std::mem::take(&mut levels[level])));
            }
        });
        filled
    }

    /// The partial bundle and tiles that end at the current size.
    pub(crate) fn partials(&self) -> Vec<(TileId, &[u8])> {
        let levels = self.levels.iter().enumerate().map(|(level, bytes)| (Kind::Level(level as u8), bytes));
        std::iter::once((Kind::Entries, &self.bundle))
            .chain(levels)
            .filter_map(|(kind, bytes)| {
                let items = match kind {
                    Kind::Entries => self.size(),
                    Kind::Level(level) => self.size() >> (TILE_HEIGHT * u32::from(level)),
                };
                let width = (items % TILE_WIDTH) as u16;
                (width > 0).then_some((TileId { kind, index: items / TILE_WIDTH, width }, bytes.as_slice()))
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::leaf_hash;

    #[test]
    fn paths_are_those_of_the_spec() {
        let cases = [
            (Kind::Level(0), 1_234_067, 256, "tile/0/x001/x234/067"),
            (Kind::Level(0), 273, 112, "tile/0/273.p/112"),
            (Kind::Level(1), 1, 17, "tile/1/001.p/17"),
            (Kind::Entries, 0, 256, "tile/entries/000"),
            (Kind::Entries, 1_000, 1, "tile/entries/x001/000.p/1"),
        ];
        for (kind, index, width, path) in cases {
            assert_eq!(TileId { kind, index, width }.path(), path);
        }
    }

    #[test]
    fn a_tree_of_70_000_has_the_tiles_the_spec_lists() {
        let (mut edge, mut full) = (Edge::default(), std::collections::BTreeMap::new());
        for i in 0..70_000u32 {
            for (tile, bytes) in edge.push(&i.to_be_bytes(), leaf_hash(&i.to_be_bytes())) {
                assert_eq!(bytes.len(), if tile.kind == Kind::Entries { 256 * 6 } else { 8192 });
                assert_eq!(TileId::in_tree(tile.kind, tile.index, 70_000), Some(tile));
                *full.entry(format!("{:?}", tile.kind)).or_insert(0) += 1;
            }
        }
        let full: Vec<_> = full.iter().map(|(kind, count)| (kind.as_str(), *count)).collect();
        assert_eq!(full, [("Entries", 273), ("Level(0)", 273), ("Level(1)", 1)]);
        let partial: Vec<_> = edge.partials().iter().map(|(tile, _)| tile.path()).collect();
        assert_eq!(
            partial,
            ["tile/entries/273.p/112", "tile/0/273.p/112", "tile/1/001.p/17", "tile/2/000.p/1"]
        );
        for (tile, _) in edge.partials() {
            assert_eq!(TileId::in_tree(tile.kind, tile.index, 70_000), Some(tile));
        }
        assert_eq!(TileId::in_tree(Kind::Level(2), 1, 70_000), None);
        assert_eq!(TileId::in_tree(Kind::Level(3), 0, 70_000), None);
        assert_eq!(TileId::in_tree(Kind::Level(255), u64::MAX, 70_000), None);
    }

    #[test]
    fn bundles_split_only_when_lengths_fit() {
        let mut bundle = Vec::new();
        for entry in [&b""[..], b"a", &[7; ENTRY_BYTES_MAX]] {
            put_entry(&mut bundle, entry);
        }
        assert_eq!(entries(&bundle).unwrap(), [&b""[..], b"a", &[7; ENTRY_BYTES_MAX]]);
        for cut in [1, 3, 4, bundle.len() - 1] {
            assert_eq!(entries(&bundle[..cut]).is_none(), ![2, 5].contains(&cut), "cut at {cut}");
        }
        assert_eq!(entries(b""), Some(vec![]));
    }
}
