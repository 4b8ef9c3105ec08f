//! An append-only transparency log of opaque bytes: what was acknowledged stays, in order, provable with the public
//! key alone. It never interprets an entry, never asks the time, and never acknowledges what is not on disk.
//!
//! On disk a journal is a [C2SP tlog-tiles](https://c2sp.org/tlog-tiles) log (`checkpoint`, `tile/…`) plus a
//! write-ahead log (`wal/…`) of groups not yet published as tiles. Each group carries one
//! [signed checkpoint](https://c2sp.org/tlog-checkpoint), so every durable prefix is signed.
//!
//! ```
//! # let scratch = tempfile::tempdir()?;
//! # let dir = scratch.path().join("journal");
//! let key = journal::SigningKey::generate("example.org/log")?;
//! let public = key.verifier();
//! let (log, _recovery) = journal::Journal::open(&dir, key, "example.org/log")?;
//! let leaf = log.append(b"permit 7".to_vec())?.wait()?; // on disk from here on
//! log.close()?;
//!
//! let report = journal::verify(&dir, &public, &[])?;
//! assert_eq!((leaf.index, report.size), (0, 1));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod note;
mod reader;
mod tile;
mod tree;
mod verify;
mod wal;
mod writer;

pub use note::{Checkpoint, KeyError, NoteError, SigningKey, VerifierKey};
pub use reader::{Entries, Reader};
pub use tile::ENTRY_BYTES_MAX;
pub use tree::{Hash, ProofError, leaf_hash, verify_consistency, verify_inclusion};
pub use verify::{Change, Fault, Report, verify};
pub use writer::{
    AppendError, GROUP_ENTRIES_MAX, Journal, Leaf, OpenError, QUEUE_BYTES_MAX, QUEUE_ENTRIES_MAX, Recovery,
    SEGMENT_BYTES_MAX, SEGMENTS_PENDING_MAX, Ticket, TornTail,
};
