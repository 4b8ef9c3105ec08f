//! What runs leave on the host: nothing, whoever ends them, and however. Also what needs two parties to see: streaming and
//! signals.

use crate::subject::{Place, Running, Subject};
use rustix::process::{Pid, Signal, kill_process};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::time::{Duration, Instant};

/// Runs in a row that must leave nothing.
const RUNS: usize = 100;
/// Longest that cleaning up after a killed caller takes, in milliseconds.
const CLEAN_MS_MAX: u64 = 20_000;

type Check = fn(&Subject) -> Result<(), String>;

/// What is asked.
pub(crate) const CHECKS: [(&str, Check); 6] = [
    ("output streams while input is open", streams),
    ("signals are passed on", signals),
    ("a signal ends what does not handle it", unhandled),
    ("a killed caller leaves nothing", killed),
    ("a killed caller leaves nothing while starting", killed_early),
    ("a hundred runs leave nothing", hundred),
];

fn line(running: &mut Running) -> String {
    let mut line = String::new();
    let output = running.child.stdout.as_mut().unwrap();
    // One byte at a time: what follows stays in the pipe.
    let _ = BufReader::with_capacity(1, output).read_line(&mut line);
    line
}

fn pid(running: &Running) -> Pid {
    Pid::from_child(&running.child)
}

fn equal<T: PartialEq + std::fmt::Debug>(found: T, wanted: T) -> Result<(), String> {
    if found == wanted { Ok(()) } else { Err(format!("{found:?}, not {wanted:?}")) }
}

fn streams(subject: &Subject) -> Result<(), String> {
    let place = subject.place();
    let script = "echo ready; read word; echo got $word; read word; echo end $word";
    let mut running = subject.start(&place, &subject.profile(&place), &["sh", "-c", script]);
    equal(line(&mut running), "ready\n".to_owned())?;
    running.child.stdin.as_mut().unwrap().write_all(b"one\n").map_err(|error| error.to_string())?;
    equal(line(&mut running), "got one\n".to_owned())?;
    let ran = running.end("two\n");
    equal((ran.status, ran.output.as_str()), (0, "end two\n"))
}

fn signals(subject: &Subject) -> Result<(), String> {
    for (signal, name) in [
        (Signal::TERM, "TERM"),
        (Signal::INT, "INT"),
        (Signal::HUP, "HUP"),
        (Signal::QUIT, "QUIT"),
        (Signal::USR1, "USR1"),
        (Signal::USR2, "USR2"),
    ] {
        let place = subject.place();
        let script =
            format!("trap 'echo got {name}; exit 7' {name}; echo ready; while :; do sleep 0.05; done");
        let mut running = subject.start(&place, &subject.profile(&place), &["sh", "-c", &script]);
        equal(line(&mut running), "ready\n".to_owned())?;
        kill_process(pid(&running), signal).map_err(|error| error.to_string())?;
        let ran = running.end("");
        equal((ran.status, ran.output), (7, format!("got {name}\n")))?;
    }
    Ok(())
}

fn unhandled(subject: &Subject) -> Result<(), String> {
    let place = subject.place();
    let mut running =
        subject.start(&place, &subject.profile(&place), &["sh", "-c", "echo ready; exec sleep 1000"]);
    equal(line(&mut running), "ready\n".to_owned())?;
    kill_process(pid(&running), Signal::TERM).map_err(|error| error.to_string())?;
    equal(running.end("").status, 143)
}

fn killed(subject: &Subject) -> Result<(), String> {
    let place = subject.place();
    // A marker that only processes of this run have in their command line.
    let mark = format!("1000{:07}", std::process::id() % 10_000_000);
    let script = format!("setsid sleep {mark} & sleep {mark} & echo ready; exec sleep {mark}");
    let mut running = subject.start(&place, &subject.profile(&place), &["sh", "-c", &script]);
    equal(line(&mut running), "ready\n".to_owned())?;
    let id = running.child.id();
    running.child.kill().map_err(|error| error.to_string())?;
    running.child.wait().map_err(|error| error.to_string())?;
    until(|| left(&place, id, &mark))
}

fn killed_early(subject: &Subject) -> Result<(), String> {
    for wait_ms in (0..30).chain([40, 60, 80]) {
        let place = subject.place();
        let mark = format!("2000{:07}", std::process::id() % 10_000_000);
        let mut running = subject.start(&place, &subject.profile(&place), &["sleep", &mark]);
        // Any moment will do; it decides only how far the start has come.
        std::thread::sleep(Duration::from_millis(wait_ms));
        let id = running.child.id();
        running.child.kill().map_err(|error| error.to_string())?;
        running.child.wait().map_err(|error| error.to_string())?;
        // Killed between writing names down and hiring a janitor, it leaves them to the next sandbox of the workspace.
        until(|| processes(&place, &mark)).map_err(|why| format!("after {wait_ms} ms: {why}"))?;
        equal(subject.run(&place, &subject.profile(&place), &["true"], "").status, 0)?;
        until(|| left(&place, id, &mark)).map_err(|why| format!("after {wait_ms} ms: {why}"))?;
    }
    Ok(())
}

fn hundred(subject: &Subject) -> Result<(), String> {
    let mounts = || std::fs::read_to_string("/proc/self/mountinfo").map_err(|error| error.to_string());
    let before = mounts()?;
    let place = subject.place();
    let mark = format!("3000{:07}", std::process::id() % 10_000_000);
    let script = format!("(setsid sleep {mark} &); echo $((1 + 1))");
    for _ in 0..RUNS {
        let running = subject.start(&place, &subject.profile(&place), &["sh", "-c", &script]);
        let id = running.child.id();
        let ran = running.end("");
        equal((ran.status, ran.output.as_str()), (0, "2\n"))?;
        if let Some(left) = left(&place, id, &mark) {
            return Err(left);
        }
    }
    equal(mounts()?, before)
}

/// Waits until nothing is left.
fn until(left: impl Fn() -> Option<String>) -> Result<(), String> {
    let begun = Instant::now();
    loop {
        match left() {
            None => return Ok(()),
            Some(left) if begun.elapsed() > Duration::from_millis(CLEAN_MS_MAX) => return Err(left),
            Some(_) => std::thread::sleep(Duration::from_millis(10)),
        }
    }
}

/// A process of a run.
fn processes(place: &Place, mark: &str) -> Option<String> {
    for process in std::fs::read_dir("/proc").ok()?.flatten() {
        let line = std::fs::read(process.path().join("cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        if line.contains(mark)
            || place.workspace.parent().is_some_and(|base| line.contains(&*base.to_string_lossy()))
        {
            return Some(format!("process {}: {line}", process.file_name().display()));
        }
    }
    None
}

/// What is left of a run whose caller was process `id`.
fn left(place: &Place, id: u32, mark: &str) -> Option<String> {
    if let Some(process) = processes(place, mark) {
        return Some(process);
    }
    // The order is the caller's; what the program was told is not.
    let workspace: Vec<_> =
        std::fs::read_dir(&place.workspace).ok()?.flatten().map(|it| it.file_name()).collect();
    if !workspace.is_empty() {
        return Some(format!("in the workspace: {workspace:?}"));
    }
    let kept = |name: &str| name.starts_with("reserved-") || name == "stash";
    let state = std::fs::read_dir(&place.state).ok()?.flatten();
    if let Some(found) =
        state.map(|it| it.file_name().to_string_lossy().into_owned()).find(|name| !kept(name))
    {
        return Some(format!("in the state: {found}"));
    }
    group(Path::new("/sys/fs/cgroup"), &format!("bailiwick-{id}-"), 3)
}

/// A control group of the caller's.
fn group(folder: &Path, prefix: &str, depth: usize) -> Option<String> {
    for entry in std::fs::read_dir(folder).ok()?.flatten() {
        if !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            continue;
        }
        if entry.file_name().to_string_lossy().starts_with(prefix) {
            return Some(format!("control group {}", entry.path().display()));
        }
        if depth > 0
            && let Some(found) = group(&entry.path(), prefix, depth - 1)
        {
            return Some(found);
        }
    }
    None
}
