//! `[quarantine]`: the reader without tools that untrusted content is given to.
//! Nothing here connects to it.

use serde::{Deserialize, Serialize};

/// Most content one reader is given that can be configured, in bytes.
const CONTENT_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Longest patience that can be configured, in seconds.
const SECONDS_MAX: u64 = 600;

/// `[quarantine]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Quarantine {
    /// Where Messages requests go: `https`, or `http` to this machine.
    pub url: String,
    /// The model that reads.
    pub model: String,
    /// The secret that is sent as `x-api-key`; none where the endpoint wants none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Most content for one question, in bytes; more is refused, never cut.
    #[serde(default = "content_bytes_max")]
    pub content_bytes_max: usize,
    /// How long the reader may take, in seconds.
    #[serde(default = "seconds")]
    pub seconds: u64,
    /// Whether it looks at every answer that nobody vouches for and raises an alert where one gives orders. It never keeps an answer
    /// back, and the agent does not wait for it.
    #[serde(default)]
    pub advise: bool,
}

fn content_bytes_max() -> usize {
    256 * 1024
}

fn seconds() -> u64 {
    60
}

impl Quarantine {
    /// Checks what can be checked without connecting.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub fn check(&self) -> Result<(), String> {
        super::callable(&self.url)?;
        if self.model.is_empty() {
            return Err("`model` is empty".to_owned());
        }
        if let Some(key) = &self.key {
            vault::SecretName::new(key).map_err(|error| format!("`key`: {error}"))?;
        }
        if !(1..=CONTENT_BYTES_MAX).contains(&self.content_bytes_max) {
            return Err(format!("`content_bytes_max` is not 1 to {CONTENT_BYTES_MAX}"));
        }
        if !(1..=SECONDS_MAX).contains(&self.seconds) {
            return Err(format!("`seconds` is not 1 to {SECONDS_MAX}"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_leaves_this_machine_over_https_only() {
        for (url, is_good) in [
            ("https://api.example.com/v1/messages", true),
            ("http://127.0.0.1:8080/v1/messages", true),
            ("http://[::1]:8080/v1/messages", true),
            ("http://localhost/v1/messages", true),
            ("http://localhost.example.com/v1/messages", false),
            ("http://api.example.com/v1/messages", false),
            ("http://10.0.0.1/v1/messages", false),
            ("https://user:word@api.example.com/", false),
            ("http://127.0.0.1@example.com/", false),
            ("ftp://127.0.0.1/", false),
            ("/v1/messages", false),
            ("", false),
        ] {
            let text = format!("url = {url:?}\nmodel = \"m\"\n");
            let quarantine: Quarantine = toml::from_str(&text).expect("a table");
            assert_eq!(quarantine.check().is_ok(), is_good, "{url}");
        }
        for (line, is_good) in [
            ("key = \"reader\"", true),
            ("key = \"no name\"", false),
            ("seconds = 0", false),
            ("content_bytes_max = 0", false),
            ("content_bytes_max = 1", true),
        ] {
            let text = format!("url = \"https://a.example/\"\nmodel = \"m\"\n{line}\n");
            let quarantine: Quarantine = toml::from_str(&text).expect("a table");
            assert_eq!(quarantine.check().is_ok(), is_good, "{line}");
        }
    }
}
