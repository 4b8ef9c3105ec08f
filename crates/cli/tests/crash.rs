//! Kills the gate at random moments of many calls, then asks the journal and the server what happened.
//! Nothing the server saw may be missing from the journal, and no edit of the journal may go unseen.
//!
//! `CRASH_CALLS` and `CRASH_KILLS` scale the run; `CRASH_SEED` repeats one.

mod common;

use common::{Client, Gate, POLICY, Project, Ran, ran, unique, words};
use serde_json::{Value, json};
use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Calls one client has under way.
const UNDER_WAY: usize = 24;
const CLIENTS: usize = 2;

#[test]
fn what_happened_is_in_the_journal_wherever_the_gate_was_killed() {
    let number = |name: &str, default: u64| {
        std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
    };
    let (calls, kills) = (number("CRASH_CALLS", 10_000), number("CRASH_KILLS", 25));
    let mut seed = number("CRASH_SEED", u64::from(std::process::id()) << 20 | unique());
    eprintln!("CRASH_SEED={seed}");
    let project = Project::new(POLICY);
    let mut acknowledged: HashSet<String> = HashSet::new();
    let mut seen: Vec<PathBuf> = Vec::new();
    let mut round = 0;
    while round < kills || (acknowledged.len() as u64) < calls {
        let gate = Gate::start(&project);
        // Sometimes before the first answer, sometimes after many.
        let until = random(&mut seed) % (2 * calls / kills + 1);
        let answered = AtomicU64::new(0);
        let clients: Vec<Client> = (0..CLIENTS).map(|_| Client::connect(&project)).collect();
        let told: Vec<String> = std::thread::scope(|scope| {
            let answered = &answered;
            let running: Vec<_> = clients
                .into_iter()
                .enumerate()
                .map(|(which, client)| {
                    scope.spawn(move || keep_calling(client, &format!("{round}-{which}"), answered))
                })
                .collect();
            while answered.load(Ordering::Relaxed) < until {
                std::thread::sleep(Duration::from_micros(200));
            }
            std::thread::sleep(Duration::from_micros(random(&mut seed) % 3_000));
            if round % 5 == 0 {
                seen.push(checkpoint(&project));
            }
            gate.kill9();
            running.into_iter().flat_map(|thread| thread.join().expect("the client ends")).collect()
        });
        acknowledged.extend(told);
        if round % 5 == 0 {
            holds(&verify(&project, &seen));
        }
        round += 1;
    }
    // A last start closes what the last kill left open.
    assert_eq!(Gate::start(&project).stop(), Some(0));
    holds(&verify(&project, &seen));
    account(&project, &acknowledged);
}

/// Compares what the server saw and what clients were told with what the journal holds.
fn account(project: &Project, acknowledged: &HashSet<String>) {
    let journal = project.journal();
    let mut decided: HashMap<&str, (&str, usize)> = HashMap::new();
    let mut outcomes: HashMap<&str, Vec<&str>> = HashMap::new();
    for (at, record) in journal.iter().enumerate() {
        let call = record["call"].as_str().unwrap_or_default();
        match record["kind"].as_str() {
            Some("decision") => {
                assert_eq!(record["decision"], "allow", "{record}");
                let mark = record["arguments"]["mark"].as_str().expect("a mark");
                assert!(decided.insert(mark, (call, at)).is_none(), "`{mark}` was decided on twice");
            }
            Some("outcome") => {
                outcomes.entry(call).or_default().push(record["status"].as_str().expect("a status"))
            }
            _ => {}
        }
    }
    let effects = project.marks();
    let distinct: HashSet<&String> = effects.iter().collect();
    assert_eq!(distinct.len(), effects.len(), "a call had its effect twice");
    for mark in &effects {
        assert!(decided.contains_key(mark.as_str()), "`{mark}` had an effect and no record");
    }
    for mark in acknowledged {
        assert!(decided.contains_key(mark.as_str()), "`{mark}` was acknowledged and is not in the journal");
        assert!(distinct.contains(mark), "`{mark}` was acknowledged and never happened");
    }
    let mut ambiguous = 0;
    for (mark, (call, _)) in &decided {
        let ended = outcomes.get(call).map(Vec::as_slice).unwrap_or_default();
        assert!(matches!(ended, ["ok" | "ambiguous" | "cancelled"]), "`{mark}` ended as {ended:?}");
        if ended == ["ambiguous"] {
            ambiguous += 1;
        } else if ended == ["ok"] {
            assert!(distinct.contains(&(*mark).to_owned()), "`{mark}` ended well and never happened");
        }
    }
    let reported: u64 = journal
        .iter()
        .filter(|record| record["kind"] == "recovered")
        .map(|record| record["ambiguous"].as_u64().expect("a count"))
        .sum();
    assert_eq!(reported, ambiguous, "the gate counts what it found open");
    eprintln!(
        "{} acknowledged, {} effects, {} decisions, {ambiguous} ambiguous, {} records",
        acknowledged.len(),
        effects.len(),
        decided.len(),
        journal.len()
    );
}

/// Calls until the gate is gone and every call has its answer; the marks whose calls were answered as done.
fn keep_calling(mut client: Client, name: &str, answered: &AtomicU64) -> Vec<String> {
    let mut waiting: HashMap<u64, String> = HashMap::new();
    let mut told = Vec::new();
    let mut count = 0_u64;
    let mut ended = false;
    loop {
        while !ended && waiting.len() < UNDER_WAY {
            let mark = format!("{name}-{count}");
            count += 1;
            let id = client.begin_call("fix__act", json!({ "mark": mark }));
            waiting.insert(id, mark);
        }
        if waiting.is_empty() {
            return told;
        }
        let answer = client.receive().expect("every call is answered, also after the gate's end");
        let Some(mark) = answer["id"].as_u64().and_then(|id| waiting.remove(&id)) else { continue };
        if ran(&answer) {
            assert_eq!(words(&answer), format!("done {mark}"));
            told.push(mark);
            answered.fetch_add(1, Ordering::Relaxed);
        } else {
            let why = answer["error"]["message"].as_str().unwrap_or_default();
            assert!(
                why.contains("the gate has ended") || why.contains("the gate ended before it answered"),
                "{answer}"
            );
            ended = true;
        }
    }
}

fn checkpoint(project: &Project) -> PathBuf {
    let printed = project.run(&["journal", "checkpoint"]);
    assert_eq!(printed.code, 0, "{printed:?}");
    let path = project.path().join(format!("seen-{}", unique()));
    std::fs::write(&path, printed.out).expect("the project's folder");
    path
}

fn verify(project: &Project, seen: &[PathBuf]) -> Ran {
    let key = std::fs::read_to_string(project.state().join("journal.vkey")).expect("a public key");
    verify_folder(project, &project.journal_folder(), key.trim(), seen)
}

fn verify_folder(project: &Project, folder: &Path, key: &str, seen: &[PathBuf]) -> Ran {
    let mut command = project.bailiwick();
    command.args(["journal", "verify", "--key", key, "--log"]).arg(folder);
    for path in seen {
        command.arg("--seen").arg(path);
    }
    common::finish(&mut command, b"")
}

fn holds(verified: &Ran) {
    assert!(verified.code == 0 && verified.out.contains("signed and unbroken"), "{verified:?}");
}

/// xorshift64*, enough to pick moments.
fn random(seed: &mut u64) -> u64 {
    *seed |= 1;
    *seed ^= *seed >> 12;
    *seed ^= *seed << 25;
    *seed ^= *seed >> 27;
    seed.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 11
}

/// A journal that has been through a clean stop, a kill and a start, with a checkpoint of before and an old copy.
struct Written {
    project: Project,
    key: String,
    old: PathBuf,
    seen: PathBuf,
    _gate: Gate,
}

fn written() -> Written {
    let project = Project::new(POLICY);
    let call = |count: usize| {
        let mut client = Client::connect(&project);
        for number in 0..count {
            assert!(ran(&client.call("fix__act", json!({ "mark": format!("m-{number}") }))));
        }
    };
    let gate = Gate::start(&project);
    call(300);
    assert_eq!(gate.stop(), Some(0));
    let old = project.path().join("old");
    copy(&project.journal_folder(), &old);
    let gate = Gate::start(&project);
    call(20);
    gate.kill9();
    let gate = Gate::start(&project);
    call(20);
    let seen = checkpoint(&project);
    let key = std::fs::read_to_string(project.state().join("journal.vkey"))
        .expect("a public key")
        .trim()
        .to_owned();
    Written { project, key, old, seen, _gate: gate }
}

#[test]
fn every_change_to_a_journal_is_found_beside_the_same_journal_untouched() {
    let Written { project, key, old, seen, _gate } = written();
    let copies = project.path().join("copies");
    std::fs::create_dir(&copies).expect("a fresh folder");
    let fresh = |name: &str| {
        let to = copies.join(name);
        copy(&project.journal_folder(), &to);
        to
    };
    let check = |folder: &Path, seen: &[PathBuf]| verify_folder(&project, folder, &key, seen);
    let anchor = std::slice::from_ref(&seen);
    holds(&check(&fresh("untouched"), anchor));

    let published = |folder: &Path| folder.join("tile/entries/000");
    let last_wal = |folder: &Path| {
        let mut files: Vec<_> = std::fs::read_dir(folder.join("wal"))
            .expect("a log")
            .map(|entry| entry.expect("an entry").path())
            .collect();
        files.sort();
        files
            .into_iter()
            .rfind(|file| std::fs::metadata(file).is_ok_and(|found| found.len() > 0))
            .expect("a log file")
    };
    // What only the file is changed with: the bytes, before and after.
    type Edit = Box<dyn Fn(Vec<u8>) -> Vec<u8>>;
    let replaced = |from: &'static str, to: &'static str| -> Edit {
        Box::new(move |bytes| {
            let at = find(&bytes, from.as_bytes()).unwrap_or_else(|| panic!("{from} is in the file"));
            [&bytes[..at], to.as_bytes(), &bytes[at + from.len()..]].concat()
        })
    };
    let edits: Vec<(&str, bool, Edit, &str)> = vec![
        ("a byte of a published entry", true, replaced("m-7\"", "m-8\""), "was edited"),
        (
            "a published decision",
            true,
            replaced("\"decision\":\"allow\"", "\"decision\":\"alloW\""),
            "was edited",
        ),
        ("a published record deleted", true, Box::new(|bytes| without(bytes, 5)), "leaf 5"),
        ("two published records swapped", true, Box::new(|bytes| swapped(bytes, 5)), "leaf 5"),
        (
            "the last published record deleted",
            true,
            Box::new(|bytes| without(bytes, 255)),
            "tile/entries/000",
        ),
        (
            "a byte of a record not yet published",
            false,
            replaced("\"decision\":\"allow\"", "\"decision\":\"alloW\""),
            "damaged",
        ),
        (
            "a group not yet published deleted",
            false,
            Box::new(|bytes| groups(bytes, |groups| drop(groups.remove(1)))),
            "removed, repeated or reordered",
        ),
        (
            "two groups not yet published swapped",
            false,
            Box::new(|bytes| groups(bytes, |groups| groups.swap(1, 2))),
            "removed, repeated or reordered",
        ),
    ];
    for (what, is_published, edit, names) in edits {
        let folder = fresh(&what.replace(' ', "-"));
        let file = if is_published { published(&folder) } else { last_wal(&folder) };
        let before = std::fs::read(&file).expect("the file");
        let after = edit(before.clone());
        assert_ne!(before, after, "{what}");
        std::fs::write(&file, &after).expect("the copy");
        found(what, &check(&folder, &[]), names);
        std::fs::write(&file, &before).expect("the copy");
        holds(&check(&folder, anchor));
    }

    let gone = fresh("gone");
    std::fs::remove_file(published(&gone)).expect("the file");
    found("a file deleted", &check(&gone, &[]), "missing");

    // An older copy is a journal in good order; only what was kept elsewhere shows that it was longer.
    holds(&check(&old, &[]));
    found("a rollback", &check(&old, anchor), "rolled back");
    // The checkpoint rolled forward again does not help the older entries.
    let grafted = copies.join("grafted");
    copy(&old, &grafted);
    std::fs::copy(&seen, grafted.join("checkpoint")).expect("the copy");
    let result = check(&grafted, &[]);
    assert_eq!(result.code, 1, "{result:?}");

    let other = Project::new(POLICY);
    assert_eq!(Gate::start(&other).stop(), Some(0));
    let other_key = std::fs::read_to_string(other.state().join("journal.vkey")).expect("a key");
    found("another key", &verify_folder(&project, &fresh("key"), other_key.trim(), &[]), "checkpoint");
    let result = verify_folder(&project, &other.journal_folder(), &key, &[]);
    found("another journal", &result, "checkpoint");
}

fn found(what: &str, verified: &Ran, names: &str) {
    assert_eq!(verified.code, 1, "{what}: {verified:?}");
    assert!(verified.out.contains("broken") && verified.out.contains(names), "{what}: {verified:?}");
}

/// Entry bundles are entries, each after its length in two bytes (C2SP tlog-tiles).
fn entries(bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut entries = Vec::new();
    let mut rest = bytes;
    while let [high, low, tail @ ..] = rest {
        let length = usize::from(*high) << 8 | usize::from(*low);
        entries.push(rest[..2 + length].to_vec());
        rest = &tail[length..];
    }
    entries
}

fn without(bytes: Vec<u8>, index: usize) -> Vec<u8> {
    let mut entries = entries(&bytes);
    entries.remove(index);
    entries.concat()
}

fn swapped(bytes: Vec<u8>, index: usize) -> Vec<u8> {
    let mut entries = entries(&bytes);
    entries.swap(index, index + 1);
    entries.concat()
}

/// The groups of a write-ahead file, each beginning with its magic.
fn groups(bytes: Vec<u8>, change: impl Fn(&mut Vec<Vec<u8>>)) -> Vec<u8> {
    const MAGIC: &[u8] = b"\x89bwkwal\x01";
    let mut starts: Vec<usize> =
        (0..bytes.len().saturating_sub(MAGIC.len())).filter(|at| bytes[*at..].starts_with(MAGIC)).collect();
    starts.push(bytes.len());
    let mut groups: Vec<Vec<u8>> = starts.windows(2).map(|pair| bytes[pair[0]..pair[1]].to_vec()).collect();
    assert!(groups.len() > 4, "there are groups to change");
    change(&mut groups);
    groups.concat()
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("the copy's folder");
    for entry in std::fs::read_dir(from).expect("the folder") {
        let entry = entry.expect("an entry");
        let target = to.join(entry.file_name());
        if entry.file_type().expect("its type").is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).expect("the copy");
        }
    }
}

#[test]
fn a_kill_in_the_middle_of_a_call_leaves_it_ambiguous_beside_one_that_ended() {
    let project = Project::new(POLICY);
    let gate = Gate::start(&project);
    let mut client = Client::connect(&project);
    assert!(ran(&client.call("fix__act", json!({ "mark": "ended" }))));
    let open = client.begin_call("fix__act", json!({ "mark": "open", "behave": "gated" }));
    common::eventually("the call has its effect", || {
        project.marks().contains(&"open".to_owned()).then_some(())
    });
    gate.kill9();
    // The client does not wait for ever, nor is it told that nothing happened.
    let answer = client.answer(open);
    assert!(words(&answer).contains("may have happened"), "{answer}");
    let answer = client.call("fix__act", json!({ "mark": "late" }));
    assert!(words(&answer).contains("denied: the gate has ended"), "{answer}");
    let before: Vec<Value> = project.records("outcome");
    let gate = Gate::start(&project);
    let status = |mark: &str| {
        let journal = project.journal();
        let decision =
            journal.iter().find(|record| record["arguments"]["mark"] == mark).expect("a decision").clone();
        let outcomes: Vec<_> = journal
            .iter()
            .filter(|record| record["kind"] == "outcome" && record["call"] == decision["call"])
            .map(|record| record["status"].as_str().unwrap_or_default().to_owned())
            .collect();
        outcomes
    };
    assert_eq!(before.len(), 1, "{before:?}");
    assert_eq!((status("ended"), status("open")), (vec!["ok".to_owned()], vec!["ambiguous".to_owned()]));
    // It is closed once, not at every start.
    gate.kill9();
    assert_eq!(Gate::start(&project).stop(), Some(0));
    assert_eq!(status("open"), ["ambiguous"]);
    std::fs::write(project.fixture().join("go"), "").expect("the fixture's folder");
    assert_eq!(project.marks(), ["ended", "open"]);
}

#[test]
fn a_gate_killed_while_it_starts_can_start_again() {
    let project = Project::new(POLICY);
    let mut seed = u64::from(std::process::id()) << 20 | unique();
    for round in 0..20 {
        // Sometimes the very first start, sometimes one over a journal that is there.
        if round % 2 == 0 {
            drop(std::fs::remove_dir_all(project.state()));
        }
        let mut starting = project
            .bailiwick()
            .args(["serve", "--listen", "127.0.0.1:0"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("the gate starts");
        std::thread::sleep(Duration::from_micros(random(&mut seed) % 100_000));
        starting.kill().expect("it was running");
        starting.wait().expect("it ends");
        let gate = Gate::start(&project);
        assert!(ran(&Client::connect(&project).call("fix__act", json!({ "mark": format!("{round}") }))));
        gate.kill9();
        holds(&verify(&project, &[]));
    }
    assert_eq!(project.effects().len(), 20);
}

#[test]
fn however_a_call_is_cut_off_it_has_one_outcome() {
    let project = Project::new(POLICY);
    let began = |client: &mut Client, mark: &str| {
        let id = client.begin_call("fix__act", json!({ "mark": mark, "behave": "gated" }));
        common::eventually("the call has its effect", || {
            project.marks().contains(&mark.to_owned()).then_some(())
        });
        id
    };
    let outcomes = |mark: &str| -> Vec<Value> {
        let journal = project.journal();
        let decision = journal.iter().find(|record| record["arguments"]["mark"] == mark).expect("a decision");
        let of = |record: &&Value| record["kind"] == "outcome" && record["call"] == decision["call"];
        journal.iter().filter(of).map(|record| record["status"].clone()).collect()
    };
    let gate = Gate::start(&project);
    // The client goes away, takes the call back, or the gate is told to stop.
    let mut gone = Client::connect(&project);
    began(&mut gone, "gone");
    drop(gone);
    common::eventually("the outcome is written", || (!outcomes("gone").is_empty()).then_some(()));
    let mut client = Client::connect(&project);
    let id = began(&mut client, "taken-back");
    client.send(
        &json!({ "jsonrpc": "2.0", "method": "notifications/cancelled", "params": { "requestId": id } }),
    );
    common::eventually("the outcome is written", || (!outcomes("taken-back").is_empty()).then_some(()));
    // The server is still busy with it, so the last call needs a server of its own.
    let mut client = Client::connect(&project);
    let id = began(&mut client, "stopped");
    assert_eq!(gate.stop(), Some(0));
    assert!(words(&client.answer(id)).contains("may have happened"));
    std::fs::write(project.fixture().join("go"), "").expect("the fixture's folder");
    assert_eq!(Gate::start(&project).stop(), Some(0));
    assert_eq!(outcomes("gone"), ["cancelled"]);
    assert_eq!(outcomes("taken-back"), ["cancelled"]);
    let stopped = outcomes("stopped");
    assert!(stopped == ["cancelled"] || stopped == ["ambiguous"], "{stopped:?}");
    assert_eq!(project.marks().len(), 3);
    holds(&verify(&project, &[]));
}
