//! Whether a text can be a secret at all, or is a placeholder, a piece of code, a path or a word of a language.
//! It never says that something is a secret; a detector does, from what stands around it.

/// Words in a value that was meant to be replaced by a reader.
const PLACEHOLDERS: [&[u8]; 37] = [
    b"example",
    b"sample",
    b"placeholder",
    b"changeme",
    b"change-me",
    b"change_me",
    b"changethis",
    b"dummy",
    b"redacted",
    b"insert",
    b"replace",
    b"your-",
    b"your_",
    b"yourk",
    b"yourt",
    b"youra",
    b"yours",
    b"yourp",
    b"todo",
    b"xxxxx",
    b"*****",
    b".....",
    b"-----",
    b"_____",
    b"foobar",
    b"deadbeef",
    b"lorem",
    b"masked",
    b"removed",
    b"hidden",
    b"not-a-real",
    b"notreal",
    b"not_real",
    b"fake",
    b"mock",
    b"goes-here",
    b"-here",
];
/// Words that a value made of nothing else does not become secret by.
const WORDS: [&str; 108] = [
    "a",
    "access",
    "account",
    "admin",
    "and",
    "any",
    "api",
    "app",
    "application",
    "auth",
    "authorization",
    "aws",
    "azure",
    "bar",
    "base",
    "baz",
    "bearer",
    "bool",
    "boolean",
    "bot",
    "cert",
    "changeit",
    "client",
    "code",
    "config",
    "credential",
    "credentials",
    "db",
    "default",
    "demo",
    "dev",
    "development",
    "disabled",
    "email",
    "empty",
    "enabled",
    "encrypted",
    "enter",
    "env",
    "false",
    "file",
    "foo",
    "from",
    "get",
    "github",
    "gitlab",
    "google",
    "here",
    "hidden",
    "id",
    "in",
    "int",
    "invalid",
    "is",
    "it",
    "jwt",
    "key",
    "keys",
    "letmein",
    "local",
    "localhost",
    "login",
    "me",
    "missing",
    "my",
    "mysql",
    "name",
    "new",
    "nil",
    "no",
    "none",
    "null",
    "number",
    "of",
    "old",
    "openai",
    "optional",
    "or",
    "pass",
    "password",
    "passwd",
    "phrase",
    "postgres",
    "private",
    "prod",
    "production",
    "public",
    "pwd",
    "redis",
    "required",
    "root",
    "secret",
    "secrets",
    "server",
    "service",
    "session",
    "slack",
    "some",
    "staging",
    "string",
    "stripe",
    "test",
    "testing",
    "text",
    "the",
    "this",
    "to",
    "token",
];
const MORE_WORDS: [&str; 13] = [
    "tokens",
    "true",
    "type",
    "undefined",
    "unset",
    "user",
    "username",
    "valid",
    "value",
    "var",
    "variable",
    "with",
    "you",
];
/// Bodies longer than this are not searched for words: chance would find some.
const WORD_SEARCH_BYTES: usize = 160;

/// Whether the random part of a token of known form may be one, and is not a placeholder.
pub(super) fn body(text: &[u8]) -> bool {
    let distinct_min = if text.len() < 16 { 5 } else { 7 };
    distinct(text) >= distinct_min && !monotonous(text) && !placeholder(text)
}

/// Whether some part of it says that it stands for something else.
pub(super) fn placeholder(text: &[u8]) -> bool {
    if text.len() > WORD_SEARCH_BYTES {
        return false;
    }
    let folded: Vec<u8> = text.iter().map(u8::to_ascii_lowercase).collect();
    PLACEHOLDERS.iter().any(|word| memchr::memmem::find(&folded, word).is_some())
}

/// A character many times over, or the alphabet said in order.
pub(super) fn monotonous(text: &[u8]) -> bool {
    let longest = |step: u8| {
        let (mut run, mut most) = (1, 1);
        for pair in text.windows(2) {
            run = if pair[1] == pair[0].wrapping_add(step) { run + 1 } else { 1 };
            most = most.max(run);
        }
        most
    };
    longest(0) >= 7 || longest(1) >= 9
}

/// How many different bytes there are.
pub(super) fn distinct(text: &[u8]) -> usize {
    let mut seen = [false; 256];
    text.iter().for_each(|byte| seen[usize::from(*byte)] = true);
    seen.iter().filter(|seen| **seen).count()
}

/// Shannon's entropy, in bits for each byte.
pub(super) fn entropy(text: &[u8]) -> f64 {
    let mut counts = [0u32; 256];
    text.iter().for_each(|byte| counts[usize::from(*byte)] += 1);
    let all = text.len() as f64;
    counts.iter().filter(|count| **count > 0).fold(0.0, |sum, count| {
        let share = f64::from(*count) / all;
        sum - share * share.log2()
    })
}

/// Which kinds of characters a text has.
#[derive(Clone, Copy, Default)]
pub(super) struct Mix {
    pub(super) lower: usize,
    pub(super) upper: usize,
    pub(super) digit: usize,
    pub(super) other: usize,
    pub(super) foreign: usize,
    pub(super) blank: usize,
}

impl Mix {
    pub(super) fn of(text: &[u8]) -> Self {
        let mut mix = Self::default();
        for byte in text {
            match byte {
                b'a'..=b'z' => mix.lower += 1,
                b'A'..=b'Z' => mix.upper += 1,
                b'0'..=b'9' => mix.digit += 1,
                b' ' | b'\t' | b'\r' | b'\n' => mix.blank += 1,
                0x21..=0x7e => mix.other += 1,
                _ => mix.foreign += 1,
            }
        }
        mix
    }

    /// How many kinds there are.
    pub(super) fn kinds(self) -> usize {
        [self.lower, self.upper, self.digit, self.other].iter().filter(|n| **n > 0).count()
    }
}

/// Whether every word in it is an everyday word of configurations: `my-secret-password`, `changeit`, `test123`.
pub(super) fn everyday(text: &[u8]) -> bool {
    let mut words = 0;
    for word in text.split(|byte| !byte.is_ascii_alphabetic()).filter(|word| !word.is_empty()) {
        let folded = word.to_ascii_lowercase();
        let known = |w: &[u8]| WORDS.iter().chain(&MORE_WORDS).any(|known| known.as_bytes() == w);
        // Two such words written as one: `mypassword`, `testtoken`.
        let joined = || (1..folded.len()).any(|at| known(&folded[..at]) && known(&folded[at..]));
        if !(known(&folded) || joined()) {
            return false;
        }
        words += 1;
    }
    words > 0 && text.iter().filter(|byte| byte.is_ascii_digit()).count() <= 4
}

/// Whether it is filled in later, or computed: `${VAR}`, `{{ x }}`, `<token>`, `%s`, `os.environ[…]`.
pub(super) fn computed(text: &[u8]) -> bool {
    let has = |wanted: &[u8]| memchr::memmem::find(text, wanted).is_some();
    let first = text.first().copied().unwrap_or(b' ');
    let last = text.last().copied().unwrap_or(b' ');
    let variable = first == b'$'
        && text[1..].iter().all(|b| {
            b.is_ascii_alphanumeric() || matches!(b, b'_' | b'{' | b'}' | b':' | b'-' | b'.' | b'(')
        });
    // `%s`, `%d`, and nothing behind it that would make it part of a word.
    let format = text.windows(2).enumerate().any(|(at, two)| {
        matches!(two, b"%s" | b"%d" | b"%v") && !text.get(at + 2).is_some_and(u8::is_ascii_alphanumeric)
    });
    variable
        || format
        || (first == b'<' && (last == b'>' || !has(b">")))
        || (first == b'[' && last == b']')
        || (first == b'%' && last == b'%')
        || (first == b'@' && last == b'@')
        || [
            &b"${"[..],
            b"$(",
            b"{{",
            b"}}",
            b"#{",
            b"<%",
            b"{}",
            b"{0}",
            b"::",
            b"->",
            b"()",
            b"(\"",
            b"('",
            b"[\"",
            b"['",
            b"=>",
            b"(%",
        ]
        .iter()
        .any(|sign| has(sign))
}

/// Whether it leads somewhere: a path, a file, a URL.
pub(super) fn place(text: &[u8]) -> bool {
    let has = |wanted: &[u8]| memchr::memmem::find(text, wanted).is_some();
    let starts = [&b"/"[..], b"./", b"../", b"~/", b"C:\\"].iter().any(|start| text.starts_with(start));
    let path = starts && {
        // A base64 secret may begin with a slash too; a path has words between its slashes.
        let words = text.split(|b| matches!(b, b'/' | b'\\' | b'.' | b'-' | b'_')).filter(|w| !w.is_empty());
        let (all, plain) = words.fold((0, 0), |(all, plain), word| {
            let mix = Mix::of(word);
            (all + 1, plain + usize::from(mix.kinds() <= 1 || (mix.digit == 0 && mix.upper <= 1)))
        });
        all == 0 || plain * 2 > all
    };
    let files = [
        ".pem", ".key", ".json", ".txt", ".crt", ".cer", ".yaml", ".yml", ".env", ".toml", ".js", ".ts",
        ".py", ".rs", ".go", ".html", ".png", ".svg", ".jks", ".p12", ".pfx", ".com", ".org", ".net", ".io",
        ".xml", ".md", ".sh",
    ];
    path || has(b"://") || files.iter().any(|end| text.ends_with(end.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_random_and_a_placeholder_is_not() {
        for text in ["aB3dE5fG7hI9jK1lM2nO4pQ6rS8tU0vWxYzQ", "0f3c9a71b2d84e56", "Z7QX2LKM"] {
            assert!(body(text.as_bytes()), "{text}");
        }
        for text in [
            "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
            "IOSFODNN7EXAMPLE",
            "your-api-key-goes-here-please",
            "abcdefghijklmnopqrstuvwxyz0123456789",
            "0000000000000000",
            "aaaabbbbccccdddd",
        ] {
            assert!(!body(text.as_bytes()), "{text}");
        }
    }

    #[test]
    fn everyday_words_computed_values_and_places_are_told_from_secrets() {
        for text in ["my-secret-password", "changeit", "test123", "mypassword", "TOKEN_HERE"] {
            assert!(everyday(text.as_bytes()), "{text}");
        }
        for text in ["correcthorse", "Zq7vR2x", "test-8f3kd02"] {
            assert!(!everyday(text.as_bytes()), "{text}");
        }
        for text in [
            "${VAR}",
            "$TOKEN",
            "{{ token }}",
            "<token>",
            "%s",
            "getenv('X')",
            "$(cat x)",
            "%TOKEN%",
            "@token@",
        ] {
            assert!(computed(text.as_bytes()), "{text}");
        }
        for text in ["$2b$12$abcdefghijk", "pa$$word9", "a<b", "oeIZg%dilw"] {
            assert!(!computed(text.as_bytes()), "{text}");
        }
        for text in ["/etc/ssl/private/server", "./token.txt", "https://example.org/x", "id_rsa.pem"] {
            assert!(place(text.as_bytes()), "{text}");
        }
        for text in ["/fK9x2Qm+Lw8Zr4tYb6N", "hunter2"] {
            assert!(!place(text.as_bytes()), "{text}");
        }
    }
}
