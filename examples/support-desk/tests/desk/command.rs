//! The `support-desk` command as a client starts it: real processes, real pipes.

use std::io::Write;
use std::process::{Command, Output, Stdio};

use crate::HELLO;

fn run(arguments: &[&str], stdin: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_support-desk"))
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A command that is used wrongly leaves without reading.
    let _ = child.stdin.take().unwrap().write_all(stdin.as_bytes());
    child.wait_with_output().unwrap()
}

#[test]
fn each_use_has_its_exit_code_and_only_frames_reach_stdout() {
    let folder = tempfile::tempdir().unwrap();
    let db = folder.path().join("desk.db");
    let db = db.to_str().unwrap();
    for (arguments, status, frames) in [
        (vec!["crm", "--db", db], 1, 0),
        (vec!["seed", "--db", db], 0, 1),
        (vec!["seed", "--db", db], 1, 0),
        (vec!["crm", "--db", db], 0, 1),
        (vec!["--db", db, "mail"], 0, 1),
        (vec!["shop", "--db", db], 2, 0),
        (vec!["crm"], 2, 0),
        (vec!["crm", "--db"], 2, 0),
        (vec![], 2, 0),
    ] {
        let output = run(&arguments, HELLO);
        assert_eq!(output.status.code(), Some(status), "{arguments:?}");
        assert_eq!(output.stdout.iter().filter(|byte| **byte == b'\n').count(), frames, "{arguments:?}");
        assert_eq!(output.stderr.is_empty(), status == 0, "{arguments:?}");
    }
    assert!(run(&["--help"], "").status.success());
}
