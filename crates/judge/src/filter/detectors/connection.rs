//! Passwords in addresses: `scheme://user:PASSWORD@host`, and tokens that stand where a user should. Only the password is hidden, so
//! that what is left still says what is connected to what.

use super::super::detect::{Detector, Found};
use super::super::finding::Confidence;
use super::super::plausible::{self, Mix};
use super::super::text::{Bytes, Text};

/// Longest user and password together, in bytes.
const USERINFO_BYTES: usize = 600;
static USERINFO: Bytes = Bytes::of("!#-;=?-Z\\^-z|~");
static SCHEME: Bytes = Bytes::of("A-Za-z0-9+.-");

pub(in super::super) static USERINFO_PASSWORD: Detector = Detector {
    matches: &[
        "postgres://app:«s3cr3t»@db.internal:5432/app",
        "DATABASE_URL=\"mysql2://root:«p%40ss/w0rd»@127.0.0.1/x\"",
        "redis://:«hunter2»@cache:6379",
        "mongodb+srv://svc:«Zq7@vR2x»@cluster0.example.net/?retryWrites=true",
        "git clone https://«aB3dE5fG7hI9jK1lM2nO4pQ6»@git.example.org/x.git",
        "cloudinary://123456789012345:«aB3dE5fG7hI9jK1lM2nO4pQ6rS8»@name",
        "fatal: 'https://ann:«tr0ub4dor»@example.org/': 403",
    ],
    near_misses: &[
        "https://example.org:8080/a@b",
        "postgres://user:password@localhost/db",
        "postgres://user:pass@localhost/db",
        "postgres://${DB_USER}:${DB_PASS}@db/x",
        "postgres://user:<password>@host",
        "postgres://user:****@host",
        "amqp://guest:guest@localhost",
        "https://user@example.org/",
        "https://example.org/?q=a:b@c",
        "ssh://git@github.com/a/b",
        "npm:@scope/name http://a/b:c@d",
    ],
    ..Detector::secret("url-password", &["://"], find)
};

fn find(text: &Text<'_>, at: usize, found: &mut Found<'_>) {
    if !text.before(at).is_some_and(|byte| SCHEME.has(byte)) {
        return;
    }
    let from = at + 3;
    let mut end = text.run(from, &USERINFO, USERINFO_BYTES);
    // A slash or question mark ends the authority, unless a password that was not encoded goes on behind it to an `@`.
    let run = text.slice(from, end);
    let colon = run.iter().position(|b| *b == b':');
    let path = run.iter().position(|b| matches!(b, b'/' | b'?' | b'#'));
    let authority = match (path, colon) {
        (Some(path), Some(colon))
            if colon < path && password_goes_on(&run[colon + 1..], path - colon - 1) =>
        {
            run
        }
        (Some(path), _) => &run[..path],
        (None, _) => run,
    };
    let Some(sign) = authority.iter().rposition(|b| *b == b'@') else { return };
    end = from + sign;
    let info = text.slice(from, end);
    match info.iter().position(|b| *b == b':') {
        Some(colon) => {
            let password = &info[colon + 1..];
            let (user, start) = (&info[..colon], from + colon + 1);
            if is_password(password) && !password.eq_ignore_ascii_case(user) {
                found.add(start, end, Confidence::Likely);
            }
        }
        None if info.len() >= 20 && is_token(info) => found.add(from, end, Confidence::Likely),
        None => {}
    }
}

/// Whether what follows the first colon is no port before a path, but a password with a slash in it.
fn password_goes_on(rest: &[u8], slash: usize) -> bool {
    let port = rest[..slash].iter().all(u8::is_ascii_digit);
    let before_sign = rest.iter().position(|b| *b == b'@').unwrap_or(0);
    let host = rest[..slash].contains(&b'@');
    !port
        && !host
        && before_sign > slash
        && !rest[slash..before_sign].contains(&b'?')
        && before_sign - slash < 40
}

fn is_password(password: &[u8]) -> bool {
    !password.is_empty()
        && !plausible::computed(password)
        && !plausible::everyday(password)
        && !plausible::placeholder(password)
        && plausible::distinct(password) > 2
}

fn is_token(info: &[u8]) -> bool {
    let mix = Mix::of(info);
    mix.digit > 1
        && mix.lower + mix.upper > 4
        && mix.other < 4
        && plausible::entropy(info) > 3.3
        && plausible::body(info)
}
