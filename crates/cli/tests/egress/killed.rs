//! A gate that is killed without warning takes everything inside with it: from then on nothing arrives anywhere, and no
//! process of the sandbox is left.

use crate::common::eventually;
use crate::ground::{Ground, PYTHON};
use crate::served::{Served, set_up};
use std::process::{Child, Stdio};

/// Asks without end, over old connections and new ones, from a process and from its grandchild that outlives its parents.
/// What begins after the gate was killed has another path.
const BEAT: &str = r#"
import http.client, os, ssl, time
port, token = int(os.environ["PORT"]), os.environ["TOKEN"]
if os.fork() == 0:
    os.setsid()
    if os.fork(): os._exit(0)
by, who = None, os.getpid()
while True:
    after = "after" if os.path.exists("killed") else "before"
    try:
        by = by or http.client.HTTPSConnection("api.example.test", port, timeout=5, context=ssl.create_default_context())
        by.request("GET", f"/repos/{after}/{who}", headers={"Authorization": "Bearer " + token})
        by.getresponse().read()
        if os.urandom(1)[0] < 64: by = None
    except Exception as error:
        by = None
    time.sleep(0.005)
"#;

/// Processes of this machine that name the project or its state in their command line, or have its home.
pub(crate) fn left(ground: &Ground) -> Vec<String> {
    let marks = [ground.project(), ground.home(), ground.state()].map(|path| path.display().to_string());
    let mut found = Vec::new();
    for process in std::fs::read_dir("/proc").unwrap().flatten() {
        if process.file_name().to_string_lossy().parse::<u32>().is_err() {
            continue;
        }
        let read = |name: &str| std::fs::read(process.path().join(name)).unwrap_or_default();
        let text = [read("cmdline"), read("environ")].map(|all| String::from_utf8_lossy(&all).into_owned());
        if marks.iter().any(|mark| text.iter().any(|text| text.contains(mark))) {
            found.push(format!("{}: {}", process.file_name().display(), text[0].replace('\0', " ")));
        }
    }
    found
}

/// Waits until both processes were heard.
fn both_beat(ground: &Ground) {
    eventually("both processes are heard", || {
        let received = ground.upstream.received();
        let mut all: Vec<_> = received.iter().map(|one| one.target.clone()).collect();
        all.sort();
        all.dedup();
        (all.len() >= 2 && received.len() > 20).then_some(())
    });
}

/// What has to be true once the gate is dead, which it is when this is called.
fn all_is_over(ground: &Ground) {
    std::fs::write(ground.project().join("killed"), "").unwrap();
    eventually("every process inside has ended", || left(ground).is_empty().then_some(()));
    let late: Vec<_> =
        ground.upstream.received().into_iter().filter(|one| one.target.contains("after")).collect();
    assert!(late.is_empty(), "the network outlived the gate: {late:?}");
    std::fs::remove_file(ground.project().join("killed")).unwrap();
}

#[test]
fn nothing_inside_outlives_a_killed_gate() {
    let ground = Ground::new();
    set_up(&ground);
    std::fs::write(ground.project().join("beat.py"), BEAT).unwrap();
    let Served { gate, mut client } = Served::start(&ground);
    let beat = ground.project().join("beat.py");
    let script = format!("{} {} > /dev/null 2>&1 & echo started", ground.python(), beat.display());
    let begun = client.call("sh", serde_json::json!({ "script": script }));
    assert!(begun.to_string().contains("started"), "{begun}");
    both_beat(&ground);
    let alive = left(&ground);
    for program in ["server.py", "beat.py"] {
        assert!(alive.iter().any(|one| one.contains(program)), "{program} is found: {alive:?}");
    }
    gate.kill9();
    drop(client);
    all_is_over(&ground);
    let mut again = Served::start(&ground);
    let reached = again.script("curl -sS https://api.example.test:$PORT/repos/again");
    assert_eq!(reached, "reached\n", "the next gate is whole: {}", again.gate.log());
    let verified = ground.run(&["journal", "verify"], b"");
    assert_eq!(verified.code, 0, "{verified:?}");
}

#[test]
fn nothing_inside_outlives_a_killed_sandbox() {
    let ground = Ground::new();
    std::fs::write(ground.project().join("beat.py"), BEAT).unwrap();
    let token = ["--env".to_owned(), "TOKEN=${secret:github}".to_owned()];
    let shown = PYTHON.folders.iter().flat_map(|it| ["--read".to_owned(), it.display().to_string()]);
    let options: Vec<String> = ground.api().into_iter().chain(token).chain(shown).collect();
    let beat = ground.project().join("beat.py").display().to_string();
    let mut sandbox = ground.sandbox(&options, &[&PYTHON.program, &beat]);
    let quiet = sandbox.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child: Child = quiet.spawn().unwrap();
    both_beat(&ground);
    assert!(left(&ground).iter().filter(|one| one.contains("beat.py")).count() >= 2);
    child.kill().unwrap();
    child.wait().unwrap();
    all_is_over(&ground);
    let again = ground.inside(&ground.api(), "curl -sS https://api.example.test:$PORT/again");
    assert_eq!(again.out, "reached\n", "{again:?}");
}
