//! AWS STS AssumeRole: temporary keys of a role, narrowed by a session policy. The long-lived key pair signs here and is
//! never sent.

use super::{Coin, until};
use crate::encode::form;
use crate::net;
use crate::secret::Secret;
use crate::sigv4::{KeyPair, ToSign, sha256_hex};
use crate::source::Origin;
use std::time::SystemTime;
use zeroize::Zeroizing;

/// A role to assume, and how much of it is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AssumeRole {
    /// Such as `https://sts.eu-west-1.amazonaws.com`.
    pub endpoint: String,
    /// Such as `eu-west-1`.
    pub region: String,
    /// The role's ARN.
    pub role: String,
    /// The session's name, which AWS's own log shows.
    pub session: String,
    /// A policy (JSON) that narrows the role's own for this session.
    pub policy: Option<String>,
    /// How long the keys are good for, in seconds: 900 to 43200.
    pub seconds: u32,
    /// The external id that the role's owner asks for.
    pub external_id: Option<String>,
    /// The key pair that may assume the role: `ID:SECRET`, `ID:SECRET:TOKEN` or JSON.
    pub credentials: Origin,
}

impl AssumeRole {
    pub(super) async fn mint(
        &self,
        http: &reqwest::Client,
        pair: &Secret,
        now: SystemTime,
    ) -> Result<Coin, String> {
        let pair = pair.expose(KeyPair::parse).ok_or("its credentials are not an access key pair")?;
        let seconds = self.seconds.to_string();
        let mut fields: Vec<(&str, &[u8])> = vec![
            ("Action", b"AssumeRole"),
            ("Version", b"2011-06-15"),
            ("RoleArn", self.role.as_bytes()),
            ("RoleSessionName", self.session.as_bytes()),
            ("DurationSeconds", seconds.as_bytes()),
        ];
        fields.extend(self.policy.as_ref().map(|policy| ("Policy", policy.as_bytes())));
        fields.extend(self.external_id.as_ref().map(|id| ("ExternalId", id.as_bytes())));
        let body = form(&fields);
        let time = jiff::Timestamp::try_from(now)
            .map_err(|_| "the clock is out of range")?
            .strftime("%Y%m%dT%H%M%SZ")
            .to_string();
        let url = reqwest::Url::parse(net::base(&self.endpoint)?).map_err(|_| "its address is unusable")?;
        let host = match (url.host_str(), url.port()) {
            (Some(host), Some(port)) => format!("{host}:{port}"),
            (Some(host), None) => host.to_owned(),
            (None, _) => return Err("its address is unusable".into()),
        };
        let content_type = "application/x-www-form-urlencoded; charset=utf-8";
        let mut headers: Vec<(String, String)> = vec![
            ("content-type".into(), content_type.into()),
            ("host".into(), host),
            ("x-amz-date".into(), time.clone()),
        ];
        headers.extend(pair.session.as_ref().map(|token| ("x-amz-security-token".into(), (**token).clone())));
        let authorization = ToSign {
            method: "POST",
            path: "/",
            query: "",
            headers,
            payload: &sha256_hex(&body),
            time: &time,
            region: &self.region,
            service: "sts",
        }
        .authorization(&pair);
        let mut request = http
            .post(url)
            .header("content-type", content_type)
            .header("x-amz-date", &time)
            .header("authorization", authorization.as_str());
        if let Some(token) = &pair.session {
            request = request.header("x-amz-security-token", token.as_str());
        }
        let answer = net::ask(request.body(body.to_vec())).await?;
        let text = std::str::from_utf8(&answer.body).map_err(|_| "its answer is not text")?;
        if answer.status.as_u16() != 200 {
            return Err(format!("status {}, {}", answer.status.as_u16(), net::code(element(text, "Code"))));
        }
        let take =
            |name| element(text, name).filter(|text| plain(text)).ok_or("its answer holds no key pair");
        let (id, secret, token) = (take("AccessKeyId")?, take("SecretAccessKey")?, take("SessionToken")?);
        let json = Zeroizing::new(format!(
            r#"{{"AccessKeyId":"{id}","SecretAccessKey":"{secret}","SessionToken":"{token}"}}"#
        ));
        let secret = Secret::copy_of(json.as_bytes()).map_err(|error| error.to_string())?;
        let lifetime = element(text, "Expiration").and_then(|time| until(time, now));
        Ok(Coin { secret, lifetime, successor: None })
    }
}

/// What stands between `<name>` and `</name>`, the first time. STS's answers are flat and its keys need no escapes.
fn element<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(&format!("<{name}>"))?;
    Some(rest.split_once(&format!("</{name}>"))?.0.trim())
}

/// Whether `text` is made of the characters of keys and tokens, and so cannot break out of the JSON it is put into.
fn plain(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+/=_-".contains(&byte))
}
