//! What stands for a secret inside a sandbox: text of the same shape, random, of no use to anybody. It shares with the
//! value its length, its punctuation and a publicly known prefix, and nothing else.

use crate::error::SecretError;
use crate::name::SecretName;
use aws_lc_rs::rand;

/// Shortest value that can have a placeholder, in bytes: anything shorter is found by chance in ordinary text.
pub const PLACEHOLDER_VALUE_BYTES_MIN: usize = 8;
/// Least randomness of a placeholder, in bits: it must neither be guessed nor turn up by chance in gigabytes.
const RANDOM_BITS_MIN: f64 = 48.0;
/// Longest value whose shape is kept, in bytes; what is longer is no token that a client looks at.
const SHAPE_BYTES_MAX: usize = 16 * 1024;
/// How often a placeholder that collides is drawn again.
const DRAWS_MAX: usize = 8;

/// Prefixes that clients look for. Longer ones come first where one begins with another.
const PREFIXES: &[&str] = &[
    "github_pat_",
    "ghp_",
    "gho_",
    "ghu_",
    "ghs_",
    "ghr_",
    "glpat-",
    "sk-ant-api03-",
    "sk-ant-oat01-",
    "sk-ant-",
    "sk-proj-",
    "sk-svcacct-",
    "sk-or-v1-",
    "sk_live_",
    "sk_test_",
    "rk_live_",
    "rk_test_",
    "pk_live_",
    "pk_test_",
    "whsec_",
    "sk-",
    "AKIA",
    "ASIA",
    "xoxb-",
    "xoxp-",
    "xoxa-",
    "xoxs-",
    "xapp-",
    "npm_",
    "pypi-",
    "hf_",
    "AIza",
    "ya29.",
    "dop_v1_",
    "SG.",
    "shpat_",
    "hvs.",
    "hvb.",
    "lin_api_",
    "figd_",
    "gsk_",
    "xai-",
    "tvly-",
    "eyJ",
    "Bearer ",
    "Basic ",
    "Token ",
];

/// A placeholder in the shape of `value`, unlike `value` and everything in `taken`.
pub(crate) fn like(name: &SecretName, value: &[u8], taken: &[&str]) -> Result<String, SecretError> {
    if value.len() < PLACEHOLDER_VALUE_BYTES_MIN {
        return Err(too_short(name));
    }
    let failed = || SecretError::Shape { name: name.clone(), why: "no placeholder could be drawn for it" };
    let text =
        std::str::from_utf8(value).ok().filter(|text| text.is_ascii() && text.len() <= SHAPE_BYTES_MAX);
    for _ in 0..DRAWS_MAX {
        let drawn = match text {
            Some(text) => shaped(text).map_err(|_| failed())?,
            None => None,
        };
        let drawn = match drawn {
            Some(drawn) => drawn,
            None => artificial().map_err(|_| failed())?,
        };
        let clash = |other: &&str| other.contains(drawn.as_str()) || drawn.contains(*other);
        let meets_value = text.is_some_and(|text| text.contains(drawn.as_str()) || drawn.contains(text));
        if !meets_value && !taken.iter().any(clash) {
            return Ok(drawn);
        }
    }
    Err(failed())
}

/// The system gave no random numbers.
pub(crate) struct NoRandomness;

pub(crate) fn too_short(name: &SecretName) -> SecretError {
    SecretError::Shape {
        name: name.clone(),
        why: "it is shorter than 8 bytes, which turn up by chance anywhere; use a longer one",
    }
}

/// In the shape of an AWS access key id: what stands for a whole key pair.
pub(crate) fn access_key_id() -> Result<String, NoRandomness> {
    Ok(format!("AKIA{}", letters(16, b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567")?))
}

/// For a value that no shape can be kept of.
pub(crate) fn artificial() -> Result<String, NoRandomness> {
    let all = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    Ok(format!("bw{}", letters(30, all)?))
}

/// `None` when too little of the shape would be random.
fn shaped(text: &str) -> Result<Option<String>, NoRandomness> {
    let kept = kept_bytes(text);
    let mut bits = 0.0;
    let mut out = String::with_capacity(text.len());
    for (index, byte) in text.bytes().enumerate() {
        let class: &[u8] = match byte {
            _ if kept(index) => b"",
            b'0'..=b'9' => b"0123456789",
            b'a'..=b'z' => b"abcdefghijklmnopqrstuvwxyz",
            b'A'..=b'Z' => b"ABCDEFGHIJKLMNOPQRSTUVWXYZ",
            // A client would refuse these in a header, or a shell would act on them.
            0..=8 | 11 | 12 | 14..=31 | 127 => return Ok(None),
            _ => b"",
        };
        if class.is_empty() {
            out.push(byte.into());
        } else {
            bits += f64::from(u8::try_from(class.len()).unwrap_or(1)).log2();
            out.push_str(&letters(1, class)?);
        }
    }
    Ok((bits >= RANDOM_BITS_MIN).then_some(out))
}

/// Which bytes of `text` everybody may know: a known prefix, the header of a JWT, the frame lines of PEM.
fn kept_bytes(text: &str) -> impl Fn(usize) -> bool {
    let prefix = PREFIXES.iter().find(|prefix| text.starts_with(**prefix)).map_or(0, |prefix| prefix.len());
    let jwt = (text.starts_with("eyJ") && text.matches('.').count() == 2).then(|| text.find('.')).flatten();
    let mut frames = Vec::new();
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        if line.starts_with("-----") {
            frames.push(at..at + line.len());
        }
        at += line.len();
    }
    let start = jwt.unwrap_or(prefix);
    move |index| index < start || frames.iter().any(|frame| frame.contains(&index))
}

/// `count` letters of `alphabet` (at most 256 of them), each as likely as any other.
fn letters(count: usize, alphabet: &[u8]) -> Result<String, NoRandomness> {
    let fair = 256 - 256 % alphabet.len();
    let mut out = String::with_capacity(count);
    let mut bytes = [0_u8; 32];
    while out.len() < count {
        let wanted = (count - out.len()).min(bytes.len());
        rand::fill(&mut bytes[..wanted]).map_err(|_| NoRandomness)?;
        for byte in &bytes[..wanted] {
            if usize::from(*byte) < fair {
                out.push(alphabet[usize::from(*byte) % alphabet.len()].into());
            }
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests;
