//! JSON web tokens: three or five parts, the first of which says an algorithm.

use super::super::detect::{Detector, Found};
use super::super::finding::Confidence;
use super::super::text::{Text, WORDS};
use super::checksum::base64;

/// Longest part, in bytes.
const PART_BYTES: usize = 6 * 1024;
/// How much of the header is read, in bytes.
const HEADER_BYTES: usize = 1024;

pub(in super::super) static TOKEN: Detector = Detector {
    matches: &[
        "jwt «ey¦JhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U»",
        "/«ey¦JhbGciOiJub25lIn0.eyJzdWIiOiIxMjM0NTY3ODkwIn0».",
    ],
    near_misses: &[
        "ey¦JhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9",
        "ey¦JhbGciOi.eyJzdWI.x",
        "ey¦JmaWxlIjoiYS5qcyIsIm1hcHBpbmdzIjoiQUFBQSJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.abcd",
    ],
    ..Detector::secret("jwt", &["eyJ", "ewog"], find)
};

fn find(text: &Text<'_>, at: usize, found: &mut Found<'_>) {
    if !text.begins(at) || text.before(at) == Some(b'-') {
        return;
    }
    let header = text.run(at, &WORDS, PART_BYTES);
    if text.at(header) != Some(b'.') || header - at < 16 {
        return;
    }
    let said = base64(text.slice(at, header), HEADER_BYTES);
    let names = |name: &[u8]| memchr::memmem::find(&said, name).is_some();
    if said.first() != Some(&b'{') || !names(b"\"alg\"") {
        return;
    }
    let mut end = header;
    for _ in 0..4 {
        if text.at(end) != Some(b'.') {
            break;
        }
        let next = text.run(end + 1, &WORDS, PART_BYTES);
        if next == end + 1 && !(end > header && text.at(next) == Some(b'.')) {
            break;
        }
        end = next;
    }
    if end - header > 8 {
        found.add(at, end, Confidence::Certain);
    }
}
