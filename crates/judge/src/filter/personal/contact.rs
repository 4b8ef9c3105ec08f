//! How a person is reached: mail addresses and telephone numbers.

use super::super::detect::{Detector, Found, Run};
use super::super::finding::Confidence;
use super::super::text::{ALNUM, Bytes, DIGIT, Text, WORD};
use super::Personal;
use super::number::{Number, announced, continues};

static LOCAL: Bytes = Bytes::of("A-Za-z0-9._%+'-");
static HOST: Bytes = Bytes::of("A-Za-z0-9.-");
static PHONE_CHARS: Bytes = Bytes::of("0-9 ().-");
/// Longest local part, in bytes (RFC 5321).
const LOCAL_BYTES: usize = 64;
/// Endings that are files with a size in their name, `icon@2x.png`, and never a top-level domain.
const FILES: [&[u8]; 12] =
    [b"png", b"jpg", b"jpeg", b"gif", b"svg", b"webp", b"css", b"js", b"ts", b"json", b"html", b"map"];

pub(super) static EMAIL: Detector = Detector {
    anchors: &["@", "%40"],
    matches: &[
        "mail «ann.b+c@example.org», please",
        "<«ann@sub.example.co.uk»>",
        "mailto:«ann@example.org»?subject=x",
        "?to=«ann%40example.org»&x",
        "\\n«ann@example.org»\\n",
    ],
    near_misses: &[
        "git@github.com:a/b.git",
        "npm i @scope/pkg@1.2.3",
        "icon@2x.png",
        "@decorator.name",
        "https://user@example.org/x",
        "ssh://deploy@example.org",
        "a@b",
        "user@localhost",
        "actions/checkout@v4.1.0",
    ],
    ..Detector::personal("email", Personal::EMAIL, email)
};

fn email(text: &Text<'_>, at: usize, found: &mut Found<'_>) {
    let sign = if text.at(at) == Some(b'%') { 3 } else { 1 };
    let mut start = text.run_back(at, &LOCAL, LOCAL_BYTES);
    // An escape or a percent sign before it is not part of it, nor are dots and quotes.
    if text.before(start) == Some(b'\\') && matches!(text.at(start), Some(b'n' | b't' | b'r')) {
        start += 1;
    }
    while start < at && !text.within(start, &ALNUM) {
        start += 1;
    }
    if start == at || text.before(at) == Some(b'.') {
        return;
    }
    let host = at + sign;
    let mut end = text.run(host, &HOST, 200);
    while end > host && !text.within(end - 1, &ALNUM) {
        end -= 1;
    }
    let name = text.slice(host, end);
    let Some(dot) = name.iter().rposition(|b| *b == b'.') else { return };
    let top = name[dot + 1..].to_ascii_lowercase();
    let labels = name.split(|b| *b == b'.').all(|label| !label.is_empty() && label[0] != b'-');
    if !labels
        || !(2..=24).contains(&top.len())
        || !top.iter().all(u8::is_ascii_alphabetic)
        || FILES.contains(&&top[..])
    {
        return;
    }
    let local = text.slice(start, at);
    let remote = local == b"git" && matches!(text.at(end), Some(b':' | b'/'));
    if remote || in_authority(text, start) || text.at(end) == Some(b'@') {
        return;
    }
    found.add(start, end, Confidence::Likely);
}

/// Whether what begins here is the user of a URL.
fn in_authority(text: &Text<'_>, start: usize) -> bool {
    let word = text.slice(text.run_back(start, &URL, 80), start);
    let authority = memchr::memmem::rfind(word, b"://").map(|at| &word[at + 3..]);
    authority.is_some_and(|rest| !rest.iter().any(|b| matches!(b, b'/' | b'?' | b'#' | b'@' | b'\\')))
}

static URL: Bytes = Bytes::of("!#-;=?-Z\\^-z|~");

pub(super) static PHONE: Detector = Detector {
    digits: Some(Run {
        digits: (1, 15),
        asks: |run| {
            run.before == b'+'
                || (run.begins() && ((run.digits > 6 && run.ends()) || run.goes_on() || run.after == b')'))
        },
    }),
    matches: &[
        "call «+1 415 555 2671» now",
        "«+442071838750»",
        "«+49 (0)30 901820-12»",
        "«(415) 555-2671»",
        "«415-555-2671»",
        "«415.555.2671 x123»",
        "«1-415-555-2671»",
        "phone: «4155552671»",
        "tel «030 901820»",
        "\"customer_phone\": \"«415 555 2671»\"",
        "«001-415-555-2671x0123»",
    ],
    near_misses: &[
        "2024-01-02",
        "10.0.0.1",
        "115-055-2671",
        "1234567890",
        "v1.2.3",
        "-1 +12",
        "+1.5e10",
        "100-200-300",
        "@@ -415,555 +2671,12 @@",
        "telemetry 1234567",
        "12:34:56.789012",
    ],
    ..Detector::personal("phone", Personal::PHONE, phone)
};

fn phone(text: &Text<'_>, at: usize, found: &mut Found<'_>) {
    let before = text.before(at);
    if before == Some(b'+') {
        international(text, at, found);
        return;
    }
    let open = before == Some(b'(');
    let start = if open { at - 1 } else { at };
    if !text.begins(start) || is_tail(text, start) {
        return;
    }
    if let Some(end) = north_american(text, at, open) {
        let certain = text.at(start).is_some();
        let spaced = text.slice(start, end).contains(&b' ') && !open;
        let dashed = text.slice(start, end).iter().any(|b| matches!(b, b'-' | b'.'));
        if certain && (!spaced || dashed || named(text, start)) {
            found.add(start, end, Confidence::Likely);
            return;
        }
    }
    let mut end = text.run(at, &PHONE_CHARS, 24);
    // Where a bracket opens right behind a digit, another number begins.
    if let Some(next) =
        text.slice(at, end).windows(2).position(|pair| pair[0].is_ascii_digit() && pair[1] == b'(')
    {
        end = at + next + 1;
    }
    let end = trimmed(text, at, end);
    let digits = text.slice(at, end).iter().filter(|b| b.is_ascii_digit()).count();
    if (7..=13).contains(&digits)
        && !text.within(end, &WORD)
        && !dated(text.slice(at, end))
        && !continues(text, start, b".-/ ")
        && named(text, start)
    {
        found.add(start, end, Confidence::Possible);
    }
}

fn named(text: &Text<'_>, at: usize) -> bool {
    announced(
        text,
        at,
        &[
            "phone", "tel:", "tel ", "tel.", "telefon", "mobile", "mobil", "cell", "fax", "call me",
            "whatsapp", "sms",
        ],
    )
}

/// `+`, a country, and 7 to 14 digits more.
fn international(text: &Text<'_>, at: usize, found: &mut Found<'_>) {
    let start = at - 1;
    if text.before(start).is_some_and(|b| WORD.has(b)) && !text.begins(start) || text.at(at) == Some(b'0') {
        return;
    }
    let end = trimmed(text, at, text.run(at, &PHONE_CHARS, 26));
    let written = text.slice(at, end);
    let digits = written.iter().filter(|b| b.is_ascii_digit()).count();
    let signs = written.len() - digits;
    // A line that was added to a diff begins with a plus as well.
    let added = matches!(text.before(start), None | Some(b'\n')) && signs == 0 && digits < 10;
    let doubled = written.windows(2).any(|pair| pair == b"  " || pair == b".." || pair == b"--");
    if (8..=15).contains(&digits) && signs < digits && !added && !doubled && !text.within(end, &WORD) {
        found.add(start, extended(text, end), Confidence::Likely);
    }
}

/// Area and exchange never begin with 0 or 1.
fn north_american(text: &Text<'_>, at: usize, open: bool) -> Option<usize> {
    let mut at = at;
    for prefix in ["001", "1"] {
        let end = at + prefix.len();
        if !open && text.is(at, prefix) && matches!(text.at(end), Some(b'-' | b'.' | b' ')) {
            at = end + 1;
            if text.at(at) == Some(b'(') {
                at += 1;
            }
            break;
        }
    }
    let group = |at: usize, chars: usize| {
        let end = text.run(at, &DIGIT, chars + 1);
        (end - at == chars && (chars == 4 || matches!(text.at(at), Some(b'2'..=b'9')))).then_some(end)
    };
    let area = group(at, 3)?;
    let closed = text.at(area) == Some(b')');
    if open && !closed {
        return None;
    }
    let sign = if closed { area + 1 } else { area };
    let second = match text.at(sign)? {
        b'-' | b'.' | b' ' => sign + 1,
        _ if closed => sign,
        _ => return None,
    };
    let exchange = group(second, 3)?;
    if !closed && text.at(exchange) != text.at(sign) {
        return None;
    }
    let last =
        matches!(text.at(exchange), Some(b'-' | b'.' | b' ')).then(|| group(exchange + 1, 4)).flatten()?;
    let end = extended(text, last);
    let goes_on = text.within(end, &WORD)
        || (matches!(text.at(end), Some(b'-' | b'.')) && text.within(end + 1, &DIGIT));
    (!goes_on).then_some(end)
}

/// An extension belongs to the number: `x123`, ` ext. 12`.
fn extended(text: &Text<'_>, end: usize) -> usize {
    for word in ["x", " x", " ext. ", " ext "] {
        if text.is_folded(end, word) {
            let digits = text.run(end + word.len(), &DIGIT, 6);
            if digits > end + word.len() && !text.within(digits, &WORD) {
                return digits;
            }
        }
    }
    end
}

fn trimmed(text: &Text<'_>, start: usize, end: usize) -> usize {
    end - text.slice(start, end).iter().rev().take_while(|b| !b.is_ascii_digit()).count()
}

/// Whether a number goes on here that began earlier.
fn is_tail(text: &Text<'_>, start: usize) -> bool {
    let sign = text.before(start).is_some_and(|b| matches!(b, b'-' | b'.' | b'/' | b':' | b','));
    sign && start >= 2 && text.within(start - 2, &WORD)
}

fn dated(written: &[u8]) -> bool {
    let text = Text::around(written, 0, true);
    Number::at(&text, 0).is_some_and(|n| n.groups.len() == 3 && n.groups[0] == 4 && n.groups[1] == 2)
}
