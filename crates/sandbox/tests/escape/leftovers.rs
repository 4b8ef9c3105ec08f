//! Nothing stays: a thousand runs, and hundreds whose caller is killed at any moment, leave no process, mount, control group
//! or reserved name. What a killed caller leaves may only wait for the next sandbox of the same workspace.

use crate::ground::{Case, Ground, How, Person, Range, SECRET};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

/// Runs that end by themselves, per person.
const RUNS: usize = 500;
/// Runs whose caller is killed, per person.
const KILLS: usize = 120;
/// System calls that change something, before each of which a caller is killed once.
const CHANGING: &str = "openat,write,mkdir,rename,renameat2,rmdir,unlink,link,clone,clone3,sendmsg,recvmsg,ftruncate,wait4,mount_setattr,pidfd_send_signal";
/// How long what was killed may take to be gone.
const GONE: Duration = Duration::from_secs(5);

#[test]
fn a_thousand_runs_leave_nothing() {
    let range = Range::open();
    std::thread::scope(|scope| {
        for person in Person::all() {
            let range = &range;
            scope.spawn(move || {
                let ground = Ground::lay(range, person, &Case::plain("git"));
                let before = found(range, &ground);
                for _ in 0..RUNS {
                    let profile = ground.profile(range, "ReadWrite", How::Inside);
                    let ended = ground.confined(range, profile, &["true"], ground.state()).status().unwrap();
                    assert!(ended.success());
                }
                assert_eq!(found(range, &ground), before, "{person}");
                println!("{person}: {RUNS} runs left nothing");
            });
        }
    });
}

#[test]
fn killed_callers_leave_nothing() {
    let range = Range::open();
    for person in Person::all() {
        let ground = Ground::lay(&range, person, &Case::plain("git"));
        let before = found(&range, &ground);
        let (mut seed, mut delayed, mut late) = (0x2545_f491_4f6c_dd1d_u64, BTreeSet::new(), 0);
        for _ in 0..KILLS {
            let profile = ground.profile(&range, "ReadWrite", How::Inside);
            let mut command = ground.confined(&range, profile, &["sleep", "20"], ground.state());
            let mut child = command.stderr(Stdio::null()).spawn().unwrap();
            // Any moment of the first forty milliseconds, by a fixed sequence.
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            std::thread::sleep(Duration::from_micros(seed % 40_000));
            child.kill().unwrap();
            child.wait().unwrap();
            let begun = Instant::now();
            while found(&range, &ground) != before && begun.elapsed() < Duration::from_millis(500) {
                std::thread::sleep(Duration::from_millis(5));
            }
            let left: Vec<_> = found(&range, &ground).difference(&before).cloned().collect();
            late += usize::from(!left.is_empty());
            delayed.extend(
                left.into_iter().map(|left| left.replace(&*ground.folder.path().to_string_lossy(), "")),
            );
        }
        if !delayed.is_empty() {
            println!(
                "{person}: after {late} of {KILLS} kills something waited for the next run: {delayed:?}"
            );
        }
        let profile = ground.profile(&range, "ReadWrite", How::Inside);
        assert!(ground.confined(&range, profile, &["true"], ground.state()).status().unwrap().success());
        let begun = Instant::now();
        while found(&range, &ground) != before && begun.elapsed() < GONE {
            std::thread::sleep(Duration::from_millis(20));
        }
        let left: Vec<_> = found(&range, &ground).difference(&before).cloned().collect();
        for process in left.iter().filter_map(|left| left.strip_prefix("process ")) {
            let id = process
                .split(' ')
                .next()
                .and_then(|id| id.parse().ok())
                .and_then(rustix::process::Pid::from_raw);
            let _ = id.map(|id| rustix::process::kill_process(id, rustix::process::Signal::KILL));
        }
        assert!(left.is_empty(), "{person}: {left:#?}");
        println!("{person}: {KILLS} killed callers left nothing behind for good");
    }
}

#[test]
fn callers_killed_at_every_system_call_leave_nothing() {
    if !Path::new("/usr/bin/strace").exists() {
        println!("skipped: callers_killed_at_every_system_call (strace is not installed)");
        return;
    }
    let range = Range::open();
    let mut holes = Vec::new();
    for person in Person::all() {
        let ground = Ground::lay(&range, person, &Case::plain("git"));
        let before = found(&range, &ground);
        let mut late = 0;
        let trace = ground.at("trace");
        let run = |kill: Option<&str>| {
            let profile = ground.profile(&range, "ReadWrite", How::Inside);
            let plain = ground.confined(&range, profile, &["true"], ground.state());
            let Some(kill) = kill else { return plain };
            let mut traced = person.command(Path::new("/usr/bin/strace"));
            traced.args(["-qqq", "-e", kill, "-o"]).arg(&trace).arg("--").arg(&range.confine);
            traced.arg(ground.at(&format!("order-{SECRET}.json"))).arg(ground.at("outcome"));
            traced
        };
        assert!(run(Some(&format!("trace={CHANGING}"))).status().unwrap().success());
        let text = fs::read_to_string(&trace).unwrap();
        let mut counts = std::collections::BTreeMap::<&str, usize>::new();
        let mut moments = Vec::new();
        for name in text.lines().filter_map(|line| Some(line.split_once('(')?.0)) {
            let count = counts.entry(name).or_default();
            *count += 1;
            moments.push(format!("inject={name}:signal=KILL:when={count}"));
        }
        for moment in &moments {
            let ended = run(Some(moment)).stderr(Stdio::null()).status().unwrap();
            if ended.success() {
                continue;
            }
            let settle = |most: Duration| {
                let begun = Instant::now();
                while found(&range, &ground) != before && begun.elapsed() < most {
                    std::thread::sleep(Duration::from_millis(2));
                }
                found(&range, &ground).difference(&before).cloned().collect::<Vec<_>>()
            };
            if settle(Duration::from_millis(100)).is_empty() {
                continue;
            }
            late += 1;
            let next = run(None).output().unwrap();
            let left = settle(Duration::from_millis(500));
            if !next.status.success() || !left.is_empty() {
                let why = String::from_utf8_lossy(&next.stderr).into_owned();
                holes.push(format!(
                    "{person}: HOLE killed at {moment}: the next run {}: {why} {left:?}",
                    next.status
                ));
                clear(&left);
            }
        }
        println!(
            "{person}: killed at each of {} system calls; after {late} of them something waited for the next run",
            moments.len()
        );
    }
    assert!(holes.is_empty(), "{} failures:\n{}", holes.len(), holes.join("\n"));
}

/// Takes away what a run left, so that the next is judged by itself.
fn clear(left: &[String]) {
    for left in left {
        let process = left.strip_prefix("process ").and_then(|rest| rest.split(' ').next()?.parse().ok());
        if let Some(id) = process.and_then(rustix::process::Pid::from_raw) {
            let _ = rustix::process::kill_process(id, rustix::process::Signal::KILL);
        } else if left.starts_with('/') {
            let _ = fs::remove_dir(left).or_else(|_| fs::remove_file(left));
        }
    }
}

/// Everything on the host that belongs to sandboxes of `ground`.
fn found(range: &Range, ground: &Ground) -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let is_process = entry.file_name().to_string_lossy().bytes().all(|byte| byte.is_ascii_digit());
        if is_process && fs::read_link(entry.path().join("exe")).is_ok_and(|exe| exe == range.confine) {
            let line = fs::read_to_string(entry.path().join("cmdline")).unwrap_or_default();
            if line.contains(&*ground.folder.path().to_string_lossy()) {
                all.insert(format!(
                    "process {} {}",
                    entry.file_name().to_string_lossy(),
                    line.replace('\0', " ")
                ));
            }
        }
    }
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let folder = ground.folder.path().to_string_lossy();
    all.extend(mounts.lines().filter(|line| line.contains(&*folder)).map(str::to_owned));
    if ground.person == Person::Root {
        all.extend(groups(&own_group()).into_iter().map(|group| format!("group {}", group.display())));
    }
    for folder in [ground.work.clone(), ground.at("work/.git")] {
        all.extend(fs::read_dir(folder).unwrap().flatten().map(|entry| entry.path().display().to_string()));
    }
    all
}

fn own_group() -> PathBuf {
    let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let path =
        own.lines().find_map(|line| line.split_once(":memory:")).map(|(_, path)| path).unwrap_or_default();
    Path::new("/sys/fs/cgroup/memory").join(path.trim_start_matches('/'))
}

/// Groups of sandboxes whose maker is gone.
fn groups(parent: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(parent).into_iter().flatten().flatten().map(|entry| entry.path());
    entries
        .filter(|path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let maker =
                name.strip_prefix("bailiwick-").and_then(|rest| rest.split('-').next().map(str::to_owned));
            maker.is_some_and(|maker| !Path::new("/proc").join(maker).exists())
        })
        .collect()
}
