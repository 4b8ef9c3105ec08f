//! `bailiwick redact` as a filter between two programs: what it replaces, what it tells, what it refuses.
//! It needs no project, and no run leaves anything behind.

#![allow(clippy::unwrap_used, reason = "a test may fail anywhere")]

use serde_json::Value;
use std::io::Write;
use std::process::{Command, Output, Stdio};

const TEXT: &str = "hello ann@example.org\nDB_PASSWORD=hunter2\npostgres://app:s3cr3t@db/x\nACME-1234\n";

fn redact(args: &[&str], text: &str) -> Output {
    let folder = tempfile::tempdir().unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_bailiwick"))
        .args(["--state".as_ref(), folder.path().as_os_str()])
        .arg("redact")
        .args(args)
        .current_dir(folder.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // One that refuses its arguments has gone by now.
    drop(child.stdin.take().unwrap().write_all(text.as_bytes()));
    child.wait_with_output().unwrap()
}

fn out(output: &Output) -> &str {
    std::str::from_utf8(&output.stdout).unwrap()
}

#[test]
fn a_text_passes_with_handles_in_place_of_what_is_secret() {
    let output = redact(&["--explain"], TEXT);
    assert!(output.status.success());
    let lines: Vec<&str> = out(&output).lines().collect();
    assert!(lines[0].starts_with("hello BW-email-") && lines[0].ends_with("-WB"), "{lines:?}");
    assert!(lines[1].starts_with("DB_PASSWORD=BW-secret-"));
    assert!(lines[2].starts_with("postgres://app:BW-url-password-") && lines[2].ends_with("-WB@db/x"));
    assert_eq!(lines[3], "ACME-1234");
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(told.contains("2:13: secret (secret), 7 bytes, possible"), "{told}");
    assert!(told.ends_with("3 found\n") && !told.contains("hunter2"), "{told}");
    assert_eq!(out(&redact(&["--personal", "none", "--least", "certain"], TEXT)), TEXT);
    let again = redact(&[], out(&output));
    assert_eq!(out(&again), out(&output), "handles stay as they are");
}

#[test]
fn findings_are_told_as_json_and_never_with_their_value() {
    let output = redact(&["--json", "--personal", "email"], TEXT);
    let told: Vec<Value> = out(&output).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let kinds: Vec<&str> = told.iter().map(|told| told["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["email", "secret", "url-password"]);
    assert_eq!((&told[2]["line"], &told[2]["column"], &told[2]["end"]), (&3.into(), &16.into(), &63.into()));
    assert!(!out(&output).contains("s3cr3t"));
}

#[test]
fn own_rules_count_when_their_examples_hold() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("rules.toml");
    let rule = |misses: &str| {
        let text = format!(
            "[[rule]]\nname = \"case-number\"\npattern = 'ACME-[0-9]{{4}}'\nmatches = [\"ACME-1234\"]\nnear_misses = [{misses}]\n"
        );
        std::fs::write(&file, text).unwrap();
        redact(&["--rules", file.to_str().unwrap()], TEXT)
    };
    assert!(out(&rule("\"ACME-12\"")).contains("BW-case-number-"));
    let refused = rule("\"ACME-9999\"");
    assert_eq!(refused.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("which it must not"));
    assert_eq!(redact(&["--personal", "shoe-size"], TEXT).status.code(), Some(2));
}

#[test]
fn logs_are_scanned_file_by_file_and_nothing_of_what_is_found_is_shown() {
    let folder = tempfile::tempdir().unwrap();
    let logs = folder.path().join("logs");
    std::fs::create_dir_all(logs.join("old")).unwrap();
    let token = format!("gh{}", "p_aB3dE5fG7hI9jK1lM2nO4pQ6rS8tU0vWxYzQ");
    std::fs::write(logs.join("a.log"), format!("one\ntwo {token}\nthree ann@example.org\n")).unwrap();
    std::fs::write(logs.join("old/b.log"), "nothing here\n").unwrap();
    std::os::unix::fs::symlink(logs.join("a.log"), logs.join("old/again.log")).unwrap();
    let scan = |args: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bailiwick"));
        command.args(["--state".as_ref(), folder.path().as_os_str()]).args(["scan", "logs"]);
        command.args(args).current_dir(folder.path()).output().unwrap()
    };
    let found = scan(&["logs"]);
    assert_eq!(found.status.code(), Some(1), "{found:?}");
    assert_eq!(out(&found), "logs/a.log:2:5: secret (github-token), 40 bytes, likely\n");
    let told = String::from_utf8_lossy(&found.stderr);
    assert!(told.contains("1 found in 2 files") && !told.contains(&token), "{told}");
    let json = scan(&["--json", "--personal", "all", "logs/a.log"]);
    let told: Vec<Value> = out(&json).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((told.len(), &told[1]["kind"], &told[1]["line"]), (2, &"email".into(), &3.into()), "{told:?}");
    assert!(!out(&json).contains(&token) && !out(&json).contains("ann@"));
    assert_eq!(scan(&["logs/old"]).status.code(), Some(0));
    assert_eq!(scan(&["logs/none"]).status.code(), Some(2), "what is not there was not read");
}
