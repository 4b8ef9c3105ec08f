//! Internet addresses that lead to somebody: public ones. Private, local and documented ones say nothing and stay.

use super::super::detect::{Detector, Found, Run};
use super::super::finding::Confidence;
use super::super::text::{Bytes, DIGIT, HEXES, Text, WORD};
use super::Personal;
use std::net::{Ipv4Addr, Ipv6Addr};

static SIX: Bytes = Bytes::of("0-9a-fA-F:.");

pub(super) static FOUR: Detector = Detector {
    digits: Some(Run {
        digits: (1, 3),
        asks: |run| run.begins() && run.after == b'.' && run.beyond.is_ascii_digit(),
    }),
    matches: &[
        "from «93.184.216.34» port 22",
        "[«93.184.216.34»]:80",
        "http://«93.184.216.34»/x",
        "«93.184.216.34».",
    ],
    near_misses: &[
        "10.1.2.3 192.168.0.1 127.0.0.1 172.16.0.1 169.254.1.1 0.0.0.0 255.255.255.255",
        "203.0.113.9",
        "Chrome/93.184.216.34",
        "v93.184.216.34",
        "93.184.216.34.5",
        "93.184.216.340",
        "93.184.216",
        "version 93.184.216.34",
        "8.8.8.8",
        "093.184.216.34",
    ],
    ..Detector::personal("ip", Personal::ADDRESS, four)
};

fn four(text: &Text<'_>, at: usize, found: &mut Found<'_>) {
    if !text.begins(at) {
        return;
    }
    let farther = at.checked_sub(2).and_then(|at| text.at(at));
    let within = matches!(text.before(at), Some(b'.' | b'-'))
        || (text.before(at) == Some(b'/') && farther != Some(b'/'));
    if within || versioned(text, at) {
        return;
    }
    let (mut place, mut octets) = (at, [0u8; 4]);
    for (number, octet) in octets.iter_mut().enumerate() {
        let end = text.run(place, &DIGIT, 4);
        let written = std::str::from_utf8(text.slice(place, end)).unwrap_or_default();
        let Ok(value) = written.parse() else { return };
        if written.len() > 1 && written.starts_with('0') {
            return;
        }
        *octet = value;
        place = end;
        if number < 3 {
            if text.at(place) != Some(b'.') {
                return;
            }
            place += 1;
        }
    }
    let goes_on = text.within(place, &WORD)
        || (matches!(text.at(place), Some(b'.' | b'-'))
            && text.within(place + 1, &WORD)
            && text.at(place) == Some(b'.'));
    let address = Ipv4Addr::from(octets);
    let resolvers = [[8, 8, 8, 8], [8, 8, 4, 4], [1, 1, 1, 1], [1, 0, 0, 1], [9, 9, 9, 9]];
    let nobody = address.is_private()
        || address.is_loopback()
        || address.is_link_local()
        || address.is_multicast()
        || address.is_broadcast()
        || address.is_documentation()
        || octets[0] == 0
        || octets[0] >= 240
        || (octets[0] == 100 && (64..128).contains(&octets[1]))
        || octets[2..] == [0, 0]
        // The beginnings of object identifiers.
        || matches!(octets, [1, 0..=4, ..] | [2, 5 | 16, ..])
        || resolvers.contains(&octets);
    // Small numbers four in a row are a version.
    let version = octets.iter().all(|octet| *octet < 20);
    if !goes_on && !nobody && !version {
        found.add(at, place, Confidence::Likely);
    }
}

/// Whether what stands right before says that a version follows; a handle may stand for such a word.
fn versioned(text: &Text<'_>, at: usize) -> bool {
    let before = text.slice(at.saturating_sub(12), at).to_ascii_lowercase();
    let word = before.trim_ascii_end();
    let word = word.strip_suffix(b":").or(word.strip_suffix(b"=")).unwrap_or(word).trim_ascii_end();
    let words: [&[u8]; 3] = [b"version", b"release", b"ver."];
    words.iter().any(|known| word.ends_with(known)) || memchr::memmem::find(&before, b"-wb").is_some()
}

pub(super) static IP6: Detector = Detector {
    digits: Some(Run {
        digits: (1, 4),
        asks: |run| run.begins() && (run.after == b':' || run.after.is_ascii_hexdigit()),
    }),
    matches: &["from «2a00:1450:4001:81b::200e» port", "[«2606:2800:220:1:248:1893:25c8:1946»]:443"],
    near_misses: &[
        "2001:db8::1",
        "fe80::1",
        "::1",
        "20:15:30",
        "2a00:1450",
        "3f:2a:9c:00:11:22",
        "std::2001::x",
    ],
    ..Detector::personal("ip", Personal::ADDRESS, six)
};

fn six(text: &Text<'_>, at: usize, found: &mut Found<'_>) {
    let group = text.run(at, &HEXES, 5);
    if !matches!(text.at(at), Some(b'2' | b'3')) || group - at != 4 || text.at(group) != Some(b':') {
        return;
    }
    if !text.begins(at) || text.before(at) == Some(b':') {
        return;
    }
    let end = text.run(at, &SIX, 46);
    let end = end - text.slice(at, end).iter().rev().take_while(|b| matches!(b, b'.' | b':')).count();
    let written = std::str::from_utf8(text.slice(at, end)).unwrap_or_default();
    let Ok(address) = written.parse::<Ipv6Addr>() else { return };
    let segments = address.segments();
    let public = (0x2000..0x4000).contains(&segments[0]) && (segments[0], segments[1]) != (0x2001, 0xdb8);
    if public && !text.within(end, &WORD) {
        found.add(at, end, Confidence::Likely);
    }
}
