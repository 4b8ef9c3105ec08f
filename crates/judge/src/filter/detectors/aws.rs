//! AWS access keys: the identifier and, wherever it stands near, the secret that belongs to it. The one is no use without the other,
//! so both are hidden.

use super::super::detect::{Detector, Found};
use super::super::finding::Confidence;
use super::super::plausible::{self, Mix};
use super::super::text::{BASE32, BASE64PAD, Text, UPPER};

/// How far from an identifier its secret is looked for, in bytes.
const NEAR_BYTES: usize = 240;
/// The same backwards: a hit may not begin much before its anchor.
const NEAR_BACK_BYTES: usize = 120;
const SECRET_CHARS: usize = 40;

pub(in super::super) static PAIR: Detector = Detector {
    matches: &[
        "id: «AK¦IAZ7QX2LKMN3PTR5VW»",
        "«AS¦IAZ7QX2LKMN3PTR5VW»,«kX9/fQ2m+Lw8Zr4tYb6NcVd1Hs3Jg5Pk7UaBxEyR»,eu-west-1",
        "secret «kX9/fQ2m+Lw8Zr4tYb6NcVd1Hs3Jg5Pk7UaBxEyR» of «AK¦IAZ7QX2LKMN3PTR5VW»",
    ],
    near_misses: &[
        "AK¦IAIOSFODNN7EXAMPLE",
        "AK¦IAIOSFODNN7EXAMPLE wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
        "AK¦IAXXXXXXXXXXXXXXXX",
        "MAK¦IAZ7QX2LKMN3PTR5VW",
        "AK¦IAZ7QX2LKMN3PTR5VWABC",
        "commit 0f3c9a71b2d84e560f3c9a71b2d84e560f3c9a71",
    ],
    ..Detector::secret("aws-key", &["AKIA", "ASIA", "ABIA", "ACCA"], find)
};

fn find(text: &Text<'_>, at: usize, found: &mut Found<'_>) {
    if !text.begins(at) || !["AKIA", "ASIA", "ABIA", "ACCA"].iter().any(|prefix| text.is(at, prefix)) {
        return;
    }
    let end = text.run(at + 4, &UPPER, 17);
    let body = text.slice(at + 4, end);
    if body.len() != 16 || !body.iter().all(|b| BASE32.has(*b)) || !plausible::body(body) {
        return;
    }
    found.add(at, end, Confidence::Likely);
    secrets(text, end, end + NEAR_BYTES, found);
    secrets(text, at.saturating_sub(NEAR_BACK_BYTES), at, found);
}

/// Every text of the form of a secret key between two places.
fn secrets(text: &Text<'_>, from: usize, to: usize, found: &mut Found<'_>) {
    let mut at = from;
    while at < to {
        if text.at(at).is_none() {
            return;
        }
        let end = text.run(at, &BASE64PAD, to - at + SECRET_CHARS + 1);
        // `key=VALUE`: an equals sign is part of no secret of this length.
        let from = text.slice(at, end).iter().rposition(|b| *b == b'=').map_or(at, |sign| at + sign + 1);
        let body = text.slice(from, end);
        if body.len() == SECRET_CHARS && from < to && is_secret(body) {
            found.add(from, end, Confidence::Likely);
        }
        at = end.max(at) + 1;
    }
}

fn is_secret(body: &[u8]) -> bool {
    let mix = Mix::of(body);
    mix.lower > 3 && mix.upper > 3 && mix.digit > 0 && plausible::entropy(body) > 4.0 && plausible::body(body)
}
