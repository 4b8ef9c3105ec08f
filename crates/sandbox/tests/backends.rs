//! One table of promises, asked of every backend in the same words: natively and by each OCI runtime that is installed, as
//! root and as an ordinary user. A backend that cannot be had here is named with the reason, never passed over in silence.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test's failure is its message")]

#[path = "backends/case.rs"]
mod case;
#[path = "backends/identity.rs"]
mod identity;
#[path = "backends/limits.rs"]
mod limits;
#[path = "backends/protection.rs"]
mod protection;
#[path = "backends/running.rs"]
mod running;
#[path = "backends/subject.rs"]
mod subject;
#[path = "backends/system_calls.rs"]
mod system_calls;
#[path = "backends/teardown.rs"]
mod teardown;
#[path = "backends/view.rs"]
mod view;

use case::Case;
use subject::{Backend, Subject, User};

/// All that is promised, by subject matter.
fn table() -> Vec<Case> {
    [
        identity::cases(),
        view::cases(),
        protection::cases(),
        running::cases(),
        system_calls::cases(),
        limits::cases(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Asks everything of one backend as one user.
fn ask(backend: Backend, user: User) {
    let subject = match Subject::prepare(backend, user) {
        Ok(subject) => subject,
        Err(why) => {
            println!("skipped: {} as {}: {why}", backend.name(), user.name());
            return;
        }
    };
    let (mut passed, mut skipped, mut failures) = (0, 0, Vec::new());
    for case in table() {
        match case.ask(&subject) {
            Ok(case::Answer::Same) => passed += 1,
            Ok(case::Answer::Skipped(why)) => {
                skipped += 1;
                println!("skipped: {} as {}: {}: {why}", backend.name(), user.name(), case.name);
            }
            Err(why) => failures.push(format!("{}: {why}", case.name)),
        }
    }
    for (name, check) in teardown::CHECKS {
        match check(&subject) {
            Ok(()) => passed += 1,
            Err(why) => failures.push(format!("{name}: {why}")),
        }
    }
    println!(
        "{} as {}: {passed} passed, {} failed, {skipped} skipped",
        backend.name(),
        user.name(),
        failures.len()
    );
    assert!(failures.is_empty(), "{} as {}:\n{}", backend.name(), user.name(), failures.join("\n"));
}

/// A runtime that leaves something out must not get a receipt that says it did not.
#[test]
fn a_runtime_is_held_to_its_word() {
    // A name that no family knows, so that every option comes from the script.
    let subject = match Subject::prepare(Backend::Oci("crun"), User::Root) {
        Ok(subject) => subject,
        Err(why) => return println!("skipped: a runtime is held to its word: {why}"),
    };
    for (edit, status, complaint) in [
        ("s/x/x/", 0, ""),
        (r#"s/"noNewPrivileges":true/"noNewPrivileges":false/"#, 125, "NoNewPrivs"),
        (r#"s/"bounding":\[\]/"bounding":["CAP_KILL"]/"#, 125, "CapBnd"),
        (r#"s/"uid":1000,/"uid":0,/;s/"uid":1000}/"uid":0}/"#, 125, "Uid"),
        (r#"s/"seccomp":/"unseccomp":/"#, 125, "Seccomp"),
    ] {
        let ran = subject.run_edited(edit);
        assert_eq!(ran.status, status, "{edit}: {}", ran.error);
        assert!(ran.error.contains(complaint), "{edit}: {}", ran.error);
    }
}

macro_rules! subjects {
    ($($test:ident $backend:expr, $user:expr;)*) => {
        $(#[test] fn $test() { ask($backend, $user); })*
    };
}

subjects! {
    native_as_root Backend::Native, User::Root;
    native_as_ordinary_user Backend::Native, User::Ordinary;
    crun_as_root Backend::Oci("crun"), User::Root;
    crun_as_ordinary_user Backend::Oci("crun"), User::Ordinary;
    runc_as_root Backend::Oci("runc"), User::Root;
    runc_as_ordinary_user Backend::Oci("runc"), User::Ordinary;
    youki_as_root Backend::Oci("youki"), User::Root;
    youki_as_ordinary_user Backend::Oci("youki"), User::Ordinary;
    runsc_as_root Backend::Oci("runsc"), User::Root;
    runsc_as_ordinary_user Backend::Oci("runsc"), User::Ordinary;
}
