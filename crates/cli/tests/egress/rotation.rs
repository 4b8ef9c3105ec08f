//! A secret is rotated again and again while requests that carry it never stop. No request may fail, and what begins after a
//! rotation has ended goes out with the new value.

use crate::common::finish;
use crate::ground::{Ground, PYTHON, found_in};
use crate::served::{Served, set_up};
use std::collections::BTreeSet;
use std::path::Path;

const ROTATIONS: usize = 6;
/// Requests between two rotations, at least.
const REQUESTS: usize = 25;

/// Asks without end from several threads, each over one connection, and writes down how each request fared. The path names
/// the last rotation that had ended before the request began.
const LOAD: &str = r#"
import http.client, os, ssl, threading
port, token = int(os.environ["PORT"]), os.environ["TOKEN"]
log = open("load.log", "w", buffering=1)
def ask():
    by, count = None, 0
    while not os.path.exists("stop"):
        seen = int(open("rotated").read() or 0)
        try:
            by = by or http.client.HTTPSConnection("api.example.test", port, timeout=30, context=ssl.create_default_context())
            by.request("GET", f"/repos/at-{seen}/echo/body", headers={"Authorization": "Bearer " + token})
            answer = by.getresponse()
            text = answer.read().decode()
            log.write(("ok" if answer.status == 200 and token in text else f"failed {answer.status} {text!r}") + "\n")
            count += 1
            if count % 7 == 0:
                by.close(); by = None
        except Exception as error:
            log.write(f"failed {type(error).__name__} {error}\n")
            by = None
threads = [threading.Thread(target=ask) for _ in range(4)]
for thread in threads: thread.start()
for thread in threads: thread.join()
"#;

fn value(version: usize) -> String {
    format!("ghp_version{version}x3f9c0d5e8b2146af{version}z")
}

/// Rotates while the load is there, and judges what arrived.
fn rotate_under_load(ground: &Ground) {
    let log = ground.project().join("load.log");
    let lines = || std::fs::read_to_string(&log).unwrap_or_default().lines().count();
    let wait_for_more = || {
        let before = lines();
        crate::common::eventually("requests go on", || (lines() >= before + REQUESTS).then_some(()));
    };
    for number in 1..=ROTATIONS {
        wait_for_more();
        let ran = ground.run(&["secret", "rotate", "github"], value(number).as_bytes());
        assert_eq!(ran.code, 0, "{ran:?}");
        swap(&ground.project().join("rotated"), &number.to_string());
    }
    wait_for_more();
    std::fs::write(ground.project().join("stop"), "").unwrap();
}

/// Replaces a file, so that nobody reads half of it.
fn swap(file: &Path, text: &str) {
    std::fs::write(file.with_extension("new"), text).unwrap();
    std::fs::rename(file.with_extension("new"), file).unwrap();
}

fn lay() -> Ground {
    let ground = Ground::new();
    let ran = ground.run(&["secret", "set", "github"], value(0).as_bytes());
    assert_eq!(ran.code, 0, "{ran:?}");
    std::fs::write(ground.project().join("rotated"), "0").unwrap();
    std::fs::write(ground.project().join("load.py"), LOAD).unwrap();
    ground
}

fn judge(ground: &Ground, said: &str) {
    let log = std::fs::read_to_string(ground.project().join("load.log")).unwrap();
    let failed: Vec<&str> = log.lines().filter(|line| *line != "ok").collect();
    assert!(failed.is_empty(), "{} of {}: {failed:.9?}\n{said:.2000}", failed.len(), log.lines().count());
    let values: Vec<String> = (0..=ROTATIONS).map(value).collect();
    let mut used = BTreeSet::new();
    for one in ground.upstream.received() {
        let shown = one.header("authorization");
        let version = values.iter().position(|value| shown == format!("Bearer {value}"));
        let version = version.unwrap_or_else(|| panic!("{shown} is none of the values"));
        let least = one.target.split(['-', '/']).find_map(|part| part.parse::<usize>().ok()).unwrap();
        assert!(version >= least, "version {version} went out after rotation {least} had ended");
        used.insert(version);
    }
    assert_eq!(used.len(), ROTATIONS + 1, "every version was used: {used:?}");
    let needles: Vec<&str> = values.iter().map(String::as_str).collect();
    assert_eq!(found_in(&ground.state(), &needles), Vec::<std::path::PathBuf>::new());
    assert_eq!(found_in(&ground.project(), &needles), Vec::<std::path::PathBuf>::new());
    assert!(needles.iter().all(|value| !said.contains(value)), "a value was printed or logged");
}

#[test]
fn rotation_fails_no_request_of_a_sandbox() {
    let ground = lay();
    let token = ["--env".to_owned(), "TOKEN=${secret:github}".to_owned()];
    let shown = PYTHON.folders.iter().flat_map(|it| ["--read".to_owned(), it.display().to_string()]);
    let options: Vec<String> = ground.api().into_iter().chain(token).chain(shown).collect();
    let mut sandbox = ground.sandbox(&options, &[&PYTHON.program, "load.py"]);
    let ran = std::thread::scope(|scope| {
        let load = scope.spawn(|| finish(&mut sandbox, b""));
        rotate_under_load(&ground);
        load.join().unwrap()
    });
    judge(&ground, &format!("{}{}", ran.out, ran.err));
}

#[test]
fn rotation_fails_no_request_of_a_server() {
    let ground = lay();
    set_up(&ground);
    let mut served = Served::start(&ground);
    let python = ground.python().to_owned();
    std::thread::scope(|scope| {
        let load = scope.spawn(|| served.script(&format!("exec {python} load.py")));
        rotate_under_load(&ground);
        let said = load.join().unwrap();
        assert_eq!(said, "");
    });
    let log = served.gate.log();
    drop(served);
    judge(&ground, &log);
}
