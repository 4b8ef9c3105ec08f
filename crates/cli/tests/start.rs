//! The policies that `init` writes decide what their table says. The table is what a new user can rely on.

use std::process::Command;

#[test]
fn the_starting_policies_hold_their_table() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let project = folder.path().join("project");
    std::fs::create_dir(&project).expect("a project folder");
    let run = |args: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_bailiwick"))
            .args(args)
            .current_dir(&project)
            .env("BAILIWICK_STATE", folder.path().join("state"))
            .env("HOME", folder.path())
            .output()
            .expect("the binary runs");
        let text =
            [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
        (output.status.code(), text)
    };
    let desk = format!("crm={} demo-server crm --db missing.db", env!("CARGO_BIN_EXE_bailiwick"));
    assert_eq!(run(&["init", "--yes", "--server", &desk]).0, Some(0));
    let cases = project.join(".bailiwick/cases/claude-code.md");
    std::fs::write(&cases, include_str!("data/claude-code.md")).expect("the case file is written");
    let (code, text) = run(&["policy", "test"]);
    assert_eq!(code, Some(0), "{text}");
    assert!(!text.contains(" of 0 cases"), "{text}");
}
