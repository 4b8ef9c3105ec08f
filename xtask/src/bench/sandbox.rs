//! What a wall costs: `true` behind ours and behind others, a command in a sandbox that stands, and work that goes on inside.
//! What this machine lacks is skipped by name.

use super::numbers::{Times, round};
use anyhow::Context;
use serde_json::{Map, Value, json};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

/// Rounds in which every way takes its turn.
const ROUNDS: usize = 100;
/// Commands in one standing sandbox.
const WARM: usize = 200;
/// Rounds of work that takes seconds.
const WORK_ROUNDS: usize = 5;
/// Modules of the crate that is checked, for some seconds of work.
const MODULES: usize = 3_000;
/// Files of the workspace that is large.
const MANY_FILES: usize = 300_000;
/// Files in one folder of it.
const FOLDER_FILES: usize = 1_000;

/// One way of running `true`.
struct Way {
    name: &'static str,
    command: Box<dyn Fn() -> Command>,
}

pub(super) fn measure() -> anyhow::Result<Value> {
    let confine = confine()?;
    let bailiwick = crate::target().join("release/bailiwick").canonicalize()?;
    let room = tempfile::tempdir()?;
    let room = room.path().canonicalize()?;
    let (small, large) = (room.join("small"), room.join("large"));
    std::fs::create_dir(&small)?;
    populate(&large)?;
    let mut ways = vec![Way { name: "true, no wall", command: Box::new(|| Command::new("/bin/true")) }];
    for (name, workspace) in [("confine, 0 files", &small), ("confine, 300,000 files", &large)] {
        let order = room.join(format!("{}.json", name.len()));
        std::fs::write(&order, order_of(workspace, &room.join("state"), "true", &[]).to_string())?;
        let confine = confine.clone();
        ways.push(Way { name, command: Box::new(move || with(&confine, &[order.as_os_str().to_owned()])) });
    }
    std::fs::create_dir(room.join("state"))?;
    for (name, workspace) in
        [("bailiwick, 0 files", small.clone()), ("bailiwick, 300,000 files", large.clone())]
    {
        let (bailiwick, state) = (bailiwick.clone(), room.join("cli"));
        ways.push(Way {
            name,
            command: Box::new(move || {
                let mut command = with(&bailiwick, &["sandbox", "--", "true"].map(OsString::from));
                command.current_dir(&workspace).env("BAILIWICK_STATE", &state);
                command
            }),
        });
    }
    let mut skipped = Vec::new();
    for (name, words) in peers(&room)? {
        let Some((program, arguments)) = words.split_first() else { continue };
        let once = Command::new(program).args(arguments).stdin(Stdio::null()).output();
        match once {
            Ok(output) if output.status.success() => {
                let (program, arguments) = (program.clone(), arguments.to_vec());
                ways.push(Way { name, command: Box::new(move || with(Path::new(&program), &arguments)) });
            }
            Ok(output) => {
                let said =
                    String::from_utf8_lossy(&output.stderr).lines().last().unwrap_or_default().to_owned();
                skipped.push(format!("{name}: {said}"));
            }
            Err(error) => skipped.push(format!("{name}: {error}")),
        }
    }
    let mut times: Vec<Times> = ways.iter().map(|_| Times::default()).collect();
    for round in 0..=ROUNDS {
        for (way, times) in ways.iter().zip(&mut times) {
            let took = timed((way.command)())?;
            // The first round warms caches of files and names.
            if round > 0 {
                times.add(took);
            }
        }
    }
    let bubblewrap = ways.iter().position(|way| way.name == "bubblewrap").map(|at| times[at].at(0.5));
    let mut report = Map::new();
    for (way, times) in ways.iter().zip(&times) {
        let ratio = bubblewrap.map(|bubblewrap| round(times.at(0.5) / bubblewrap));
        times.say(way.name);
        if let Some(ratio) = ratio {
            println!(
                "  {:<34} {ratio} of bubblewrap, p95 {:.2} of its median",
                "",
                times.at(0.95) / times.at(0.5)
            );
        }
        let mut summary = times.summary();
        summary["p95_us"] = json!(round(times.at(0.95)));
        summary["of_bubblewrap"] = json!(ratio);
        report.insert(way.name.to_owned(), summary);
    }
    report.insert("warm".to_owned(), warm(&confine, &room, &small)?);
    report.insert("work".to_owned(), work(&confine, &room, &large)?);
    for skip in &skipped {
        println!("  skipped {skip}");
    }
    report.insert("skipped".to_owned(), json!(skipped));
    Ok(Value::Object(report))
}

/// The same work outside and inside, by turns: reading a large tree, and a build.
fn work(confine: &Path, room: &Path, large: &Path) -> anyhow::Result<Value> {
    let project = room.join("project");
    crate::succeed(
        Command::new("cargo")
            .args(["new", "--quiet", "--lib", "--vcs", "none"])
            .arg(&project)
            .stdin(Stdio::null()),
    )?;
    std::fs::write(project.join("src/lib.rs"), (0..MODULES).map(module).collect::<String>())?;
    crate::succeed(Command::new("git").args(["init", "--quiet"]).current_dir(large))?;
    // Tracked, so that each file is looked at, and not only its folder.
    crate::succeed(Command::new("git").args(["add", "."]).current_dir(large))?;
    let mut report = Map::new();
    for (name, folder, script) in [
        ("git status, 300,000 files", large, "git status --short --untracked-files=no | wc -l"),
        ("cargo check", project.as_path(), "touch src/lib.rs && cargo check --quiet --offline"),
    ] {
        let order = room.join("work.json");
        std::fs::write(&order, order_of(folder, &room.join("state"), "sh", &["-c", script]).to_string())?;
        let (mut outside, mut inside) = (Times::default(), Times::default());
        for round in 0..=WORK_ROUNDS {
            let mut shell = with(Path::new("sh"), &["-c", script].map(OsString::from));
            let took = [
                timed({
                    shell.current_dir(folder);
                    shell
                })?,
                timed(with(confine, &[order.as_os_str().to_owned()]))?,
            ];
            if round > 0 {
                outside.add(took[0]);
                inside.add(took[1]);
            }
        }
        let ratio = inside.at(0.5) / outside.at(0.5);
        println!(
            "  {name:<34} outside {:.0} ms, inside {:.0} ms, ratio {ratio:.3}",
            outside.at(0.5) / 1e3,
            inside.at(0.5) / 1e3
        );
        report.insert(
            name.to_owned(),
            json!({ "outside": outside.summary(), "inside": inside.summary(), "ratio": round(ratio) }),
        );
    }
    Ok(Value::Object(report))
}

/// A module that takes the compiler some thought.
fn module(n: usize) -> String {
    format!(
        "pub mod m{n} {{ use std::collections::BTreeMap; #[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)] \
         pub struct S {{ pub a: u64, pub b: String }} \
         pub fn f(x: &[S]) -> BTreeMap<String, Vec<u64>> {{ let mut m = BTreeMap::new(); for s in x {{ \
         m.entry(s.b.clone()).or_insert_with(Vec::new).push(s.a * {n}); }} m }} }}\n"
    )
}

/// Commands in one sandbox that stands already.
fn warm(confine: &Path, room: &Path, workspace: &Path) -> anyhow::Result<Value> {
    let order = room.join("warm.json");
    std::fs::write(&order, order_of(workspace, &room.join("state"), "true", &[]).to_string())?;
    let output =
        with(confine, &[order.into_os_string(), WARM.to_string().into()]).stdout(Stdio::piped()).output()?;
    let took: Vec<f64> = serde_json::from_slice(&output.stdout)
        .with_context(|| String::from_utf8_lossy(&output.stderr).into_owned())?;
    let mut times = Times::default();
    took.iter().for_each(|ms| times.add(std::time::Duration::from_secs_f64(ms / 1e3)));
    times.say("true in a standing sandbox");
    Ok(times.summary())
}

/// An order that asks for everything: the workspace changed in place, the network captured.
fn order_of(workspace: &Path, state: &Path, program: &str, arguments: &[&str]) -> Value {
    let home = std::env::var_os("HOME").map(PathBuf::from);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let runtimes = sandbox::runtimes::Runtimes::find(home.as_deref(), &path);
    let mut environment = runtimes.environment;
    environment.insert("PATH".to_owned(), runtimes.path);
    let profile = sandbox::Profile {
        workspace: Some(sandbox::Workspace {
            path: workspace.to_owned(),
            mode: sandbox::Mode::ReadWrite,
            protected: Vec::new(),
            blank: Vec::new(),
        }),
        read: runtimes.read,
        environment,
        network: sandbox::Network::Captured,
        ..sandbox::Profile::default()
    };
    json!({ "profile": profile, "state": state,
        "command": { "program": program, "arguments": arguments, "cwd": null } })
}

/// Other walls, each in its plainest form that separates all it can.
fn peers(room: &Path) -> anyhow::Result<Vec<(&'static str, Vec<OsString>)>> {
    let words = |text: &str| text.split(' ').map(OsString::from).collect::<Vec<_>>();
    let mut peers = vec![
        (
            "bubblewrap",
            words(
                "bwrap --ro-bind / / --dev /dev --proc /proc --tmpfs /tmp --unshare-all --die-with-parent true",
            ),
        ),
        ("nsjail", words("nsjail -Mo -Q --chroot / -- /bin/true")),
        ("srt", words("srt true")),
    ];
    for runtime in ["runc", "crun"] {
        let bundle = room.join(runtime);
        std::fs::create_dir(&bundle)?;
        let made = Command::new(runtime).arg("spec").current_dir(&bundle).output();
        if made.is_ok_and(|made| made.status.success()) {
            let file = bundle.join("config.json");
            let mut config: Value = serde_json::from_slice(&std::fs::read(&file)?)?;
            config["process"]["terminal"] = json!(false);
            config["process"]["args"] = json!(["/bin/true"]);
            config["root"] = json!({ "path": "/", "readonly": true });
            if let Some(mounts) = config["mounts"].as_array_mut() {
                mounts.retain(|mount| mount["type"] != "cgroup");
            }
            std::fs::write(&file, config.to_string())?;
        }
        let name = format!("bailiwick-bench-{}", std::process::id());
        let run = ["run", "--bundle"].map(OsString::from).into_iter();
        let words = std::iter::once(runtime.into()).chain(run).chain([bundle.into_os_string(), name.into()]);
        peers.push((runtime, words.collect()));
    }
    Ok(peers)
}

/// The small program that only confines, built like the rest.
fn confine() -> anyhow::Result<PathBuf> {
    crate::succeed(crate::cargo().args([
        "build",
        "--quiet",
        "--release",
        "--package",
        "bailiwick-sandbox",
        "--example",
        "confine",
    ]))?;
    Ok(crate::target().join("release/examples/confine").canonicalize()?)
}

fn populate(folder: &Path) -> anyhow::Result<()> {
    for start in (0..MANY_FILES).step_by(FOLDER_FILES) {
        let folder = folder.join(format!("d{start}"));
        std::fs::create_dir_all(&folder)?;
        (start..start + FOLDER_FILES)
            .try_for_each(|number| std::fs::write(folder.join(number.to_string()), ""))?;
    }
    Ok(())
}

fn with(program: &Path, arguments: &[OsString]) -> Command {
    let mut command = Command::new(program);
    command.args(arguments);
    command
}

fn timed(mut command: Command) -> anyhow::Result<std::time::Duration> {
    let begun = Instant::now();
    let status = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status()?;
    let took = begun.elapsed();
    anyhow::ensure!(status.success(), "{command:?} ended with {status}");
    Ok(took)
}
