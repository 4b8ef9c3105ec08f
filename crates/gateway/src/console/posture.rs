//! How far the six steps of hardening hold here, each measured now: by `doctor` in a process of its own, and from the running gate.
//! Nothing on this page is a claim of the program about itself.

use super::page;
use super::visit::Visitor;
use super::{Console, Refused, html};
use crate::config::secret::Expose;
use crate::people::Role;
use axum::response::Response;
use http::StatusCode;
use judge::tool::Effect;
use maud::html;
use serde::Deserialize;
use std::process::Stdio;
use std::time::{Duration, Instant};

/// How long what was measured is shown again, in seconds.
const MEASURED_SECONDS_MAX: u64 = 60;
/// How long measuring may take, in seconds.
const MEASURING_SECONDS_MAX: u64 = 30;
/// The largest journal that is verified whole for this page, in records.
const VERIFIED_RECORDS_MAX: u64 = 2_000_000;

/// One thing that was measured.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Finding {
    what: String,
    holds: bool,
    detail: String,
}

impl Finding {
    fn new(what: &str, holds: bool, detail: impl Into<String>) -> Self {
        Self { what: what.to_owned(), holds, detail: detail.into() }
    }
}

/// What `doctor` found last, and when.
pub(super) type Measured = tokio::sync::Mutex<Option<(Instant, Vec<Finding>)>>;

/// Words of `doctor` by the step they belong to; all others are layers of the sandbox.
const RULES: [&str; 4] = ["configuration", "rules", "review", "cases"];
const ELSEWHERE: [&str; 4] = ["sign-in", "ingestion", "private state", "gate"];

impl Console {
    pub(super) async fn posture(&self, visitor: &Visitor) -> Result<Response, Refused> {
        let doctor = self.doctor().await;
        let audit = self.audit().await;
        let steps = [
            ("Sandbox", "What runs is inside a wall", self.sandbox(&doctor)),
            ("Least privilege", "What is not permitted is denied", self.privilege(&doctor)),
            ("Secrets", "No agent holds one", self.secrecy(&doctor)),
            ("Injection", "What was read cannot command", self.containment(&doctor)),
            ("Approval", "People decide what matters", self.approval_step()),
            ("Audit", "What happened can be proven", audit),
        ];
        let main = html! {
            header.top { h1 { "Posture" } span.aside { "Measured within the last minute" } }
            ol.steps {
                @for (name, promise, findings) in &steps {
                    @let lacking = findings.iter().filter(|finding| !finding.holds).count();
                    li.step {
                        div.head { h2 { (name) } p.quiet { (promise) }
                            @if lacking == 0 { (page::word("holds")) } @else { span.word.bad { (lacking) " lacking" } } }
                        ul.plain { @for finding in findings {
                            li.finding {
                                @if finding.holds { span.dot title="holds" { span.unseen-label { "holds: " } } }
                                @else { (page::word("lacks")) " " }
                                strong { (self.shown.line(&finding.what)) } " "
                                span.quiet { (self.shown.line(&finding.detail)) } }
                        } }
                    }
                }
            }
        };
        Ok(html(StatusCode::OK, self.page_of(visitor, "posture", "Posture", "").around(&main)))
    }

    /// What `doctor` says of this host and this configuration. A process of its own: nothing of the gate is forked into a sandbox.
    async fn doctor(&self) -> Vec<Finding> {
        let mut measured = self.measured.lock().await;
        if let Some((at, found)) = measured.as_ref()
            && at.elapsed() < Duration::from_secs(MEASURED_SECONDS_MAX)
        {
            return found.clone();
        }
        let place = &self.gate.place;
        let running = tokio::process::Command::new("/proc/self/exe")
            .arg("--dir")
            .arg(&place.config)
            .arg("--state")
            .arg(&place.state)
            .args(["doctor", "--json"])
            .current_dir(place.project())
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .output();
        let told = tokio::time::timeout(Duration::from_secs(MEASURING_SECONDS_MAX), running).await;
        let found: Vec<Finding> = match told {
            Ok(Ok(told)) => told
                .stdout
                .split(|byte| *byte == b'\n')
                .filter_map(|line| serde_json::from_slice(line).ok())
                .collect(),
            _ => Vec::new(),
        };
        if found.is_empty() {
            return vec![Finding::new(
                "sandbox",
                false,
                "it could not be measured: `bailiwick doctor` did not answer",
            )];
        }
        *measured = Some((Instant::now(), found.clone()));
        found
    }

    fn sandbox(&self, doctor: &[Finding]) -> Vec<Finding> {
        let mut findings: Vec<Finding> = doctor
            .iter()
            .filter(|one| !RULES.contains(&&*one.what) && !ELSEWHERE.contains(&&*one.what))
            .cloned()
            .collect();
        for (server, how) in self.chronicle.walls() {
            let waived: Vec<&str> = how.waived.keys().map(String::as_str).collect();
            let detail = if waived.is_empty() {
                format!("{} layers when it was last started", how.layers.len())
            } else {
                format!("runs without {}", waived.join(", "))
            };
            findings.push(Finding::new(&format!("server {server}"), waived.is_empty(), detail));
        }
        findings
    }

    fn privilege(&self, doctor: &[Finding]) -> Vec<Finding> {
        let mut findings = picked(doctor, &RULES);
        let rules = self.gate.rules();
        let possible = self.possible();
        let writes = rules
            .inventory
            .tools()
            .filter(|tool| tool.effect == Effect::Write && possible.contains(&tool.name))
            .count();
        let all = rules.inventory.tools().count();
        let detail =
            format!("{} of {all} operations could be permitted now, {writes} of them write", possible.len());
        findings.push(Finding::new("reach", possible.len() < all, detail));
        findings
    }

    fn secrecy(&self, doctor: &[Finding]) -> Vec<Finding> {
        let mut findings = picked(doctor, &["private state", "sign-in"]);
        let config = &self.gate.config;
        let exposed: Vec<&str> = config
            .secret
            .iter()
            .filter(|(_, secret)| secret.expose == Expose::Process)
            .map(|(name, _)| name.as_str())
            .collect();
        let count = self.gate.secrets.count();
        findings.push(if exposed.is_empty() {
            Finding::new("placeholders", true, format!("{count} secrets; programs get placeholders only"))
        } else {
            Finding::new("placeholders", false, format!("programs hold the values of {}", exposed.join(", ")))
        });
        let limits = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
        let no_core = limits.lines().any(|line| {
            line.starts_with("Max core file size") && line.split_whitespace().nth(4) == Some("0")
        });
        findings.push(Finding::new(
            "memory",
            no_core,
            if no_core { "the gate leaves no core dump" } else { "the gate could leave a core dump" },
        ));
        let filtered = config.filter.secrets != crate::config::filter::Sure::Off;
        findings.push(Finding::new(
            "results",
            filtered,
            if filtered {
                "searched for credentials"
            } else {
                "not searched for credentials: [filter] secrets = \"off\""
            },
        ));
        findings
    }

    fn containment(&self, doctor: &[Finding]) -> Vec<Finding> {
        let mut findings = picked(doctor, &["ingestion"]);
        let off = self.gate.config.marks.modes(None).contains(&judge::spotlight::Mode::Off);
        findings.push(Finding::new(
            "marks",
            !off,
            if off { "some results are shown without marks" } else { "every result is shown between marks" },
        ));
        let reader = self.gate.config.quarantine.is_some();
        findings.push(Finding::new(
            "reader",
            reader,
            if reader {
                "what nobody vouches for can be read without tools"
            } else {
                "no reader without tools is configured: docs/quarantine.md"
            },
        ));
        let refused = self.gate.refusals();
        findings.push(Finding::new(
            "egress",
            true,
            format!("{refused} refused on the way to the network since the gate began"),
        ));
        findings
    }

    fn approval_step(&self) -> Vec<Finding> {
        let people = self.gate.people.list().unwrap_or_default();
        let may = |role: Role| {
            people
                .iter()
                .filter(|one| one.revoked_at.is_none() && Role::named(&one.role) >= Some(role))
                .count()
        };
        let (approvers, admins) = (may(Role::Approver), may(Role::Admin));
        let total = self.chronicle.total();
        vec![
            Finding::new("people", approvers > 0, format!("{approvers} may answer, {admins} of them admins")),
            Finding::new(
                "passkeys",
                people.iter().any(|one| one.passkeys > 0),
                "a grant here is signed by one, for that call only",
            ),
            Finding::new(
                "questions",
                true,
                format!("{} asked, {} granted, {} waiting", total.asked, total.granted, self.waiting()),
            ),
        ]
    }

    async fn audit(&self) -> Vec<Finding> {
        let reader = match self.chronicle.reader() {
            Ok(reader) => reader,
            Err(fault) => return vec![Finding::new("journal", false, fault.to_string())],
        };
        let mut findings = match self.verified(&reader) {
            Ok(checkpoint) => {
                vec![Finding::new("checkpoint", true, format!("signed over {} records", checkpoint.size()))]
            }
            Err(why) => vec![Finding::new("checkpoint", false, why)],
        };
        if reader.size() > VERIFIED_RECORDS_MAX {
            findings.push(Finding::new(
                "journal",
                true,
                "too long to verify for this page; `bailiwick journal verify`",
            ));
            return findings;
        }
        let place = &self.gate.place;
        let (folder, key) =
            (place.journal(), std::fs::read_to_string(place.public_key()).unwrap_or_default());
        let verified = tokio::task::spawn_blocking(move || {
            let key = key.trim().parse::<journal::VerifierKey>().map_err(|error| error.to_string())?;
            journal::verify(&folder, &key, &[]).map_err(|fault| fault.to_string())
        });
        findings.push(match verified.await {
            Ok(Ok(report)) => Finding::new(
                "journal",
                true,
                format!("{} records, signed and unbroken, verified now", report.size),
            ),
            Ok(Err(why)) => Finding::new("journal", false, why),
            Err(error) => Finding::new("journal", false, error.to_string()),
        });
        findings
    }
}

fn picked(doctor: &[Finding], words: &[&str]) -> Vec<Finding> {
    doctor.iter().filter(|one| words.contains(&&*one.what)).cloned().collect()
}
