//! The recipe of `examples/ci`, with a shell as the agent: what a signed grant covers runs, nothing waits for anybody, and what is
//! left behind verifies by itself.

mod common;

use common::{Project, Ran, finish};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Command;

const POLICY: &str = r#"permit (principal, action in Action::"write", resource) when { context.approved };"#;
/// What the secret store of the build host holds.
const SECRET: &str = "canary-of-the-secret-store-61b7";

struct Recipe {
    project: Project,
    out: PathBuf,
    grant: String,
}

fn examples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/ci")
}

impl Recipe {
    fn new() -> Self {
        let project = Project::new(POLICY);
        project.set("ask_wait_seconds", "0");
        let key = project.path().with_file_name("ci.key").display().to_string();
        let made = project.run(&["approvals", "key", "ci", "--out", &key]);
        assert_eq!(made.code, 0, "{made:?}");
        let config = project.config().join("bailiwick.toml");
        let text = std::fs::read_to_string(&config).expect("a configuration");
        let issuer = made.out.split_once("[[").expect("what to configure").1;
        std::fs::write(&config, format!("{text}\n[[{issuer}")).expect("the configuration");
        let arguments = ["--key", &key, "--issuer", "ci", "--tool", "fix/act_asked", "--arg", "mark=nightly"];
        let issued = project.run(&[&["approvals", "issue"], &arguments[..]].concat());
        assert_eq!(issued.code, 0, "{issued:?}");
        let out = project.path().with_file_name("out");
        Self { project, out, grant: issued.out.trim().to_owned() }
    }

    /// Runs the steps with `sh -c SCRIPT` as the agent.
    fn run(&self, out: &Path, grant: &str, script: &str) -> Ran {
        let binary = Path::new(env!("CARGO_BIN_EXE_bailiwick"));
        let folder = binary.parent().expect("a folder").display();
        let path = std::env::var("PATH").unwrap_or_default();
        let mut command = Command::new("bash");
        self.project.point(&mut command);
        command.env("PATH", format!("{folder}:{path}")).env("BAILIWICK_GRANT", grant);
        command.env("BAILIWICK_SECRETS", "model-key").env("SECRET_MODEL_KEY", SECRET);
        command.arg(examples().join("agent.sh")).arg(out).args(["sh", "-c", script]);
        finish(&mut command, b"")
    }
}

/// An agent that calls a tool at the door, twice as asked for and once otherwise.
fn agent() -> String {
    let call = |id: u32, mark: &str| {
        format!(
            r#"{{"jsonrpc":"2.0","id":{id},"method":"tools/call","params":{{"name":"fix__act_asked","arguments":{{"mark":"{mark}"}}}}}}"#
        )
    };
    let hello = r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"ci","version":"1"}}}"#;
    let ready = r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#;
    let (yes, no) = (call(2, "nightly"), call(3, "other"));
    let binary = env!("CARGO_BIN_EXE_bailiwick");
    format!(
        "env | grep -c -e SECRET_ -e GRANT; {{ echo '{hello}'; echo '{ready}'; echo '{yes}'; sleep 1; echo '{no}'; sleep 1; }} \
         | {binary} mcp; exit 7"
    )
}

#[test]
fn what_was_granted_beforehand_runs_and_what_is_left_verifies() {
    let ci = Recipe::new();
    let ran = ci.run(&ci.out, &ci.grant, &agent());
    assert_eq!(ran.code, 7, "the agent's own status: {ran:?}");
    assert!(!ran.out.contains(SECRET) && !ran.err.contains(SECRET), "{ran:?}");
    assert!(ran.out.lines().any(|line| line == "0"), "the agent saw the build host's variables: {ran:?}");
    let effects = ci.project.effects();
    assert_eq!(effects.len(), 1, "{effects:?}\n{ran:?}");
    let read = |name: &str| std::fs::read(ci.out.join(name)).expect(name);
    let report: Value = serde_json::from_slice(&read("report.json")).expect("a report");
    assert_eq!((&report["asked"], &report["denied"]), (&1.into(), &1.into()), "{report}");
    let journal: Value = serde_json::from_slice(&read("journal.json")).expect("a journal");
    assert!(journal.as_array().expect("records").iter().any(|row| row["granted_by"] == "ci"), "{journal}");
    assert!(!journal.to_string().contains(SECRET));
    // Anybody can check what was left, and a journal that lost its end is found.
    let at = |name: &str| ci.out.join(name).display().to_string();
    let verify = || {
        let (log, key, seen) = (at("journal"), at("journal.vkey"), at("checkpoint"));
        ci.project.run(&["journal", "verify", "--log", &log, "--key", &key, "--seen", &seen]).code
    };
    assert_eq!(verify(), 0);
    std::fs::remove_file(ci.out.join("journal/checkpoint")).expect("a checkpoint");
    assert_ne!(verify(), 0);
}

#[test]
fn without_a_grant_nothing_waits_and_where_the_agent_writes_nothing_is_left() {
    let ci = Recipe::new();
    let ran = ci.run(&ci.out, "", &agent());
    assert_eq!((ran.code, ci.project.effects().len()), (7, 0), "{ran:?}");
    let inside = ci.run(&ci.project.path().join("out"), "", "true");
    assert!(inside.code == 2 && inside.err.contains("in the project"), "{inside:?}");
}

#[test]
fn where_a_container_forbids_the_wall_it_is_refused_by_name_and_at_once() {
    // Behind the wall namespaces are forbidden as containers forbid them.
    let project = Project::bare();
    std::fs::create_dir_all(project.path()).expect("a folder");
    let binary = env!("CARGO_BIN_EXE_bailiwick");
    let inner = [binary, "sandbox", "--state", "/tmp/state", "--", "true"];
    let line = [&["sandbox", "--read", binary, "--", "timeout", "--signal=KILL", "30"], &inner[..]].concat();
    let ran = project.run(&line);
    assert!(ran.code == 3 && ran.err.contains("cannot enforce `namespaces`"), "{ran:?}");
}
