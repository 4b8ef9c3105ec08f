//! Other scanners on the same files: what each reports, and what it costs the processor. One that is not there is skipped by name.

use serde_json::Value;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A scanner, as `.ci/peers.sh` installs it.
pub(super) struct Peer {
    pub(super) name: &'static str,
    /// Where its program is.
    variable: &'static str,
    /// `DIR` and `REPORT` stand for the folder and the report.
    arguments: &'static [&'static str],
    /// How much text it gets to show its speed, in bytes: the slow ones would take hours.
    pub(super) speed_bytes: usize,
    read: fn(&Value) -> Vec<(String, String)>,
    /// It tells lines and not what is in them.
    pub(super) lines_only: bool,
}

/// What a scanner said.
pub(super) struct Told {
    /// By file: what was found in it.
    pub(super) found: HashMap<String, Vec<String>>,
    pub(super) processor_seconds: f64,
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn items(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

/// Every text below a value.
fn texts(value: &Value, out: &mut Vec<String>) {
    match value {
        Value::String(text) => out.push(text.clone()),
        Value::Array(items) => items.iter().for_each(|item| texts(item, out)),
        Value::Object(members) => members.values().for_each(|member| texts(member, out)),
        _ => {}
    }
}

fn kingfisher(report: &Value) -> Vec<(String, String)> {
    let mut out = Vec::new();
    for finding in items(&report["findings"]).map(|finding| &finding["finding"]) {
        let mut parts = vec![text(&finding["snippet"])];
        texts(&finding["dependent_captures"], &mut parts);
        out.extend(parts.into_iter().map(|part| (text(&finding["path"]), part)));
    }
    out
}

fn gitleaks(report: &Value) -> Vec<(String, String)> {
    items(report).map(|finding| (text(&finding["File"]), text(&finding["Secret"]))).collect()
}

fn betterleaks(report: &Value) -> Vec<(String, String)> {
    let mut out = Vec::new();
    for finding in items(&report["findings"]) {
        let file = text(&finding["location"]["path"]);
        out.push((file.clone(), text(&finding["match"]["value"])));
        for part in items(&finding["component_sets"]).flat_map(|set| items(&set["components"])) {
            out.push((file.clone(), text(&part["match"]["value"])));
        }
    }
    out
}

fn detect_secrets(report: &Value) -> Vec<(String, String)> {
    let files = report["results"].as_object().into_iter().flatten();
    files.flat_map(|(file, found)| items(found).map(|_| (file.clone(), String::new()))).collect()
}

fn credsweeper(report: &Value) -> Vec<(String, String)> {
    let lines = items(report).flat_map(|finding| items(&finding["line_data_list"]));
    lines.map(|line| (text(&line["path"]), text(&line["value"]))).collect()
}

pub(super) static PEERS: [Peer; 5] = [
    Peer {
        name: "kingfisher",
        variable: "KINGFISHER",
        arguments: &[
            "scan",
            "--no-validate",
            "--no-update-check",
            "--no-dedup",
            "--jobs",
            "1",
            "--format",
            "json",
            "--output",
            "REPORT",
            "DIR",
        ],
        speed_bytes: 32 << 20,
        read: kingfisher,
        lines_only: false,
    },
    Peer {
        name: "gitleaks",
        variable: "GITLEAKS",
        arguments: &["dir", "--no-banner", "--report-format", "json", "--report-path", "REPORT", "DIR"],
        speed_bytes: 16 << 20,
        read: gitleaks,
        lines_only: false,
    },
    Peer {
        name: "betterleaks",
        variable: "BETTERLEAKS",
        arguments: &["--no-banner", "--silent", "--output", "REPORT", "DIR"],
        speed_bytes: 32 << 20,
        read: betterleaks,
        lines_only: false,
    },
    Peer {
        name: "detect-secrets",
        variable: "DETECT_SECRETS",
        arguments: &["-C", "DIR", "-c", "1", "scan", "--all-files", "."],
        speed_bytes: 1 << 18,
        read: detect_secrets,
        lines_only: true,
    },
    Peer {
        name: "credsweeper",
        variable: "CREDSWEEPER",
        arguments: &["--path", "DIR", "--jobs", "1", "--save-json", "REPORT"],
        speed_bytes: 1 << 19,
        read: credsweeper,
        lines_only: false,
    },
];

impl Peer {
    /// Its program, if it is installed.
    pub(super) fn program(&self) -> Option<PathBuf> {
        std::env::var_os(self.variable).map(PathBuf::from).filter(|path| path.is_file())
    }

    /// Has it scan a folder.
    pub(super) fn scan(&self, program: &Path, folder: &Path) -> anyhow::Result<Told> {
        let out = tempfile::tempdir()?;
        let report = out.path().join("report.json");
        let arguments = self.arguments.iter().map(|word| match *word {
            "DIR" => folder.as_os_str(),
            "REPORT" => report.as_os_str(),
            word => word.as_ref(),
        });
        let begun = children_seconds()?;
        let mut scanner = Command::new(program);
        scanner.args(arguments).env("HOME", out.path()).current_dir(out.path());
        scanner.env("GOMAXPROCS", "1").stdin(Stdio::null()).stderr(Stdio::null());
        let said = scanner.output()?.stdout;
        let processor_seconds = children_seconds()? - begun;
        let report = std::fs::read(&report).unwrap_or(said);
        let report: Value = serde_json::from_slice(&report).unwrap_or_default();
        let mut found: HashMap<String, Vec<String>> = HashMap::new();
        for (file, part) in (self.read)(&report) {
            let name = Path::new(&file).file_name().map(|name| name.to_string_lossy().into_owned());
            found.entry(name.unwrap_or_default()).or_default().push(part);
        }
        Ok(Told { found, processor_seconds })
    }
}

/// What the processor gave to children that have ended, in seconds; the kernel counts in hundredths.
fn children_seconds() -> anyhow::Result<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let after = stat.rsplit(')').next().unwrap_or_default();
    let ticks = after.split_whitespace().skip(13).take(2).filter_map(|field| field.parse::<f64>().ok());
    Ok(ticks.sum::<f64>() / 100.0)
}
