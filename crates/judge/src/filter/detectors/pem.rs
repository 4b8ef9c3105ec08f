//! Private keys in armour: what is between the lines that begin and end them, so that the lines still tell what was there.

use super::super::detect::{Detector, Found};
use super::super::finding::Confidence;
use super::super::text::{BASE64PAD, BLANK, Bytes, DIGIT, Text};
use super::checksum::base64;

/// Longest block, in bytes.
const BLOCK_BYTES: usize = 18 * 1024;
/// Fewest characters that are a key, and not a drawing of one.
const KEY_CHARS: usize = 40;
/// A line of a key has at least so many; its last may have fewer, and so have the words of headers.
const LINE_CHARS: usize = 16;
const SHORT_WORDS: usize = 12;
/// What lines of a block and what writes them down are made of.
static INSIDE: Bytes = Bytes::of("A-Za-z0-9+/=\\ \t\r\n\"',:>;().-");
static LABEL: Bytes = Bytes::of("A-Z0-9 ");
static PAD: Bytes = Bytes::of("=");

pub(in super::super) static BLOCK: Detector = Detector {
    matches: &[
        "-----BEGIN RSA PRIV¦ATE KEY-----\n«MIIEpAIBAAKCAQEA7xJq0Zr4tYb6NcVd1Hs3Jg5Pk7UaBxEyRkX9fQ2mLw8Z\nr4tYb6NcVd1Hs3Jg5Pk7UaBxEyR=»\n-----END RSA PRIV¦ATE KEY-----\n",
        "\"-----BEGIN PRIV¦ATE KEY-----\\n«MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQC7»\\n-----END PRIV¦ATE KEY-----\\n\"",
        "-----BEGIN EC PRIV¦ATE KEY-----\n«+q8RHdlfG/fAoACftN884IlfEpd6HquJ2uy80AtjCQYHZv4/PYeF+woGiAg+PUH4»\n-----END EC PRIV¦ATE KEY-----",
        "-----BEGIN OPENSSH PRIV¦ATE KEY-----\n«b3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAEbm9uZQAAAAAAAAABAAAAMwAAAAtzc2gtZW»",
    ],
    near_misses: &[
        "-----BEGIN PRIV¦ATE KEY-----\n...\n-----END PRIV¦ATE KEY-----",
        "-----BEGIN PUBLIC KEY-----\nMIIEpAIBAAKCAQEA7xJq0Zr4tYb6NcVd1Hs3Jg5Pk7UaBxEyRkX9fQ2mLw8Z\n-----END PUBLIC KEY-----",
        "a block opens with -----BEGIN PRIV¦ATE KEY----- and is base64",
        "it begins with -----BEGIN PRIV¦ATE KEY----- followed by a lot of base64, whose internationalization nobody has ever seen, and then it ends with -----END PRIV¦ATE KEY----- as usual.",
    ],
    ..Detector::secret("private-key", &["-----BEGIN "], block)
};

fn block(text: &Text<'_>, at: usize, found: &mut Found<'_>) {
    let label = at + "-----BEGIN ".len();
    let label_end = text.run(label, &LABEL, 64);
    let names = text.slice(label, label_end);
    if memchr::memmem::find(names, b"PRIVATE KEY").is_none() || !text.is(label_end, "-----") {
        return;
    }
    let from = label_end + 5;
    let dashes = text.seek(from, "-----", BLOCK_BYTES);
    let run = text.run(from, &INSIDE, dashes.map_or(BLOCK_BYTES, |dashes| dashes - from));
    let start = skip(text, from, run);
    let end = if dashes == Some(run) { skip_back(text, start, run) } else { cut_off(text, start, run) };
    let words = || text.slice(start, end).split(|b| !BASE64PAD.has(*b)).map(<[u8]>::len);
    let (long, short) = (
        words().filter(|n| *n >= LINE_CHARS).count(),
        words().filter(|n| (2..LINE_CHARS).contains(n)).count(),
    );
    if words().sum::<usize>() >= KEY_CHARS && long > 0 && short <= SHORT_WORDS + long {
        found.add(start, end, Confidence::Certain);
    }
}

/// Where a block without an end stops being one: with its last long line.
fn cut_off(text: &Text<'_>, start: usize, end: usize) -> usize {
    let (mut last, mut at) = (start, start);
    for word in text.slice(start, end).split(|b| !BASE64PAD.has(*b)) {
        if word.len() >= LINE_CHARS {
            last = at + word.len();
        } else if word.len() > 2 && last > start {
            break;
        }
        at += word.len() + 1;
    }
    last
}

/// The first byte of the key: behind line ends, however they are written, and quotes.
fn skip(text: &Text<'_>, mut at: usize, end: usize) -> usize {
    while at < end {
        match text.at(at) {
            Some(b'\\') if matches!(text.at(at + 1), Some(b'n' | b'r' | b'\\')) => at += 2,
            Some(b'+' | b'/') if text.within(at + 1, &BASE64PAD) => break,
            Some(byte) if !byte.is_ascii_alphanumeric() => at += 1,
            _ => break,
        }
    }
    at
}

fn skip_back(text: &Text<'_>, start: usize, mut end: usize) -> usize {
    while end > start {
        let last = text.slice(end - 1, end).first().copied().unwrap_or_default();
        let escape = matches!(last, b'n' | b'r') && text.slice(start, end - 1).last() == Some(&b'\\');
        if escape {
            end -= 2;
        } else if !last.is_ascii_alphanumeric() && !matches!(last, b'=' | b'+' | b'/') {
            end -= 1;
        } else {
            break;
        }
    }
    end
}

pub(in super::super) static ENCODED: Detector = Detector {
    matches: &[
        "client-key-data: «LS0tLS1CRU¦dJTiBSU0EgUFJJVkFURSBLRVktLS0tLQpNSUlFcEFJQkFBS0NBUUVBN3hKcTBacjR0WWI2TmNWZDFIczNKZzVQazdVYUJ4RXlS»",
    ],
    near_misses: &[
        "certificate-authority-data: LS0tLS1CRU¦dJTiBDRVJUSUZJQ0FURS0tLS0tCk1JSUVwQUlCQUFLQ0FRRUE3eEpxMFpyNHRZYjZOY1ZkMUhzM0pnNVBrN1VhQnhFeVI=",
    ],
    ..Detector::secret("private-key", &["LS0tLS1CRUdJTi"], encoded)
};

fn encoded(text: &Text<'_>, at: usize, found: &mut Found<'_>) {
    let end = text.run(at, &BASE64PAD, BLOCK_BYTES);
    let label = base64(text.slice(at, at + 64), 48);
    if end - at > 80 && memchr::memmem::find(&label, b"PRIVATE KEY").is_some() {
        found.add(at, end, Confidence::Certain);
    }
}

pub(in super::super) static PUTTY: Detector = Detector {
    matches: &[
        "Private-Lines: 2\n«AAAAgQDkX9fQ2mLw8Zr4tYb6NcVd1Hs3Jg5Pk7UaBxEyRkX9fQ2mLw8Zr4tYb6\nNcVd1Hs3Jg5Pk7UaBxEyRkX9fQ2m»\nPrivate-MAC: 1",
    ],
    near_misses: &["Private-Lines: 14\n", "Private-Lines: many\nAAAAgQDkX9fQ2mLw8Zr4tYb6NcVd1Hs3Jg5P"],
    ..Detector::secret("private-key", &["Private-Lines:"], putty)
};

fn putty(text: &Text<'_>, at: usize, found: &mut Found<'_>) {
    let number = text.run(at + "Private-Lines:".len(), &BLANK, 4);
    let mut line = text.run(number, &DIGIT, 4);
    if line == number {
        return;
    }
    let (mut first, mut last) = (None, 0);
    for _ in 0..200 {
        while matches!(text.at(line), Some(b'\r' | b'\n')) {
            line += 1;
        }
        let end = text.run(text.run(line, &BASE64PAD, 80), &PAD, 2);
        if end - line < 4 || !matches!(text.at(end), None | Some(b'\r' | b'\n')) {
            break;
        }
        first.get_or_insert(line);
        (last, line) = (end, end);
    }
    if let Some(first) = first {
        found.add(first, last, Confidence::Certain);
    }
}

pub(in super::super) static AGE: Detector = Detector {
    matches: &["«AGE-SEC¦RET-KEY-1GFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGF»"],
    near_misses: &["AGE-SEC¦RET-KEY-1", "AGE-SEC¦RET-KEY-1YOURKEY"],
    ..Detector::secret("age-key", &["AGE-SECRET-KEY-1"], age)
};

static BECH32: Bytes = Bytes::of("QPZRY9X8GF2TVDW0S3JN54KHCE6MUA7L");

fn age(text: &Text<'_>, at: usize, found: &mut Found<'_>) {
    let body = at + "AGE-SECRET-KEY-1".len();
    let end = text.run(body, &BECH32, 80);
    if text.is(at, "AGE-") && end - body >= 50 {
        let sure = super::checksum::bech32(text.slice(at, end));
        found.add(at, end, if sure { Confidence::Certain } else { Confidence::Likely });
    }
}
