//! What secrets are called: short names that are safe in files, logs and prompts. Nothing else is accepted as one.

use std::fmt;
use std::sync::Arc;

/// Longest name, in bytes.
pub const NAME_BYTES_MAX: usize = 64;

/// The name of a secret: `[a-z0-9][a-z0-9._-]{0,63}`. It is public; the value it stands for is not.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SecretName(Arc<str>);

/// Why a text is not the name of a secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a secret's name is 1 to {NAME_BYTES_MAX} of `a-z 0-9 . _ -` and begins with a letter or digit; choose another"
)]
pub struct BadName;

impl SecretName {
    /// Parses `text`.
    ///
    /// # Errors
    /// When it is empty, too long, or holds anything but lowercase letters, digits, `.`, `_` and `-`. The text is not
    /// repeated in the error: somebody may have passed a value where a name belongs.
    pub fn new(text: &str) -> Result<Self, BadName> {
        let plain = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let bytes = text.as_bytes();
        let fits = bytes.len() <= NAME_BYTES_MAX
            && bytes.first().is_some_and(plain)
            && bytes.iter().all(|byte| plain(byte) || b"._-".contains(byte));
        if fits { Ok(Self(text.into())) } else { Err(BadName) }
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SecretName {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_short_and_plain() {
        let longest = "a".repeat(NAME_BYTES_MAX);
        for good in ["a", "0", "github", "github.token_2-x", longest.as_str()] {
            assert_eq!(SecretName::new(good).unwrap().as_str(), good);
        }
        let long = "a".repeat(NAME_BYTES_MAX + 1);
        for bad in ["", ".a", "-a", "_a", "A", "a b", "a/b", "a\n", "é", "a\0", long.as_str()] {
            assert_eq!(SecretName::new(bad), Err(BadName), "{bad:?}");
        }
    }
}
