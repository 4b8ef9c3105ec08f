//! What a name says of its value: `db_password`, `clientSecret`, `API-KEY`, word by word. It never looks at the value.

/// How much a name says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Strength {
    /// A password: short ones count.
    Password,
    /// A token, a key, a secret.
    Token,
    /// Something that may be one.
    Weak,
    /// A user and password in base64.
    Pair,
}

/// Words a name may end in after the word that matters.
const NEUTRAL: [&str; 34] = [
    "value",
    "val",
    "base64",
    "b64",
    "hex",
    "string",
    "str",
    "text",
    "plain",
    "plaintext",
    "raw",
    "default",
    "primary",
    "secondary",
    "main",
    "prod",
    "production",
    "dev",
    "development",
    "test",
    "staging",
    "live",
    "old",
    "new",
    "current",
    "v1",
    "v2",
    "data",
    "key",
    "token",
    "secret",
    "password",
    "env",
    "var",
];
/// Words that make it something else.
const OTHER: [&str; 80] = [
    "id",
    "ids",
    "name",
    "names",
    "type",
    "types",
    "count",
    "counts",
    "len",
    "length",
    "size",
    "url",
    "uri",
    "path",
    "paths",
    "file",
    "files",
    "filename",
    "expires",
    "expiry",
    "expiration",
    "expired",
    "ttl",
    "hash",
    "policy",
    "hint",
    "field",
    "fields",
    "label",
    "prefix",
    "suffix",
    "max",
    "min",
    "limit",
    "limits",
    "index",
    "format",
    "version",
    "ref",
    "arn",
    "manager",
    "provider",
    "regex",
    "pattern",
    "rule",
    "rules",
    "error",
    "errors",
    "status",
    "required",
    "enabled",
    "reset",
    "alg",
    "algorithm",
    "usage",
    "validity",
    "public",
    "pub",
    "next",
    "page",
    "continuation",
    "cursor",
    "sort",
    "foreign",
    "partition",
    "cache",
    "idempotency",
    "eos",
    "bos",
    "pad",
    "unk",
    "forgot",
    "has",
    "is",
    "show",
    "row",
    "checksum",
    "bytes",
    "byte",
    "bits",
];
/// What makes a key one that must be kept.
const KEYS: [&str; 36] = [
    "api",
    "access",
    "secret",
    "private",
    "auth",
    "encryption",
    "encrypt",
    "crypt",
    "crypto",
    "signing",
    "sign",
    "signature",
    "account",
    "shared",
    "master",
    "service",
    "admin",
    "app",
    "application",
    "subscription",
    "webhook",
    "session",
    "jwt",
    "hmac",
    "aes",
    "license",
    "storage",
    "consumer",
    "client",
    "deploy",
    "integration",
    "write",
    "ingest",
    "instrumentation",
    "functions",
    "host",
];
/// Words that end in a word that matters and are one themselves.
const PASSES: [&str; 10] = [
    "pass",
    "dbpass",
    "userpass",
    "ftppass",
    "mypass",
    "adminpass",
    "passwd",
    "passphrase",
    "passcode",
    "psw",
];

/// Reads a name; `at` is where the word that called for it begins. `None` when the value is nothing to hide, or another word of the
/// name decides.
pub(super) fn classify(name: &[u8], at: usize) -> Option<Strength> {
    let words = words(name);
    let mut strength = None;
    let mut last = 0;
    for (number, (word, start)) in words.iter().enumerate() {
        let before = number.checked_sub(1).map(|n| words[n].0.as_str());
        if let Some(said) = says(word, before, words.len()) {
            strength = Some((said, *start, start + word.len()));
            last = number;
        }
    }
    let (strength, start, end) = strength?;
    // Each word that matters is an anchor of its own: only the one that decides goes on.
    if !(start..end).contains(&at) {
        return None;
    }
    if words.iter().any(|(word, _)| OTHER.contains(&word.as_str())) {
        return None;
    }
    let known = |word: &str| NEUTRAL.contains(&word) || word.bytes().all(|b| b.is_ascii_digit());
    let sure = words[last + 1..].iter().all(|(word, _)| known(word));
    if sure { Some(strength) } else { (strength != Strength::Pair).then_some(Strength::Weak) }
}

fn says(word: &str, before: Option<&str>, words: usize) -> Option<Strength> {
    let ends = |end: &str| word.ends_with(end);
    if PASSES.contains(&word) || ends("password") || ends("passwd") || ends("pwd") || ends("passphrase") {
        return Some(Strength::Password);
    }
    if ends("secret") || ends("token") || word == "credentials" {
        return Some(Strength::Token);
    }
    if word == "credential" {
        return Some(Strength::Weak);
    }
    if word == "auth" && (words == 1 || before.is_none()) {
        return Some(Strength::Pair);
    }
    let front = word.strip_suffix("key")?;
    if !front.is_empty() {
        return KEYS.contains(&front).then_some(Strength::Token);
    }
    match before {
        Some(before) if KEYS.contains(&before) => Some(Strength::Token),
        _ => Some(Strength::Weak),
    }
}

/// The words of a name in small letters, and where each begins: `dbPassword`, `DB_PASSWORD`, `APIKey` are two each.
fn words(name: &[u8]) -> Vec<(String, usize)> {
    let mut words: Vec<(String, usize)> = Vec::new();
    let mut open = false;
    for (at, byte) in name.iter().enumerate() {
        if !byte.is_ascii_alphanumeric() {
            open = false;
            continue;
        }
        let before = at.checked_sub(1).map(|at| name[at]);
        let after = name.get(at + 1);
        let turns = byte.is_ascii_uppercase()
            && (before.is_some_and(|b| b.is_ascii_lowercase())
                || (before.is_some_and(|b| b.is_ascii_uppercase())
                    && after.is_some_and(u8::is_ascii_lowercase)));
        match words.last_mut() {
            Some((word, _)) if open && !turns => word.push(char::from(byte.to_ascii_lowercase())),
            _ => words.push((char::from(byte.to_ascii_lowercase()).to_string(), at)),
        }
        open = true;
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_word_by_word() {
        let table = [
            ("db_password", "password", Some(Strength::Password)),
            ("PGPASSWORD", "PASSWORD", Some(Strength::Password)),
            ("clientSecret", "Secret", Some(Strength::Token)),
            ("APIKey", "Key", Some(Strength::Token)),
            ("apiKey", "Key", Some(Strength::Token)),
            ("API-KEY", "KEY", Some(Strength::Token)),
            ("apikey", "key", Some(Strength::Token)),
            ("aws_secret_access_key", "key", Some(Strength::Token)),
            ("aws_secret_access_key", "secret", None),
            ("stripe_key", "key", Some(Strength::Weak)),
            ("password_reset_url", "password", None),
            ("keyboard", "key", None),
            ("public_key", "key", None),
            ("max_tokens", "token", None),
            ("nextPageToken", "Token", None),
            ("compass", "pass", None),
            ("db_pass", "pass", Some(Strength::Password)),
            ("_auth", "auth", Some(Strength::Pair)),
            ("oauth_auth", "auth", None),
            ("token_prod_2", "token", Some(Strength::Token)),
            ("token_bucket", "token", Some(Strength::Weak)),
        ];
        for (name, word, want) in table {
            let at = name.find(word).unwrap();
            assert_eq!(classify(name.as_bytes(), at), want, "{name} at {word}");
        }
    }
}
