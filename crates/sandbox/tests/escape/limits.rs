//! Bombs: each is stopped by the bound that it exceeds, the bound is named in the outcome, and a neighbour runs on.
//! Outside the same bombs go off; they are small enough for any machine.

use crate::ground::{Case, Ground, How, Person, Range, heard};
use sandbox::Outcome;
use sandbox::profile::{End, Home, Limit, Mode, Profile};
use std::fs;
use std::path::Path;

/// What the profile allows, in bytes.
const MEMORY_BYTES: u64 = 64 << 20;
/// What bombs of memory take, in bytes.
const BOMB_BYTES: u64 = 192 << 20;

/// Memory that only a control group counts: buffers of sockets.
const UNCOUNTED: &str = "sockets";

/// What a bomb must meet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Met {
    /// It is ended, or not given more, and where it is ended the outcome names this.
    Named(Limit),
    /// It ends its own sandbox.
    Ended,
    /// It is told by a failing call and nobody else needs to know.
    Refused,
}

const BOMBS: [(&str, Met); 25] = [
    ("anonymous", Met::Named(Limit::Memory)),
    ("many_processes", Met::Named(Limit::Memory)),
    ("many_unreadable_processes", Met::Named(Limit::Memory)),
    ("many_misnamed_processes", Met::Named(Limit::Memory)),
    ("many_headless_processes", Met::Named(Limit::Memory)),
    ("many_processes_amid_deaths", Met::Named(Limit::Memory)),
    ("many_processes_and_a_slow_first", Met::Named(Limit::Memory)),
    ("many_processes_and_a_blind_first", Met::Ended),
    ("shared", Met::Named(Limit::Memory)),
    ("shared_and_unmapped", Met::Named(Limit::Memory)),
    ("memory_files", Met::Named(Limit::Memory)),
    ("scratch_files", Met::Named(Limit::Memory)),
    ("system_v_segments", Met::Named(Limit::Memory)),
    ("pipes", Met::Named(Limit::Memory)),
    ("sockets", Met::Named(Limit::Memory)),
    ("page_tables", Met::Named(Limit::Memory)),
    ("processes", Met::Named(Limit::Processes)),
    ("descriptors", Met::Refused),
    ("small_files", Met::Refused),
    ("one_long_file", Met::Refused),
    ("disk_of_workspace", Met::Named(Limit::Disk)),
    ("disk_of_home", Met::Named(Limit::Disk)),
    ("disk_of_writable_folder", Met::Named(Limit::Disk)),
    ("output", Met::Named(Limit::Output)),
    ("time_it_takes", Met::Named(Limit::Time)),
];

#[test]
fn bombs_are_contained_and_named() {
    let range = Range::open();
    let only = std::env::var("ESCAPE_ONLY").unwrap_or_default();
    // Two users at a time: most of a bomb is waiting for it to go off.
    let failures: Vec<String> = std::thread::scope(|scope| {
        let (range, only) = (&range, &only);
        let users = Person::all().into_iter();
        let all: Vec<_> = users.map(|person| scope.spawn(move || bombed(range, person, only))).collect();
        all.into_iter().flat_map(|one| one.join().unwrap()).collect()
    });
    assert!(failures.is_empty(), "{} failures:\n{}", failures.len(), failures.join("\n"));
}

fn bombed(range: &Range, person: Person, only: &str) -> Vec<String> {
    let (mut failures, mut attempts, mut skipped) = (Vec::new(), 0, Vec::new());
    for (bomb, met) in BOMBS.iter().filter(|(bomb, _)| bomb.contains(only)) {
        if !goes_off_outside(range, person, bomb) {
            skipped.push(*bomb);
        }
        attempts += 1;
        if let Some(hole) = tried(range, person, bomb, *met) {
            if *bomb == UNCOUNTED && person != Person::Root {
                println!("{person}: {bomb} is not counted without a control group, as known");
                continue;
            }
            failures.push(format!("{person}: HOLE {bomb}: {hole}"));
        }
    }
    let names = skipped.join(", ");
    println!("{person}: {attempts} bombs, {} skipped (fail outside too): {names}", skipped.len());
    failures
}

fn variables(ground: &Ground, how: &str) -> Vec<(String, String)> {
    let path = |name: &str| ground.at(name).display().to_string();
    [
        ("BOMB_BYTES", BOMB_BYTES.to_string()),
        ("HOW", how.to_owned()),
        ("TOKEN", ground.token.clone()),
        ("WORK", ground.work.display().to_string()),
        ("KEPT", path("home")),
        ("WRITABLE", path("out/empty")),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into()
}

fn goes_off_outside(range: &Range, person: Person, bomb: &str) -> bool {
    let ground = Ground::lay(range, person, &Case::plain(""));
    let mut command = person.command(Path::new("/usr/bin/python3"));
    command.args(["-S", "-E"]).arg(range.attacks().join("bombs.py")).arg(bomb).current_dir(&ground.work);
    heard(command.envs(variables(&ground, "outside")), false);
    ground.at("work/held").exists()
}

/// What is wrong about how `bomb` was met, if anything is.
fn tried(range: &Range, person: Person, bomb: &str, met: Met) -> Option<String> {
    let ground = Ground::lay(range, person, &Case::plain(""));
    let profile = bounded(range, &ground, bomb);
    let script = range.attacks().join("bombs.py").display().to_string();
    let mut command =
        ground.confined(range, profile, &["/usr/bin/python3", "-S", "-E", &script, bomb], ground.state());
    let (said, neighbour) = std::thread::scope(|scope| {
        let running = scope.spawn(|| heard(&mut command, false));
        let other = Ground::lay(range, person, &Case::plain(""));
        let ordinary = other.profile(range, "ReadWrite", How::Inside);
        let neighbour = heard(&mut other.confined(range, ordinary, &["echo", "well"], other.state()), false);
        (running.join().unwrap(), neighbour)
    });
    if !neighbour.output.contains("well") {
        return Some(format!("a neighbour did not run: {}", neighbour.error));
    }
    let told =
        fs::read(ground.at("outcome")).ok().and_then(|text| serde_json::from_slice::<Outcome>(&text).ok());
    let Some(outcome) = told else { return Some(format!("no outcome: {}", said.error)) };
    let held = ground.at("work/held").exists() || ground.at("out/held").exists();
    let ended = matches!(outcome.end, End::Limit(_) | End::Signalled(_));
    match met {
        Met::Named(Limit::Processes) if outcome.reached.contains(&Limit::Processes) && !held => None,
        Met::Named(limit) if held => {
            let seen = fs::read_to_string(ground.at("work/held")).unwrap_or_default();
            Some(format!("went off in spite of {limit}: {:?} {:?}: {seen}", outcome.end, outcome.reached))
        }
        Met::Named(limit) if ended && !outcome.reached.contains(&limit) => {
            Some(format!("was stopped, but {limit} is not named: {:?} {:?}", outcome.end, outcome.reached))
        }
        Met::Named(limit @ (Limit::Disk | Limit::Output | Limit::Time | Limit::Processes))
            if !outcome.reached.contains(&limit) =>
        {
            Some(format!("{limit} is not named: {:?}", outcome.end))
        }
        Met::Refused | Met::Ended if held => Some(format!("was not refused: {:?}", outcome.end)),
        _ => None,
    }
}

fn bounded(range: &Range, ground: &Ground, bomb: &str) -> Profile {
    let mut profile = ground.profile(range, "ReadWrite", How::Inside);
    let limits = &mut profile.limits;
    limits.memory_bytes = MEMORY_BYTES;
    limits.scratch_bytes = 256 << 20;
    limits.scratch_files = 1_500;
    limits.processes = 60;
    limits.file_bytes = 512 << 20;
    limits.wall_ms = Some(15_000);
    // Descriptors are the means of other bombs.
    limits.open_files = if bomb == "descriptors" { 256 } else { 4_096 };
    match bomb {
        "output" => limits.output_bytes = Some(1 << 20),
        "time_it_takes" => limits.wall_ms = Some(700),
        disk if disk.starts_with("disk_") => {
            let found = rustix::fs::statvfs(ground.folder.path()).unwrap();
            limits.disk_spare_bytes = (found.f_bavail * found.f_frsize).saturating_sub(80 << 20);
        }
        _ => {}
    }
    match bomb {
        "disk_of_home" => profile.home = Home::Kept(ground.at("home")),
        "disk_of_writable_folder" => profile.write = vec![ground.at("out/empty")],
        _ => {}
    }
    if ["disk_of_home", "disk_of_writable_folder"].contains(&bomb) {
        // The bomb says that it went off in the workspace, so that one stays writable where the disk is another's.
        if let Some(workspace) = &mut profile.workspace {
            workspace.mode = Mode::ReadOnly;
        }
        profile.write.push(ground.at("out"));
        profile.environment.insert("WORK".to_owned(), ground.at("out").display().to_string());
    }
    profile.environment.extend(variables(ground, "inside").into_iter().filter(|(name, _)| name != "WORK"));
    profile
}
