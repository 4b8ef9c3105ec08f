//! Real programs try to get out, each first where nothing stops it: an attack that cannot succeed outside proves nothing.
//! Success is read from the host (a canary, a process, a listener, a file), never from what an attack says went wrong.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "the test fails where the machine does; counts are for the reader"
)]

#[path = "escape/boundaries.rs"]
mod boundaries;
#[path = "escape/ground.rs"]
mod ground;
#[path = "escape/leftovers.rs"]
mod leftovers;
#[path = "escape/limits.rs"]
mod limits;
#[path = "escape/verdict.rs"]
mod verdict;

use ground::{Case, Ground, How, Person, Range};
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use verdict::{Before, Verdict};

/// How many attacks run at once.
const WORKERS: usize = 3;

/// What is known to get through, and why; each is named in SECURITY.md. One that no longer does fails the test, until it is
/// taken off this list.
const KNOWN: [(&str, &str); 6] = [
    ("read_only_socket", "only Landlock ABI 9 (Linux 7.1) can keep a program from a socket that it sees"),
    ("workspace_socket_read_only", "the same"),
    ("set_id_rewritten_by_mapping", "the kernel keeps a set-id bit over a write through a mapping"),
    ("set_id_copied_up", "overlayfs keeps the bit; it is never applied"),
    ("broken_git_beside_bare_repository", "git's own files must be replaceable, .git/HEAD too"),
    ("nested_repository_in_index", "names deeper than the workspace's root are not kept"),
];

/// Known where these tests lie below `/tmp`: what may be written there includes fifos of folders shown below it.
const KNOWN_BELOW_TMP: &str = "read_only_fifo";

/// Attacks that need a profile which is refused.
const REFUSED: [&str; 2] = ["workspace_renamed_from_above", "workspace_replaced_from_above"];

/// What became of one attack by one person.
#[derive(Default)]
struct Tally {
    attempts: usize,
    proven: usize,
    held: usize,
    holes: Vec<String>,
    /// Attacks that fail outside as well, by person, with the reason.
    skipped: Vec<String>,
    /// Attempts that never began.
    broken: Vec<String>,
}

#[test]
fn nothing_gets_out() {
    let range = Range::open();
    let only = std::env::var("ESCAPE_ONLY").unwrap_or_default();
    let cases: Vec<Case> = range.cases().into_iter().filter(|case| case.name.contains(&only)).collect();
    let tallies: Mutex<BTreeMap<Person, Tally>> = Mutex::default();
    let queue: Vec<(Person, &Case)> =
        Person::all().into_iter().flat_map(|person| cases.iter().map(move |case| (person, case))).collect();
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..WORKERS {
            scope.spawn(|| {
                while let Some((person, case)) = queue.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let tried = attempt(&range, *person, case);
                    let mut tallies = tallies.lock().unwrap();
                    let tally = tallies.entry(*person).or_default();
                    tally.attempts += tried.attempts;
                    tally.proven += tried.proven;
                    tally.held += tried.held;
                    tally.holes.extend(tried.holes);
                    tally.skipped.extend(tried.skipped);
                    tally.broken.extend(tried.broken);
                }
            });
        }
    });
    let tallies = tallies.into_inner().unwrap();
    let mut failures = Vec::new();
    for (person, tally) in &tallies {
        println!(
            "{person}: {} cases, {} attempts, {} with a control that works, {} contained; {} skipped: {}",
            cases.len(),
            tally.attempts,
            tally.proven,
            tally.held,
            tally.skipped.len(),
            tally.skipped.join(", ")
        );
        let below_tmp = env!("CARGO_TARGET_TMPDIR").starts_with("/tmp/");
        let is_known = |hole: &&String| {
            KNOWN.iter().any(|(name, _)| hole.starts_with(&format!("{name} ")))
                || (below_tmp && hole.starts_with(KNOWN_BELOW_TMP))
        };
        let (known, new): (Vec<&String>, Vec<&String>) = tally.holes.iter().partition(is_known);
        println!(
            "{person}: {} attempts get through as known: {}",
            known.len(),
            KNOWN.map(|(name, _)| name).join(", ")
        );
        let gone = KNOWN.iter().filter(|(name, _)| {
            name.contains(&only) && !known.iter().any(|hole| hole.starts_with(&format!("{name} ")))
        });
        failures.extend(
            gone.map(|(name, _)| format!("{person}: {name} no longer gets through; take it off the list")),
        );
        failures.extend(new.into_iter().map(|hole| format!("{person}: HOLE {hole}")));
        failures.extend(tally.broken.iter().map(|broken| format!("{person}: DID NOT RUN {broken}")));
    }
    assert!(failures.is_empty(), "{} failures:\n{}", failures.len(), failures.join("\n"));
}

/// One attack by one person: outside, inside, and inside by a grandchild.
fn attempt(range: &Range, person: Person, case: &Case) -> Tally {
    let mut tally = Tally::default();
    let (verdict, said) = try_once(range, person, case, How::Outside);
    match verdict {
        Verdict::Escaped => tally.proven += 1,
        _ if case.control == "root" && person != Person::Root => {
            tally.skipped.push(format!("{} (outside only root can)", case.name));
        }
        _ => {
            if std::env::var_os("ESCAPE_LOUD").is_some() {
                println!("{person} {}: fails outside: {said}", case.name);
            }
            tally.skipped.push(format!("{} (fails outside too)", case.name));
        }
    }
    // An attack without a control is tried all the same: should it succeed, that is a hole.
    for how in [How::Inside, How::Grandchild] {
        tally.attempts += 1;
        let (verdict, said) = try_once(range, person, case, how);
        if std::env::var_os("ESCAPE_LOUD").is_some() {
            println!("{person} {} {how:?}: {verdict:?} {said}", case.name);
        }
        match verdict {
            Verdict::Escaped => tally.holes.push(format!("{} ({how:?})", case.name)),
            Verdict::Contained => tally.held += 1,
            Verdict::NotBegun if REFUSED.contains(&case.name.as_str()) => tally.held += 1,
            Verdict::NotBegun => tally.broken.push(format!("{} ({how:?}): {}", case.name, said.trim())),
        }
    }
    tally
}

fn try_once(range: &Range, person: Person, case: &Case, how: How) -> (Verdict, String) {
    let ground = Ground::lay(range, person, case);
    let before = Before::look(range, &ground);
    let said = ground.run(range, case, how);
    (verdict::judge(range, &ground, case, &before, &said), said.error)
}
