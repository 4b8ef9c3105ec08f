//! The write-ahead log: one checksummed frame per group, holding its entries and the signed checkpoint of the tree
//! they complete. Reading it never trusts a length, and never takes a damaged frame before a good one for a torn tail.

use crate::note::{Checkpoint, TreeHead, VerifierKey};
use crate::tile::{Edge, TileId, entries};
use crate::tree::{Frontier, leaf_hash, sha256};
use crate::verify::Fault;

/// `magic | first index u64 | bundle bytes u32 | note bytes u16 | entries u16 | note | bundle | SHA-256 of all before`,
/// integers big-endian. The magic starts outside ASCII and UTF-8 so that text does not contain it by accident.
const MAGIC: [u8; 8] = *b"\x89bwkwal\x01";
const HEADER_BYTES: usize = 24;
const CHECKSUM_BYTES: usize = 32;

/// The most entry bytes in one group, length prefixes included.
pub(crate) const GROUP_BYTES_MAX: usize = 4 * 1024 * 1024;
/// The longest checkpoint in a frame: two key names of at most 1024 bytes and 250 bytes around them.
const FRAME_NOTE_BYTES_MAX: usize = 4096;

/// One write-ahead file: its path below the journal's directory, and what it held when read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Segment {
    pub(crate) file: String,
    pub(crate) bytes: Vec<u8>,
}

/// The path of the segment whose first entry has index `first`, below the journal's directory.
pub(crate) fn segment_file(first: u64) -> String {
    format!("wal/{first:020}")
}

/// Writes one frame into `out`, replacing what was there.
pub(crate) fn put_frame(out: &mut Vec<u8>, first: u64, count: u16, bundle: &[u8], note: &str) {
    let bundle_bytes = u32::try_from(bundle.len()).expect("a group is at most GROUP_BYTES_MAX");
    let note_bytes = u16::try_from(note.len()).expect("a checkpoint is at most FRAME_NOTE_BYTES_MAX");
    out.clear();
    out.extend_from_slice(&MAGIC);
    out.extend_from_slice(&first.to_be_bytes());
    out.extend_from_slice(&bundle_bytes.to_be_bytes());
    out.extend_from_slice(&note_bytes.to_be_bytes());
    out.extend_from_slice(&count.to_be_bytes());
    out.extend_from_slice(note.as_bytes());
    out.extend_from_slice(bundle);
    let checksum = sha256(out);
    out.extend_from_slice(&checksum);
}

/// Where the last segment stops being whole frames.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Tail {
    pub(crate) file: String,
    pub(crate) offset: usize,
    pub(crate) bytes: usize,
    /// The frame ends before its own length: what an interrupted append leaves. Otherwise it has its length and does
    /// not fit its checksum: pages lost in a power failure, or an edit.
    pub(crate) short: bool,
    pub(crate) why: &'static str,
}

#[derive(Debug, Default)]
pub(crate) struct Replayed {
    pub(crate) groups: u64,
    pub(crate) entries: u64,
    pub(crate) tail: Option<Tail>,
    /// The checkpoint of the last group, a signed note.
    pub(crate) head: Option<String>,
}

/// Applies every group not yet in `edge`, in order. With a key, each group's signature is checked, and a broken tail
/// is searched for a later signed group, which would make it corruption.
pub(crate) fn replay(
    segments: &[Segment],
    key: Option<&VerifierKey>,
    edge: &mut Edge,
    mut filled: impl FnMut(TileId, Vec<u8>) -> Result<(), Fault>,
    mut passed: impl FnMut(&Frontier),
) -> Result<Replayed, Fault> {
    let (published, mut replayed) = (edge.size(), Replayed::default());
    for (number, Segment { file, bytes }) in segments.iter().enumerate() {
        let mut next = 0;
        while next < bytes.len() {
            let offset = next;
            let frame_fault = |why| Fault::Frame { file: file.clone(), offset: offset as u64, why };
            let (frame, length) = match Frame::parse(&bytes[offset..]) {
                Ok(frame) => frame,
                Err(Break { short, why }) => {
                    let later = segments[number + 1..].iter().any(|segment| !segment.bytes.is_empty());
                    if later || key.is_some_and(|key| good_frame_in(&bytes[offset + 1..], key, edge.size())) {
                        return Err(frame_fault(why));
                    }
                    let bytes = bytes.len() - offset;
                    replayed.tail = Some(Tail { file: file.clone(), offset, bytes, short, why });
                    break;
                }
            };
            next += length;
            let end = frame
                .first
                .checked_add(frame.entries.len() as u64)
                .ok_or(frame_fault("an index overflows"))?;
            if end <= published {
                continue;
            }
            if frame.first != edge.size() {
                return Err(Fault::Gap { file: file.clone(), expected: edge.size(), found: frame.first });
            }
            let unsigned = |source| Fault::Checkpoint { file: file.clone(), source };
            let head = TreeHead::of_note(frame.note).map_err(unsigned)?;
            if let Some(key) = key {
                Checkpoint::verify(frame.note, key).map_err(unsigned)?;
            }
            for entry in &frame.entries {
                for (tile, bytes) in edge.push(entry, leaf_hash(entry)) {
                    filled(tile, bytes)?;
                }
                passed(&edge.frontier);
            }
            if head.size != end || head.root != edge.frontier.root() {
                return Err(Fault::Root { file: file.clone(), size: end, intact: frame.first });
            }
            replayed.groups += 1;
            replayed.entries += frame.entries.len() as u64;
            replayed.head = Some(frame.note.to_owned());
        }
    }
    Ok(replayed)
}

struct Frame<'a> {
    first: u64,
    entries: Vec<&'a [u8]>,
    note: &'a str,
}

struct Break {
    short: bool,
    why: &'static str,
}

struct Header {
    first: u64,
    bundle_bytes: usize,
    note_bytes: usize,
    count: usize,
}

impl Header {
    fn parse(bytes: &[u8]) -> Result<Self, Break> {
        let damaged = |why| Break { short: false, why };
        let magic = &bytes[..bytes.len().min(MAGIC.len())];
        if !MAGIC.starts_with(magic) {
            return Err(damaged("no frame starts here"));
        }
        let header: &[u8; HEADER_BYTES] =
            bytes.first_chunk().ok_or(Break { short: true, why: "the header is incomplete" })?;
        let [_, _, _, _, _, _, _, _, first @ .., b0, b1, b2, b3, n0, n1, c0, c1] = header;
        let header = Self {
            first: u64::from_be_bytes(*first),
            bundle_bytes: u32::from_be_bytes([*b0, *b1, *b2, *b3]) as usize,
            note_bytes: usize::from(u16::from_be_bytes([*n0, *n1])),
            count: usize::from(u16::from_be_bytes([*c0, *c1])),
        };
        if header.bundle_bytes > GROUP_BYTES_MAX
            || header.note_bytes > FRAME_NOTE_BYTES_MAX
            || header.count == 0
        {
            return Err(damaged("the header holds impossible lengths"));
        }
        Ok(header)
    }
}

impl<'a> Frame<'a> {
    fn parse(bytes: &'a [u8]) -> Result<(Self, usize), Break> {
        let damaged = |why| Break { short: false, why };
        let Header { first, bundle_bytes, note_bytes, count } = Header::parse(bytes)?;
        let checked = HEADER_BYTES + note_bytes + bundle_bytes;
        let length = checked + CHECKSUM_BYTES;
        if bytes.len() < length {
            return Err(Break { short: true, why: "the frame is incomplete" });
        }
        if sha256(&bytes[..checked])[..] != bytes[checked..length] {
            return Err(damaged("the frame does not fit its checksum"));
        }
        let (note, bundle) = bytes[HEADER_BYTES..checked].split_at(note_bytes);
        let note = std::str::from_utf8(note).map_err(|_| damaged("the checkpoint is not UTF-8"))?;
        let entries = entries(bundle).ok_or(damaged("an entry runs past its group"))?;
        if entries.len() != count {
            return Err(damaged("the group holds another number of entries than it says"));
        }
        Ok((Self { first, entries, note }, length))
    }
}

/// Whether a whole group, signed by `key` and newer than `size`, lies anywhere in `bytes`. An entry may imitate a
/// frame, so the signature is checked before anything long is hashed: only the journal's own key makes one count.
fn good_frame_in(bytes: &[u8], key: &VerifierKey, size: u64) -> bool {
    let starts = bytes.windows(MAGIC.len()).enumerate().filter(|(_, window)| **window == MAGIC);
    starts.map(|(at, _)| &bytes[at..]).any(|candidate| {
        let Ok(Header { first, note_bytes, count, .. }) = Header::parse(candidate) else { return false };
        let note = candidate
            .get(HEADER_BYTES..HEADER_BYTES + note_bytes)
            .and_then(|note| std::str::from_utf8(note).ok());
        note.is_some_and(|note| {
            first >= size
                && TreeHead::of_note(note)
                    .is_ok_and(|head| Some(head.size) == first.checked_add(count as u64))
                && Checkpoint::verify(note, key).is_ok()
                && Frame::parse(candidate).is_ok()
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::note::SigningKey;
    use crate::tile::put_entry;

    /// A segment of groups with these entries, and the offset after each frame.
    fn segment(key: &SigningKey, groups: &[&[&[u8]]]) -> (Vec<u8>, Vec<usize>) {
        let (mut bytes, mut ends, mut frame, mut frontier) = (vec![], vec![], vec![], Frontier::default());
        for group in groups {
            let (first, mut bundle) = (frontier.size(), vec![]);
            for entry in *group {
                put_entry(&mut bundle, entry);
                frontier.push(leaf_hash(entry), |_, _, _| {});
            }
            let checkpoint = key.sign_checkpoint(frontier.size(), frontier.root());
            put_frame(&mut frame, first, group.len() as u16, &bundle, checkpoint.text());
            bytes.extend_from_slice(&frame);
            ends.push(bytes.len());
        }
        (bytes, ends)
    }

    fn run(bytes: &[u8], key: &SigningKey) -> Result<Replayed, Fault> {
        let segments = [Segment { file: segment_file(0), bytes: bytes.to_vec() }];
        replay(&segments, Some(&key.verifier()), &mut Edge::default(), |_, _| Ok(()), |_| {})
    }

    #[test]
    fn every_cut_keeps_exactly_the_whole_frames() {
        let key = SigningKey::generate("k").unwrap();
        let (bytes, ends) = segment(&key, &[&[b"a", b"b"], &[b""], &[b"long entry"]]);
        for cut in 0..=bytes.len() {
            let replayed = run(&bytes[..cut], &key).unwrap();
            let whole = ends.iter().filter(|end| **end <= cut).count();
            assert_eq!(replayed.groups, whole as u64, "cut at {cut}");
            let clean = cut == 0 || ends.contains(&cut);
            assert_eq!(replayed.tail.map(|tail| tail.short), (!clean).then_some(true), "cut at {cut}");
        }
    }

    #[test]
    fn every_flipped_byte_is_noticed_and_only_the_last_frame_can_be_a_tail() {
        let key = SigningKey::generate("k").unwrap();
        let (bytes, ends) = segment(&key, &[&[b"a", b"b"], &[b"c"], &[b"d"]]);
        for at in 0..bytes.len() {
            let mut bytes = bytes.clone();
            bytes[at] ^= 0x20;
            match run(&bytes, &key) {
                Ok(replayed) => {
                    assert!(at >= ends[1], "damage at {at} passed for a tail");
                    assert_eq!((replayed.groups, replayed.tail.unwrap().offset), (2, ends[1]));
                }
                Err(Fault::Frame { offset, .. }) => {
                    assert!(at < ends[1], "damage at {at} of the last frame");
                    assert_eq!(offset as usize, if at < ends[0] { 0 } else { ends[0] });
                }
                Err(other) => panic!("{other}"),
            }
        }
    }

    #[test]
    fn an_entry_imitating_a_frame_does_not_turn_a_torn_tail_into_corruption() {
        let (key, stranger) = (SigningKey::generate("k").unwrap(), SigningKey::generate("k").unwrap());
        let (forged, _) = segment(&stranger, &[&[b"x"], &[b"y"], &[b"z"]]);
        let (replayed_own, _) = segment(&key, &[&[b"a"]]);
        let trap = [forged, replayed_own].concat();
        let (bytes, ends) = segment(&key, &[&[b"a"], &[&trap, b"padding"]]);
        let torn = run(&bytes[..ends[1] - 1], &key).unwrap();
        assert_eq!((torn.groups, torn.tail.unwrap().offset), (1, ends[0]));
    }

    #[test]
    fn gaps_foreign_signatures_and_wrong_roots_are_faults() {
        let (key, stranger) = (SigningKey::generate("k").unwrap(), SigningKey::generate("k").unwrap());
        let (bytes, ends) = segment(&key, &[&[b"a"], &[b"b"], &[b"c"]]);
        let (other, _) = segment(&key, &[&[b"x"], &[b"y"]]);
        assert_eq!(run(&bytes, &key).unwrap().entries, 3);
        let dropped = [&bytes[..ends[0]], &bytes[ends[1]..]].concat();
        assert!(matches!(run(&dropped, &key), Err(Fault::Gap { expected: 1, found: 2, .. })));
        let swapped = [&bytes[..ends[0]], &other[ends[0]..]].concat();
        assert!(matches!(run(&swapped, &key), Err(Fault::Root { size: 2, intact: 1, .. })));
        assert!(matches!(run(&bytes, &stranger), Err(Fault::Checkpoint { .. })));
    }
}
