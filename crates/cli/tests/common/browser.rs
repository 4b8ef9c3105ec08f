//! A browser with a software passkey, as far as the console can tell: cookies, tokens of pages, and signatures by a P-256 key.
//! Each part of what it sends can be bent by a test.
#![allow(dead_code, unreachable_pub, reason = "each test file uses its own part of this room")]

use super::{Answer, Gate, Project, Web};
use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use std::collections::BTreeMap;

pub fn b64(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

pub fn unb64(text: &Value) -> Vec<u8> {
    URL_SAFE_NO_PAD.decode(text.as_str().expect("a text")).expect("base64url")
}

/// A passkey whose private key is here.
pub struct Passkey {
    key: EcdsaKeyPair,
    pub id: Vec<u8>,
    pub count: u32,
}

/// How a passkey answers.
#[derive(Clone)]
pub struct How {
    pub origin: String,
    pub rp_id: String,
    pub flags: u8,
    pub cross_origin: bool,
    /// Another challenge than the one that was given.
    pub challenge: Option<Vec<u8>>,
    pub kind: Option<&'static str>,
    /// Counts on as an authenticator does.
    pub counts: bool,
    pub breaks_signature: bool,
}

impl How {
    pub fn honest(origin: &str) -> Self {
        Self {
            origin: origin.to_owned(),
            rp_id: "localhost".to_owned(),
            flags: 0x05,
            cross_origin: false,
            challenge: None,
            kind: None,
            counts: true,
            breaks_signature: false,
        }
    }

    fn client_data(&self, kind: &str, challenge: &[u8]) -> Vec<u8> {
        let challenge = b64(self.challenge.as_deref().unwrap_or(challenge));
        let kind = self.kind.unwrap_or(kind);
        json!({ "type": kind, "challenge": challenge, "origin": self.origin, "crossOrigin": self.cross_origin })
            .to_string()
            .into_bytes()
    }
}

impl Passkey {
    pub fn new() -> Self {
        let key = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).expect("a key");
        let id = digest(&SHA256, key.public_key().as_ref()).as_ref()[..20].to_vec();
        Self { key, id, count: 0 }
    }

    fn authenticator_data(&self, how: &How, more_flags: u8) -> Vec<u8> {
        let mut data = digest(&SHA256, how.rp_id.as_bytes()).as_ref().to_vec();
        data.push(how.flags | more_flags);
        data.extend(self.count.to_be_bytes());
        data
    }

    /// COSE_Key of ES256.
    fn cose(&self) -> Vec<u8> {
        let point = self.key.public_key().as_ref();
        let mut cose = vec![0xa5, 0x01, 0x02, 0x03, 0x26, 0x20, 0x01, 0x21, 0x58, 0x20];
        cose.extend(&point[1..33]);
        cose.extend([0x22, 0x58, 0x20]);
        cose.extend(&point[33..65]);
        cose
    }

    pub fn make(&mut self, options: &Value, how: &How) -> Value {
        let client_data = how.client_data("webauthn.create", &unb64(&options["challenge"]));
        let mut data = self.authenticator_data(how, 0x40);
        data.extend([0; 16]);
        data.extend(u16::try_from(self.id.len()).expect("short").to_be_bytes());
        data.extend(&self.id);
        data.extend(self.cose());
        // {"fmt": "none", "attStmt": {}, "authData": data}
        let mut object = vec![0xa3, 0x63];
        object.extend(b"fmt\x64none\x67attStmt\xa0\x68authData\x59");
        object.extend(u16::try_from(data.len()).expect("short").to_be_bytes());
        object.extend(&data);
        json!({ "client_data": b64(&client_data), "attestation": b64(&object) })
    }

    pub fn sign(&mut self, options: &Value, how: &How) -> Value {
        if how.counts {
            self.count += 1;
        }
        let client_data = how.client_data("webauthn.get", &unb64(&options["challenge"]));
        let data = self.authenticator_data(how, 0);
        let message = [&data[..], digest(&SHA256, &client_data).as_ref()].concat();
        let signature = self.key.sign(&SystemRandom::new(), &message).expect("a signature");
        let mut signature = signature.as_ref().to_vec();
        if how.breaks_signature {
            *signature.last_mut().expect("bytes") ^= 1;
        }
        json!({
            "credential": b64(&self.id),
            "client_data": b64(&client_data),
            "authenticator_data": b64(&data),
            "signature": b64(&signature),
        })
    }
}

/// A browser at one gate's console.
pub struct Browser {
    web: Web,
    pub host: String,
    pub origin: String,
    pub cookies: BTreeMap<String, String>,
    pub token: String,
    pub passkey: Passkey,
}

impl Browser {
    pub fn at(gate: &Gate) -> Self {
        let port = gate.url.rsplit_once(':').and_then(|(_, rest)| rest.strip_suffix("/mcp")).expect("a port");
        Self {
            web: Web::at(gate),
            host: format!("localhost:{port}"),
            origin: format!("http://localhost:{port}"),
            cookies: BTreeMap::new(),
            token: String::new(),
            passkey: Passkey::new(),
        }
    }

    /// Somebody new, let in with this role.
    pub fn enrolled(project: &Project, gate: &Gate, name: &str, role: &str) -> Self {
        let mut browser = Self::at(gate);
        let answer = browser.enrol(&code(project, role, Some(name)), name);
        assert_eq!(answer.status, 200, "{answer:?}");
        browser
    }

    pub fn how(&self) -> How {
        How::honest(&self.origin)
    }

    pub fn headers(&self) -> Vec<(String, String)> {
        let cookies: Vec<String> =
            self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let mut headers = vec![("Host".to_owned(), self.host.clone())];
        if !cookies.is_empty() {
            headers.push(("Cookie".to_owned(), cookies.join("; ")));
        }
        headers
    }

    pub fn get(&mut self, path: &str) -> Answer {
        let answer = self.web.send("GET", path, &self.headers(), b"");
        self.take(&answer);
        answer
    }

    pub fn post_headers(&self, kind: &str) -> Vec<(String, String)> {
        let mut headers = self.headers();
        for (name, value) in [
            ("Origin", self.origin.as_str()),
            ("Content-Type", kind),
            ("X-Console-Token", self.token.as_str()),
            ("Sec-Fetch-Site", "same-origin"),
        ] {
            headers.push((name.to_owned(), value.to_owned()));
        }
        headers
    }

    pub fn send(&mut self, method: &str, path: &str, headers: &[(String, String)], body: &[u8]) -> Answer {
        let answer = self.web.send(method, path, headers, body);
        self.take(&answer);
        answer
    }

    pub fn post(&mut self, path: &str, body: &Value) -> Answer {
        let headers = self.post_headers("application/json");
        self.send("POST", path, &headers, body.to_string().as_bytes())
    }

    pub fn post_form(&mut self, path: &str, body: &str) -> Answer {
        let mut headers = self.post_headers("application/x-www-form-urlencoded");
        headers.retain(|(name, _)| name != "X-Console-Token");
        let body = format!("token={}&{body}", self.token);
        self.send("POST", path, &headers, body.as_bytes())
    }

    fn take(&mut self, answer: &Answer) {
        for (name, value) in &answer.headers {
            if !name.eq_ignore_ascii_case("set-cookie") {
                continue;
            }
            assert!(
                value.contains("HttpOnly") && value.contains("SameSite=Strict")
                    || value.contains("Max-Age=0")
            );
            let pair = value.split(';').next().unwrap_or_default();
            let (name, value) = pair.split_once('=').expect("a cookie");
            self.cookies.insert(name.to_owned(), value.to_owned());
        }
        if let Some((_, rest)) = answer.body.split_once("name=\"console-token\" content=\"") {
            self.token = rest.split('"').next().unwrap_or_default().to_owned();
        }
    }

    pub fn enrol(&mut self, code: &str, name: &str) -> Answer {
        let how = self.how();
        self.enrol_as(code, name, &how)
    }

    pub fn enrol_as(&mut self, code: &str, name: &str, how: &How) -> Answer {
        self.get("/console/enrol");
        let begun = self.post("/console/enrol/begin", &json!({ "code": code, "name": name }));
        if begun.status != 200 {
            return begun;
        }
        let begun: Value = serde_json::from_str(&begun.body).expect("JSON");
        let mut made = self.passkey.make(&begun["options"], how);
        made["flow"] = begun["flow"].clone();
        let answer = self.post("/console/enrol/finish", &made);
        // The pages of somebody who is signed in have another token.
        self.get("/console/approvals");
        answer
    }

    pub fn sign_in_as(&mut self, how: &How) -> Answer {
        self.get("/console/sign-in");
        let begun = self.post("/console/sign-in/begin", &json!({}));
        let begun: Value = serde_json::from_str(&begun.body).unwrap_or_else(|_| panic!("{begun:?}"));
        let mut used = self.passkey.sign(&begun["options"], how);
        used["flow"] = begun["flow"].clone();
        let answer = self.post("/console/sign-in/finish", &used);
        self.get("/console/approvals");
        answer
    }

    /// What is to be signed to grant `approval`.
    pub fn challenge(&mut self, approval: &Value) -> Answer {
        let id = approval["id"].as_str().expect("an id");
        let asked = json!({ "request": approval["request_digest"], "answer": "grant once" });
        self.post(&format!("/console/approvals/{id}/challenge"), &asked)
    }

    /// Asks at `path` for what is to be signed, signs it, and sends that.
    pub fn sign_as(&mut self, path: &str, asked: &Value, how: &How) -> Answer {
        let begun = self.post(&format!("{path}/challenge"), asked);
        if begun.status != 200 {
            return begun;
        }
        let begun: Value = serde_json::from_str(&begun.body).expect("JSON");
        let mut used = self.passkey.sign(&begun["options"], how);
        used["flow"] = begun["flow"].clone();
        self.post(&format!("{path}/grant"), &used)
    }

    pub fn grant_as(&mut self, approval: &Value, how: &How) -> Answer {
        let asked = json!({ "request": approval["request_digest"], "answer": "grant once" });
        self.sign_as(&place(approval), &asked, how)
    }

    /// Grants more calls like it, as shaped in these fields.
    pub fn grant_more(&mut self, approval: &Value, fields: &Value) -> Answer {
        let how = self.how();
        let asked =
            json!({ "request": approval["request_digest"], "answer": "grant more", "fields": fields });
        self.sign_as(&place(approval), &asked, &how)
    }

    /// Lets somebody in, or turns somebody out.
    pub fn change_people(&mut self, deed: &str, fields: &Value) -> Answer {
        let how = self.how();
        self.sign_as("/console/people", &json!({ "request": "", "answer": deed, "fields": fields }), &how)
    }

    pub fn post_grant(&mut self, approval: &Value, used: &Value) -> Answer {
        let id = approval["id"].as_str().expect("an id").to_owned();
        self.post(&format!("/console/approvals/{id}/grant"), used)
    }

    pub fn grant(&mut self, approval: &Value) -> Answer {
        let how = self.how();
        self.grant_as(approval, &how)
    }
}

fn place(approval: &Value) -> String {
    format!("/console/approvals/{}", approval["id"].as_str().expect("an id"))
}

/// The code of a fresh link.
pub fn code(project: &Project, role: &str, name: Option<&str>) -> String {
    let mut args = vec!["console", "link", "--json", "--role", role];
    args.extend(name.map(|_| "--name"));
    args.extend(name);
    let link = project.json(&args);
    let link = link["link"].as_str().unwrap_or_else(|| panic!("{link}"));
    link.split_once('#').expect("a code").1.to_owned()
}
