//! Headers that carry credentials, known by their names in any notation: `Authorization: Bearer X`, `"cookie": "a=b"`,
//! `-H 'X-Api-Key: X'`. The scheme and the names of cookies stay, so that the header is still one.

use super::super::detect::{Detector, Found};
use super::super::finding::Confidence;
use super::super::plausible::{self, Mix};
use super::super::text::{BLANK, Bytes, Text, WORD};
use super::checksum::base64;

/// Longest credential, in bytes.
const VALUE_BYTES: usize = 8 * 1024;
/// Most cookies in one header.
const COOKIES: usize = 64;
static CREDENTIAL: Bytes = Bytes::of("A-Za-z0-9._~+/=:|%!#$*^-");
static COOKIE_NAME: Bytes = Bytes::of("A-Za-z0-9_.!#$%&*+^|~-");
static COOKIE_VALUE: Bytes = Bytes::of("!#-+./-:<-[\\]-~-");
static NAME: Bytes = Bytes::of("A-Za-z0-9_-");

pub(in super::super) static AUTHORIZATION: Detector = Detector {
    matches: &[
        "Authorization: Bearer «Zm9vYmFyLXRva2VuLTEyMw»",
        "authorization: basic «YW5uOnRyMHViNGRvcg==»\r\n",
        "{\"Authorization\": \"Bearer «8f3kd02lqp»\"}",
        "{\\\"Authorization\\\": \\\"token «8f3kd02lqp»\\\"}",
        "curl -H 'Proxy-Authorization: ApiKey «8f3kd02lqp»' x",
        "headers[\"Authorization\"] = \"Bearer «8f3kd02lqp»\"",
        "AUTHORIZATION=Bearer «8f3kd02lqp»",
        "req.Header.Set(\"Authorization\", \"Bearer «8f3kd02lqp»\")",
        "authorization: «8f3kd02lqpZr4tYb6N»",
        "Authorization: AWS4-HMAC-SHA256 Credential=x/20240101/eu/s3/aws4_request, SignedHeaders=host, Signature=«0f3c9a71b2d84e560f3c9a71b2d84e560f3c9a71b2d84e560f3c9a71b2d84e56»",
    ],
    near_misses: &[
        "Authorization: Bearer <token>",
        "Authorization: Bearer ${TOKEN}",
        "Authorization: Bearer $TOKEN",
        "Authorization: Bearer YOUR_ACCESS_TOKEN",
        "Authorization: Bearer {{token}}",
        "authorization: required",
        "the authorization code flow",
        "Authorization: Bearer token",
        "allow headers: authorization, content-type",
        "\"Authorization\": `Bearer ${this.token}`",
        "Authorization: Basic xxxxxxxx",
        "Authorization: Bearer ...",
        "headers: { Authorization: auth.headerValue }",
    ],
    ..Detector::secret("authorization", &["authorization"], authorization)
};

fn authorization(text: &Text<'_>, at: usize, found: &mut Found<'_>) {
    let Some(value) = value_after(text, text.run(at + "authorization".len(), &NAME, 8)) else { return };
    let word = text.run(value, &NAME, 24);
    let scheme = text.slice(value, word).to_ascii_lowercase();
    let spaced = text.run(word, &BLANK, 4);
    if spaced > word {
        if scheme.starts_with(b"aws4-hmac") {
            if let Some(sign) = text.seek(word, "Signature=", 600) {
                let from = sign + "Signature=".len();
                add(text, from, text.run(from, &WORD, 70), found);
            }
            return;
        }
        let known: [&[u8]; 12] = [
            b"bearer",
            b"basic",
            b"token",
            b"digest",
            b"apikey",
            b"api-key",
            b"key",
            b"negotiate",
            b"bot",
            b"oauth",
            b"jwt",
            b"splunk",
        ];
        if known.iter().any(|known| scheme == *known) {
            let end = trimmed(text, spaced, text.run(spaced, &CREDENTIAL, VALUE_BYTES));
            let basic = scheme == b"basic" && base64(text.slice(spaced, end), 200).contains(&b':');
            if basic && end - spaced >= 6 {
                found.add(spaced, end, Confidence::Certain);
            } else {
                add(text, spaced, end, found);
            }
        }
        return;
    }
    let end = trimmed(text, value, text.run(value, &CREDENTIAL, VALUE_BYTES));
    let mix = Mix::of(text.slice(value, end));
    if end - value >= 16 && mix.digit > 0 {
        add(text, value, end, found);
    }
}

/// Where the value of a header begins, when its name ends at `at`, however it is written down.
fn value_after(text: &Text<'_>, at: usize) -> Option<usize> {
    let quotes = |mut at: usize| {
        while matches!(text.at(at), Some(b'"' | b'\'' | b'\\' | b']' | b'`')) {
            at += 1;
        }
        at
    };
    let at = text.run(quotes(at), &BLANK, 4);
    let at = match text.at(at)? {
        b':' | b'=' => at + 1,
        // Set("Authorization", "…")
        b',' if matches!(text.before(at), Some(b'"' | b'\'')) => at + 1,
        _ => return None,
    };
    let at = if text.at(at) == Some(b'>') { at + 1 } else { at };
    let at = quotes(text.run(at, &BLANK, 4));
    // f"…", `…` and lists of values: ["…"]
    Some(if text.at(at) == Some(b'[') { quotes(at + 1) } else { at })
}

/// A sentence's full stop, or an escape's backslash, is not part of a credential.
fn trimmed(text: &Text<'_>, start: usize, end: usize) -> usize {
    let tail = text.slice(start, end).iter().rev().take_while(|b| matches!(b, b'.' | b':' | b'!')).count();
    end - tail
}

fn add(text: &Text<'_>, start: usize, end: usize, found: &mut Found<'_>) {
    let value = text.slice(start, end);
    if value.len() >= 6
        && !plausible::computed(value)
        && !plausible::placeholder(value)
        && !plausible::everyday(value)
        && !plausible::monotonous(value)
        && plausible::distinct(value) >= 5
        && !code(text, start, end)
    {
        found.add(start, end, Confidence::Likely);
    }
}

/// Whether the value is computed: a name with dots, a call, an interpolation.
fn code(text: &Text<'_>, start: usize, end: usize) -> bool {
    let value = text.slice(start, end);
    let mix = Mix::of(value);
    let dotted = mix.digit == 0 && value.contains(&b'.');
    dotted
        || matches!(text.at(end), Some(b'(' | b'{' | b'['))
        || (mix.digit == 0 && mix.upper == 0 && value.len() < 16)
}

pub(in super::super) static BEARER: Detector = Detector {
    matches: &[
        "sent bearer «Zm9vYmFyLXRva2VuLTEyMw8f3kd02lqp» to it",
        "Bearer%20«Zm9vYmFyLXRva2VuLTEyMw8f3kd02lqp»",
    ],
    near_misses: &[
        "bearer authentication is supported",
        "a bearer token",
        "Bearer 12345678",
        "Bearer internationalization-configuration",
    ],
    ..Detector::secret("authorization", &["bearer ", "bearer%20", "bearer+"], bearer)
};

fn bearer(text: &Text<'_>, at: usize, found: &mut Found<'_>) {
    let from = match text.at(at + 6) {
        Some(b'%') => at + 9,
        _ => at + 7,
    };
    let end = trimmed(text, from, text.run(from, &CREDENTIAL, VALUE_BYTES));
    let value = text.slice(from, end);
    let mix = Mix::of(value);
    if value.len() >= 16 && mix.digit > 1 && mix.lower + mix.upper > 3 && plausible::entropy(value) > 3.0 {
        add(text, from, end, found);
    }
}

pub(in super::super) static COOKIE: Detector = Detector {
    matches: &[
        "Cookie: theme=dark; sid=«8f3kd02lqpZr4tYb6N»",
        "set-cookie: session=«s%3Aabc123def456.Zr4tYb6N»; Path=/; HttpOnly",
        "\"cookie\": \"_ga=GA1; connect.sid=«8f3kd02lqpZr4tYb6N»\"",
        "-H 'Cookie: a=«8f3kd02lqpZr4»; b=«9f3kd02lqpZr4»'",
    ],
    near_misses: &[
        "Cookie: theme=dark; lang=en-GB",
        "cookie: name=value",
        "Set-Cookie: session=<id>; Path=/",
        "cookie: session=${SESSION}",
        "const cookie = parse(header)",
        "Set-Cookie: id=deleted; Expires=Wed, 21 Oct 2015 07:28:00 GMT",
    ],
    ..Detector::secret("cookie", &["cookie"], cookie)
};

fn cookie(text: &Text<'_>, at: usize, found: &mut Found<'_>) {
    let named = at + "cookie".len();
    let Some(mut place) = value_after(text, named) else { return };
    let sets = text.before(at) == Some(b'-');
    for _ in 0..COOKIES {
        let sign = text.run(place, &COOKIE_NAME, 80);
        if sign == place || text.at(sign) != Some(b'=') {
            return;
        }
        let end = text.run(sign + 1, &COOKIE_VALUE, VALUE_BYTES);
        let end =
            end - text.slice(sign + 1, end).iter().rev().take_while(|b| matches!(b, b'\\' | b'\'')).count();
        let value = text.slice(sign + 1, end);
        let mix = Mix::of(value);
        if value.len() >= 10 && mix.digit > 1 && mix.lower + mix.upper > 2 && plausible::entropy(value) > 2.8
        {
            add(text, sign + 1, end, found);
        }
        if sets || text.at(end) != Some(b';') {
            return;
        }
        place = text.run(end + 1, &BLANK, 4);
    }
}
