//! AWS Signature Version 4: the signature over one request, with a key pair. It signs what it is given and never sends
//! anything.

use crate::encode::{hex, percent, unpercent};
use aws_lc_rs::{digest, hmac};
use serde_json::Value;
use zeroize::Zeroizing;

/// An access key pair, with the session token of a temporary one.
pub(crate) struct KeyPair {
    pub(crate) id: Zeroizing<String>,
    pub(crate) secret: Zeroizing<String>,
    pub(crate) session: Option<Zeroizing<String>>,
}

impl KeyPair {
    /// Reads `ID:SECRET`, `ID:SECRET:TOKEN`, or JSON as AWS's `process credentials` write it.
    pub(crate) fn parse(bytes: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(bytes).ok()?;
        let pair = if text.trim_start().starts_with('{') {
            let mut json: Value = serde_json::from_str(text).ok()?;
            let mut take = |key: &str| match json.get_mut(key).map(Value::take) {
                Some(Value::String(text)) => Some(Zeroizing::new(text)),
                _ => None,
            };
            Self { id: take("AccessKeyId")?, secret: take("SecretAccessKey")?, session: take("SessionToken") }
        } else {
            let mut parts = text.splitn(3, ':').map(|part| Zeroizing::new(part.to_owned()));
            Self { id: parts.next()?, secret: parts.next()?, session: parts.next() }
        };
        let plain = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic());
        let fits =
            plain(&pair.id) && plain(&pair.secret) && pair.session.as_ref().is_none_or(|token| plain(token));
        fits.then_some(pair)
    }
}

/// What is signed.
pub(crate) struct ToSign<'a> {
    pub(crate) method: &'a str,
    /// As it is sent, percent-encoded.
    pub(crate) path: &'a str,
    /// As it is sent, without `?`.
    pub(crate) query: &'a str,
    /// Names in lowercase with their values; all of them are signed.
    pub(crate) headers: Vec<(String, String)>,
    /// The hash of the body in hexadecimal, or one of the words that stand for it.
    pub(crate) payload: &'a str,
    /// `YYYYMMDDTHHMMSSZ`.
    pub(crate) time: &'a str,
    pub(crate) region: &'a str,
    pub(crate) service: &'a str,
}

impl ToSign<'_> {
    /// The value of the `Authorization` header.
    pub(crate) fn authorization(&mut self, pair: &KeyPair) -> Zeroizing<String> {
        self.headers.sort();
        let date = self.time.get(..8).unwrap_or_default();
        let scope = format!("{date}/{}/{}/aws4_request", self.region, self.service);
        let signed: Vec<&str> = self.headers.iter().map(|(name, _)| name.as_str()).collect();
        let signed = signed.join(";");
        let request = self.canonical(&signed);
        let text = format!("AWS4-HMAC-SHA256\n{}\n{scope}\n{}", self.time, sha256_hex(request.as_bytes()));
        let first = Zeroizing::new(format!("AWS4{}", *pair.secret));
        let mut key = hmac::Key::new(hmac::HMAC_SHA256, first.as_bytes());
        for part in [date, self.region, self.service, "aws4_request"] {
            key = hmac::Key::new(hmac::HMAC_SHA256, hmac::sign(&key, part.as_bytes()).as_ref());
        }
        let signature = hex(hmac::sign(&key, text.as_bytes()).as_ref());
        Zeroizing::new(format!(
            "AWS4-HMAC-SHA256 Credential={}/{scope}, SignedHeaders={signed}, Signature={signature}",
            *pair.id
        ))
    }

    fn canonical(&self, signed: &str) -> String {
        // S3 alone signs the path as it is sent; all others sign it encoded once more.
        let path = if self.service == "s3" {
            self.path.to_owned()
        } else {
            (*percent(self.path.as_bytes(), b"/")).clone()
        };
        let path = if path.is_empty() { "/" } else { &path };
        let mut query: Vec<(String, String)> = self
            .query
            .split('&')
            .filter(|pair| !pair.is_empty())
            .map(|pair| {
                let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
                let again = |text: &str| (*percent(&unpercent(text.as_bytes()), b"")).clone();
                (again(name), again(value))
            })
            .collect();
        query.sort();
        let query: Vec<String> = query.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let headers: String = self
            .headers
            .iter()
            .map(|(name, value)| {
                let value: Vec<&str> = value.split_ascii_whitespace().collect();
                format!("{name}:{}\n", value.join(" "))
            })
            .collect();
        format!("{}\n{path}\n{}\n{headers}\n{signed}\n{}", self.method, query.join("&"), self.payload)
    }
}

/// SHA-256 in hexadecimal.
pub(crate) fn sha256_hex(bytes: &[u8]) -> String {
    hex(digest::digest(&digest::SHA256, bytes).as_ref())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example() -> KeyPair {
        KeyPair::parse(b"AKIDEXAMPLE:wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY").unwrap()
    }

    fn header(name: &str, value: &str) -> (String, String) {
        (name.to_owned(), value.to_owned())
    }

    /// AWS's own test suite (`aws-sig-v4-test-suite`): get-vanilla, get-vanilla-query-order-key-case, post-x-www-form-
    /// urlencoded, and the example of the IAM documentation (ListUsers).
    #[test]
    fn published_vectors() {
        let day = "20150830T123600Z";
        let vanilla = vec![header("host", "example.amazonaws.com"), header("x-amz-date", day)];
        let form = "application/x-www-form-urlencoded";
        let mut posted = vanilla.clone();
        posted.insert(0, header("content-type", form));
        let iam = vec![
            header("x-amz-date", day),
            header("host", "iam.amazonaws.com"),
            header("content-type", "application/x-www-form-urlencoded; charset=utf-8"),
        ];
        for (method, query, headers, body, service, signature) in [
            (
                "GET",
                "",
                vanilla.clone(),
                "",
                "service",
                "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31",
            ),
            (
                "GET",
                "Param2=value2&Param1=value1",
                vanilla.clone(),
                "",
                "service",
                "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500",
            ),
            (
                "POST",
                "",
                vanilla,
                "",
                "service",
                "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b",
            ),
            (
                "POST",
                "",
                posted,
                "Param1=value1",
                "service",
                "ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a",
            ),
            (
                "GET",
                "Action=ListUsers&Version=2010-05-08",
                iam,
                "",
                "iam",
                "5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7",
            ),
        ] {
            let payload = sha256_hex(body.as_bytes());
            let mut to_sign = ToSign {
                method,
                path: "/",
                query,
                headers,
                payload: &payload,
                time: day,
                region: "us-east-1",
                service,
            };
            let signed = to_sign.authorization(&example());
            assert!(
                signed.ends_with(&format!("Signature={signature}")),
                "{method} {query} {service}: {}",
                *signed
            );
        }
    }

    #[test]
    fn key_pairs_in_both_spellings() {
        let pair =
            KeyPair::parse(br#"{"AccessKeyId":"A","SecretAccessKey":"S","SessionToken":"T"}"#).unwrap();
        assert_eq!((pair.id.as_str(), pair.secret.as_str()), ("A", "S"));
        assert_eq!(pair.session.as_ref().unwrap().as_str(), "T");
        assert!(KeyPair::parse(b"A:S:T").unwrap().session.is_some());
        assert!(KeyPair::parse(b"A:S").unwrap().session.is_none());
        for bad in [&b"A"[..], b"", b":S", b"A:", b"A:S\nx", b"{\"AccessKeyId\":\"A\"}", b"\xff:\xff"] {
            assert!(KeyPair::parse(bad).is_none());
        }
    }
}
