//! Passwords on command lines, and hashes of passwords, which can be guessed at leisure by who has them.

use super::super::detect::{Detector, Found};
use super::super::finding::Confidence;
use super::super::plausible;
use super::super::text::{Bytes, Text};

static WORD: Bytes = Bytes::of("!-&(-~");
static HASH: Bytes = Bytes::of("A-Za-z0-9./$=,+_-");
static USER: Bytes = Bytes::of("A-Za-z0-9._@+-");

pub(in super::super) static COMMAND: Detector = Detector {
    matches: &[
        "curl -s -u ann:«tr0ub4dor» https://example.org",
        "curl --user 'ann:«tr0ub4dor»' x",
        "sshpass -p «tr0ub4dor» ssh host",
        "sshpass -p '«tr0ub 4dor»' ssh host",
    ],
    near_misses: &[
        "curl -u $USER:$PASS x",
        "curl -u user:password x",
        "curl -s https://example.org -o u:v",
        "sshpass -p $PASS ssh",
        "docker run -u 1000:1000 x",
    ],
    ..Detector::secret("command-password", &["curl ", "sshpass "], command)
};

fn command(text: &Text<'_>, at: usize, found: &mut Found<'_>) {
    if !text.begins(at) {
        return;
    }
    let line = line_end(text, at, 300);
    if text.is_folded(at, "sshpass ") {
        let Some(flag) = text.seek(at, "-p", 20).filter(|flag| *flag < line) else { return };
        let start = if text.at(flag + 2) == Some(b' ') { flag + 3 } else { flag + 2 };
        argument(text, start, found);
        return;
    }
    for flag in [" -u ", " --user "] {
        let Some(flag_at) = text.seek(at, flag, line - at) else { continue };
        let quoted = flag_at + flag.len();
        let open = usize::from(matches!(text.at(quoted), Some(b'\'' | b'"')));
        let user = text.run(quoted + open, &USER, 80);
        if text.at(user) == Some(b':') {
            let end = text.run(user + 1, &WORD, 200);
            let end = end - usize::from(open == 1 && text.slice(user + 1, end).last() == Some(&b'"'));
            add(text, user + 1, end, found);
        }
    }
}

fn argument(text: &Text<'_>, at: usize, found: &mut Found<'_>) {
    match text.at(at) {
        Some(quote @ (b'\'' | b'"')) => {
            let mark = if quote == b'"' { "\"" } else { "'" };
            if let Some(end) = text.seek(at + 1, mark, 200) {
                add(text, at + 1, end, found);
            }
        }
        _ => add(text, at, text.run(at, &WORD, 200), found),
    }
}

fn add(text: &Text<'_>, start: usize, end: usize, found: &mut Found<'_>) {
    let value = text.slice(start, end);
    if value.len() >= 4
        && !plausible::computed(value)
        && !plausible::everyday(value)
        && !plausible::placeholder(value)
        && plausible::distinct(value) > 3
    {
        found.add(start, end, Confidence::Likely);
    }
}

fn line_end(text: &Text<'_>, at: usize, chars_max: usize) -> usize {
    text.seek(at, "\n", chars_max).unwrap_or(at + chars_max)
}

pub(in super::super) static HASHED: Detector = Detector {
    matches: &[
        "root:«$6$rounds=5000$aB3dE5fG$hI9jK1lM2nO4pQ6rS8tU0vWxYzQaB3dE5fG7hI9jK1lM2nO4pQ6rS8tU0vWxYzQaB3dE5fG7hI9jK1lM2nO»:19000:0:",
        "«$2b$12$aB3dE5fG7hI9jK1lM2nO4pQ6rS8tU0vWxYzQaB3dE5fG7hI9jK1lM2»",
        "«$argon2id$v=19$m=65536,t=3,p=4$aB3dE5fG7hI9jK$1lM2nO4pQ6rS8tU0vWxYzQaB3dE5fG7hI9j»",
    ],
    near_misses: &["costs $6$ each", "$2b$", "$argon2id$v=19$..."],
    ..Detector::secret(
        "password-hash",
        &["$2a$", "$2b$", "$2y$", "$5$", "$6$", "$y$", "$apr1$", "$argon2"],
        hashed,
    )
};

fn hashed(text: &Text<'_>, at: usize, found: &mut Found<'_>) {
    let end = text.run(at, &HASH, 200);
    let hash = text.slice(at, end);
    let parts = hash.split(|b| *b == b'$').skip(1).count();
    let last = hash.rsplit(|b| *b == b'$').next().unwrap_or_default();
    if parts >= 3 && last.len() >= 22 && plausible::body(last) {
        found.add(at, end, Confidence::Likely);
    }
}
