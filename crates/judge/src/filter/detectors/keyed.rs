//! Values that a name before them calls secret: `.env`, JSON, YAML, XML, code, logs. The name is read word by word, the value must
//! look like one, and both are doubted: what is a placeholder, a path, a type or a piece of code is let through.

use super::super::detect::{Detector, Found};
use super::super::finding::Confidence;
use super::super::plausible::{self, Mix};
use super::super::text::{BASE64PAD, BLANK, Bytes, Text};
use super::checksum::base64;
use super::naming::{Strength, classify};

/// Longest name, in bytes, either side of the word that matters.
const NAME_BYTES: usize = 64;
/// Longest value, in bytes.
const VALUE_BYTES: usize = 4096;
/// Longest value without quotes, in bytes.
const BARE_BYTES: usize = 1024;
static NAME: Bytes = Bytes::of("A-Za-z0-9_.-");
static TYPE: Bytes = Bytes::of("A-Za-z0-9_.<>[&|'?");
static BARE: Bytes = Bytes::of("!#-%*+./0-:=?-Z^-z|~@$-");
static LINE: Bytes = Bytes::of("!-~");

pub(in super::super) static KEYED: Detector = Detector {
    matches: &[
        "DB_PASSWORD=«hunter2»\nX=1",
        "export API_TOKEN=«8f3kd02lqp»",
        "password: «Tr0ub4dor&3»\n",
        "  client_secret: \"«aB3dE5fG7hI9jK1l»\"",
        "{\"api_key\": \"«8f3kd02lqpZr4tYb6N»\"}",
        "{\\\"apiKey\\\":\\\"«8f3kd02lqpZr4tYb6N»\\\"}",
        "const authToken = '«8f3kd02lqpZr4tYb6N»';",
        "password: str = \"«Tr0ub4dor&3»\"",
        "config['secret_key'] = '«d!x0$k2m#9q@z7»'",
        "<password>«Tr0ub4dor3»</password>",
        "<add key=\"Password\" value=\"«Tr0ub4dor3»\"/>",
        "Server=db;User Id=sa;Password=«Tr0ub4dor!3»;Encrypt=true",
        "?user=ann&password=«Tr0ub4dor3»&x=1",
        "mysql --password=«Tr0ub4dor3» -u root",
        "tool --token «8f3kd02lqpZr4tYb6N»",
        "CREATE USER ann PASSWORD '«Tr0ub4dor3»'",
        "setProperty(\"password\", \"«Tr0ub4dor3»\")",
        "aws_secret_access_key = «kX9/fQ2m+Lw8Zr4tYb6NcVd1Hs3Jg5Pk7UaBxEyR»",
        "SECRET_KEY = «0f3c9a71b2d84e560f3c9a71b2d84e56»",
        "log: login failed, password=«Tr0ub4dor3» user=ann",
        "\"auth\": \"«YW5uOnRyMHViNGRvcg==»\"",
        "ENCRYPTION_KEY=«kX9/fQ2m+Lw8Zr4tYb6NcVd1Hs3Jg5Pk7UaBxEyR1a2=»",
        "machine x login ann password «tr0ub4dor»",
        "PGPASSWORD=«tr0ub4dor» psql",
    ],
    near_misses: &[
        "api_key = \"your-api-key-here\"",
        "password = \"changeme\"",
        "password: ${DB_PASSWORD}",
        "password = os.environ[\"DB_PASSWORD\"]",
        "token: <token>",
        "token = getToken()",
        "password: string;",
        "password: String,",
        "\"password\": \"required\"",
        "secret: xxxxxxxxxxxxxxxx",
        "max_tokens: 4096",
        "nextPageToken: \"CAUQAA8f3kd02lqp\"",
        "primary_key = \"user_id_2024\"",
        "public_key: \"8f3kd02lqpZr4tYb6N\"",
        "password_file: /run/secrets/db_password",
        "token_type: bearer",
        "password = self.config.password",
        "if password == other.password1:",
        "\"keyboard\": \"dvorak-2024\"",
        "cache_key: v1-linux-abc123def456abc123def456",
        "key: 0f3c9a71b2d84e560f3c9a71b2d84e560f3c9a71",
        "\"forgot_password\": \"Forgot your password? 123\"",
        "passed: 120, failed: 3",
        "secret_name: prod/db/main-2024",
        "password=****** user=x",
        "password=[REDACTED]",
        "private_key_path=/home/ann/.ssh/id_rsa",
        "tokenizer: gpt2-medium-1234",
        "API_KEY=%API_KEY%",
        "token: \"{{ .Values.token1 }}\"",
        "password: null",
        "credentials: include",
        "secretKeyRef:",
        "secret=test123",
        "sha256 key: e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "apiKey: process.env.API_KEY1",
        "password_hash = hash(password1)",
        "sort_key=created_at_2024_01_01_desc",
    ],
    ..Detector::secret("secret", &["pass", "pwd", "secret", "token", "key", "credential", "auth"], find)
};

/// How a value is written, which says how much doubt it needs.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Style {
    Quoted,
    /// A line of its own, as in `.env` and YAML.
    Line,
    Bare,
}

fn find(text: &Text<'_>, at: usize, found: &mut Found<'_>) {
    let end = text.run(at, &NAME, NAME_BYTES);
    let Some((value, mut style)) = value_after(text, end) else { return };
    let start = name_start(text, at);
    let name = text.slice(start, end);
    if memchr::memmem::find(name, b"-WB").is_some() {
        // A handle tells a kind, and is no name.
        return;
    }
    let Some(strength) = classify(name, at - start) else { return };
    let (from, to) = match quoted(text, value) {
        Some(quoted) => quoted,
        None if style == Style::Quoted => return,
        None => {
            if begins_line(text, start) {
                style = Style::Line;
            }
            let alphabet = if style == Style::Line { &LINE } else { &BARE };
            (value, text.run(value, alphabet, BARE_BYTES))
        }
    };
    if to != value && from > value {
        style = Style::Quoted;
    }
    let to = if style == Style::Quoted { to } else { trimmed(text, from, to, style) };
    let line_end = text.slice(from, to).ends_with(b"\\n");
    let to = if line_end { to - 2 } else { to };
    if to - from >= if style == Style::Quoted { VALUE_BYTES } else { BARE_BYTES } {
        return;
    }
    if style == Style::Bare && matches!(text.at(to), Some(b'(' | b'[' | b'{')) {
        return;
    }
    if let Some(confidence) = judge(text.slice(from, to), strength, style) {
        found.add(from, to, confidence);
    }
}

/// Where the name begins: an escape before it is not part of it.
fn name_start(text: &Text<'_>, at: usize) -> usize {
    let start = text.run_back(at, &NAME, NAME_BYTES);
    let escaped =
        start < at && text.before(start) == Some(b'\\') && matches!(text.at(start), Some(b'n' | b'r' | b't'));
    if escaped { start + 1 } else { start }
}

fn begins_line(text: &Text<'_>, start: usize) -> bool {
    let before = text.slice(text.run_back(start, &LINE_OPENING, 40), start);
    let before_that = start - before.len();
    let words: [&[u8]; 5] = [b"export", b"set", b"ENV", b"env", b"-"];
    let word =
        before.split(|b| matches!(b, b' ' | b'\t')).filter(|w| !w.is_empty()).all(|w| words.contains(&w));
    let escape = matches!(before.first(), Some(b'n')) && text.before(before_that) == Some(b'\\');
    word && matches!(text.before(before_that), None | Some(b'\n' | b'\r')) || escape && before.len() == 1
}

static LINE_OPENING: Bytes = Bytes::of(" \texportsENVv-");

/// Where the value begins, when the name ends at `end` and something says that a value follows.
fn value_after(text: &Text<'_>, end: usize) -> Option<(usize, Style)> {
    let mut at = end;
    while matches!(text.at(at), Some(b'"' | b'\'' | b'\\' | b']' | b'`' | b')')) && at - end < 6 {
        at += 1;
    }
    let closed = at > end;
    let blank = text.run(at, &BLANK, 24);
    let style = Style::Bare;
    let after = match text.at(blank)? {
        b'=' => match (text.at(blank + 1), text.at(blank + 2)) {
            (Some(b'='), Some(b'=')) => blank + 3,
            (Some(b'=' | b'>'), _) => blank + 2,
            _ => blank + 1,
        },
        b':' => match text.at(blank + 1) {
            Some(b':') => return None,
            Some(b'=') => blank + 2,
            _ => annotated(text, blank + 1).unwrap_or(blank + 1),
        },
        b'!' if text.at(blank + 1) == Some(b'=') => {
            return Some((text.run(blank + 2, &BLANK, 4), Style::Quoted));
        }
        b'>' if !closed && blank == end => return Some((blank + 1, Style::Bare)),
        // Set("password", "…")
        b',' if closed => return Some((text.run(blank + 1, &BLANK, 4), Style::Quoted)),
        // <add key="Password" value="…"/>
        b'v' | b'V' if closed && blank > at && text.is_folded(blank, "value=") => {
            return Some((blank + 6, Style::Quoted));
        }
        b'\'' | b'"' if blank > at => return Some((blank, Style::Quoted)),
        b'i' if blank > at && text.is(blank, "is ") => blank + 3,
        _ if blank == at + 1 && !closed && flag_or_netrc(text, end) => return Some((blank, Style::Bare)),
        _ => return None,
    };
    Some((text.run(after, &BLANK, 24), style))
}

/// `name: Type = value`
fn annotated(text: &Text<'_>, after: usize) -> Option<usize> {
    let word = text.run(after, &BLANK, 4);
    let end = text.run(word, &TYPE, 32);
    let sign = text.run(end, &BLANK, 4);
    (end > word && sign > end && text.at(sign) == Some(b'=') && text.at(sign + 1) != Some(b'='))
        .then_some(sign + 1)
}

/// `--password VALUE`, and `login ann password VALUE` of a .netrc.
fn flag_or_netrc(text: &Text<'_>, end: usize) -> bool {
    let start = text.run_back(end, &NAME, NAME_BYTES);
    text.is(start, "--")
        || (text.is(start, "password")
            && memchr::memmem::find(text.slice(text.run_back(start, &PRINTED, 80), start), b"login ")
                .is_some())
}

static PRINTED: Bytes = Bytes::of(" -~");

/// The value between quotes that open at `at`, whatever stands before them and however they are escaped.
fn quoted(text: &Text<'_>, at: usize) -> Option<(usize, usize)> {
    let mut open = at;
    if matches!(text.at(open), Some(b'b' | b'r' | b'u' | b'@' | b'f' | b'L'))
        && matches!(text.at(open + 1), Some(b'"' | b'\''))
    {
        open += 1;
    }
    while text.at(open) == Some(b'\\') && open - at < 4 {
        open += 1;
    }
    let quote = text.at(open).filter(|b| matches!(b, b'"' | b'\'' | b'`'))?;
    let escapes = text.slice(at, open).iter().filter(|b| **b == b'\\').count();
    let from = open + 1;
    let mut place = from;
    loop {
        let byte = text.at(place)?;
        if byte == quote {
            // The closing quote is escaped as often as the opening one.
            let backslashes = text.slice(from, place).iter().rev().take_while(|b| **b == b'\\').count();
            if backslashes == escapes || (escapes == 0 && backslashes % 2 == 0) {
                return Some((from, place - backslashes.min(escapes)));
            }
        }
        if matches!(byte, b'\n' | b'\r') || place - from >= VALUE_BYTES {
            return None;
        }
        place += 1;
    }
}

/// A bare value without what ends a sentence, a statement or a list.
fn trimmed(text: &Text<'_>, start: usize, end: usize, style: Style) -> usize {
    let value = text.slice(start, end);
    let length = match style {
        Style::Line => {
            // Whole connection strings and queries on one line are in parts all the same.
            let cut = value
                .iter()
                .position(|b| matches!(b, b'"' | b'\'' | b'`' | b'<' | b'>' | b'\\'))
                .unwrap_or(value.len());
            let end = value[..cut].iter().rev().take_while(|b| matches!(b, b',' | b';')).count();
            cut - end
        }
        _ => value.len() - value.iter().rev().take_while(|b| matches!(b, b'.' | b':' | b'?' | b'!')).count(),
    };
    start + length
}

fn judge(value: &[u8], strength: Strength, style: Style) -> Option<Confidence> {
    let mix = Mix::of(value);
    if mix.blank > 0 || mix.foreign > 0 || value.len() < 6 || plausible::distinct(value) < 4 {
        return None;
    }
    if strength == Strength::Pair {
        let pair = base64(value, 300);
        let text = value.iter().all(|b| BASE64PAD.has(*b)) && pair.iter().all(|b| (0x20..0x7f).contains(b));
        return (text && value.len() >= 12 && pair.contains(&b':')).then_some(Confidence::Certain);
    }
    let symbol = strength != Strength::Password
        && style != Style::Quoted
        && value.contains(&b'_')
        && (mix.lower == 0 || mix.upper == 0)
        && mix.digit < 4
        && value.len() < 32
        && value.iter().all(|b| b.is_ascii_alphanumeric() || *b == b'_');
    let doubtful = symbol
        || plausible::computed(value)
        || plausible::placeholder(value)
        || plausible::everyday(value)
        || plausible::place(value)
        || plausible::monotonous(value);
    if doubtful || (style != Style::Quoted && identifier(value, style)) {
        return None;
    }
    let entropy = plausible::entropy(value);
    let letters = mix.lower + mix.upper;
    let kinds = mix.kinds() - usize::from(mix.upper == 1 && value[0].is_ascii_uppercase() && mix.lower > 0);
    let wordless = letters == value.len() && turns(value) * 3 > value.len() && value.len() >= 16;
    let only = |signs: &[u8]| value.iter().all(|b| b.is_ascii_alphabetic() || signs.contains(b));
    let enough = match strength {
        Strength::Password => {
            (kinds >= 2
                && !only(b"._-/")
                && (style != Style::Bare || mix.digit > 0 || mix.other > 1)
                && letters > 0)
                || wordless
                || (mix.digit == value.len() && style == Style::Quoted)
        }
        Strength::Token => {
            value.len() >= 8 && entropy > 2.6 && ((mix.digit > 0 && letters > 0 && !only(b"")) || wordless)
        }
        Strength::Weak => {
            let hash = matches!(value.len(), 32 | 40 | 64) && value.iter().all(u8::is_ascii_hexdigit);
            let dashed = value.iter().filter(|b| matches!(b, b'-' | b'_' | b'.' | b':' | b'/')).count();
            value.len() >= 16
                && entropy > 3.6
                && mix.digit > 1
                && letters > 4
                && !hash
                && (dashed < 3 || value.len() > 60)
        }
        Strength::Pair => false,
    };
    let likely = entropy > 3.4 && value.len() >= 16 && strength != Strength::Weak;
    enough.then_some(if likely { Confidence::Likely } else { Confidence::Possible })
}

/// How often small letters and capitals change over: random letters do it all the time.
fn turns(value: &[u8]) -> usize {
    value.windows(2).filter(|pair| pair[0].is_ascii_uppercase() != pair[1].is_ascii_uppercase()).count()
}

/// Whether a bare value is rather a name in a program: `self.password1`, `req.body.token2`, `&token1`.
fn identifier(value: &[u8], style: Style) -> bool {
    let called = value.iter().position(|b| matches!(b, b'(' | b'[')).map(|at| &value[..at]);
    if called.is_some_and(|name| name.iter().all(|b| b.is_ascii_alphabetic() || matches!(b, b'_' | b'.'))) {
        return true;
    }
    if style == Style::Line && !value.contains(&b'.') {
        return false;
    }
    let mut parts = value.split(|b| *b == b'.');
    let word = |part: &[u8]| {
        part.len() <= 20
            && part.first().is_some_and(|b| b.is_ascii_alphabetic() || matches!(b, b'_' | b'&' | b'*'))
            && part.iter().skip(1).all(|b| b.is_ascii_alphanumeric() || *b == b'_')
            && part.iter().filter(|b| b.is_ascii_digit()).count() <= 2
    };
    value.contains(&b'.') && parts.all(word)
}
