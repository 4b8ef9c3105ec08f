//! Whole applies: killed at any moment, against doing the same directly, and as an ordinary user.

use crate::bench::{ALL, bench, chmod, opaque, outcomes, put, snapshot, whiteout};
use proptest::prelude::*;
use sandbox::overlay::{Allow, Overlay, Selection};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const VICTIM: &str = "OVERLAY_TEST_VICTIM";

/// Not a test by itself: what [`killed_anywhere_it_is_old_or_new`] starts and kills.
#[test]
fn victim() {
    let Some(root) = std::env::var_os(VICTIM).map(PathBuf::from) else { return };
    let overlay = Overlay::open(&root.join("state"), &root.join("work space")).unwrap();
    overlay.apply(&Selection::All, Allow::default()).unwrap();
}

#[test]
fn killed_anywhere_it_is_old_or_new() {
    let files = 2_000;
    let (old, new) = ("old ".repeat(500), "new! ".repeat(700));
    let (bench, overlay) =
        bench(|w| (0..files).step_by(2).for_each(|n| put(w, &format!("{}/{n}", n % 7), &old)));
    for n in 0..files {
        let path = format!("{}/{n}", n % 7);
        if n % 10 == 0 {
            fs::create_dir_all(bench.upper.join(&path).parent().unwrap()).unwrap();
            whiteout(&bench.upper.join(&path));
        } else {
            put(&bench.upper, &path, &new);
        }
    }
    drop(overlay);
    let (mut kills, mut partly, mut delay_us) = (0, BTreeSet::new(), 20_000_u64);
    // Grows where this machine has not come to the first file by then.
    let mut delay_us_max = 300_000;
    loop {
        let root = bench.dir.path().canonicalize().unwrap();
        let mut child = Command::new(std::env::current_exe().unwrap());
        let child = child.args(["--exact", "whole::victim"]).env(VICTIM, root).stdout(Stdio::null());
        let mut child = child.spawn().unwrap();
        delay_us = (delay_us * 7 + 3_331) % delay_us_max + 10_000;
        std::thread::sleep(std::time::Duration::from_micros(delay_us));
        let ended = if kills < 40 { child.try_wait().unwrap() } else { Some(child.wait().unwrap()) };
        if let Some(status) = ended {
            assert!(status.success());
            break;
        }
        child.kill().unwrap();
        child.wait().unwrap();
        kills += 1;
        let overlay = Overlay::open(&bench.state, &bench.workspace).unwrap();
        let listed: BTreeSet<PathBuf> =
            overlay.changes().unwrap().into_iter().map(|change| change.path).collect();
        if listed.len() == files && delay_us_max < 10_000_000 {
            delay_us_max *= 2;
        }
        partly.insert(listed.len());
        for n in 0..files {
            let path = PathBuf::from(format!("{}/{n}", n % 7));
            let text = fs::read_to_string(bench.workspace.join(&path)).ok();
            let (before, after) = ((n % 2 == 0).then_some(&old), (n % 10 != 0).then_some(&new));
            let is_done = text.as_ref() == after;
            assert!(is_done || text.as_ref() == before, "{path:?} is torn");
            assert_ne!(is_done, listed.contains(&path), "{path:?} is done or listed");
        }
    }
    println!("killed {kills} times, with this much left: {partly:?}");
    assert!(partly.len() > 2, "too slow or too fast to be killed in the middle");
    let overlay = Overlay::open(&bench.state, &bench.workspace).unwrap();
    assert!(overlay.changes().unwrap().is_empty() && fs::read_dir(&bench.upper).unwrap().next().is_none());
    let left = snapshot(&bench.workspace);
    assert_eq!(left.values().filter(|seen| seen.0 == 'f').count(), files - files / 10);
    assert!(left.values().all(|seen| seen.0 == 'd' || seen.2 == new.as_bytes()), "no temporary file stays");
}

/// A small tree: kind, mode, content; every folder above a path is there.
type Layout = BTreeMap<PathBuf, (char, u32, Vec<u8>)>;

fn layout() -> impl Strategy<Value = Layout> {
    let name = prop::sample::select(vec!["a", "b", "c", "new\nline", "\u{1b}e"]);
    let path = prop::collection::vec(name, 1..4).prop_map(|names| names.iter().collect::<PathBuf>());
    let node = prop_oneof![
        (prop::sample::select(vec![0o644, 0o755, 0o600]), 0_u8..3).prop_map(|(mode, byte)| (
            'f',
            mode,
            vec![byte; 9]
        )),
        prop::sample::select(vec![0o755, 0o700]).prop_map(|mode| ('d', mode, Vec::new())),
        prop::sample::select(vec!["a", "../b", "/etc"]).prop_map(|to| ('l', 0, to.as_bytes().to_vec())),
    ];
    prop::collection::vec((path, node), 0..14).prop_map(|wanted| {
        let mut layout = Layout::new();
        for (path, node) in wanted {
            let above = path.ancestors().skip(1).filter(|above| above.parent().is_some());
            if !layout.contains_key(&path)
                && above.clone().all(|p| layout.get(p).is_none_or(|seen| seen.0 == 'd'))
            {
                for above in above {
                    layout.entry(above.to_owned()).or_insert(('d', 0o755, Vec::new()));
                }
                layout.insert(path, node);
            }
        }
        layout
    })
}

fn lay_one(root: &Path, path: &Path, (kind, mode, content): &(char, u32, Vec<u8>)) {
    let path = root.join(path);
    match kind {
        'd' => fs::create_dir(&path).unwrap(),
        'l' => return symlink(std::ffi::OsStr::from_bytes(content), &path).unwrap(),
        _ => fs::write(&path, content).unwrap(),
    }
    chmod(&path, *mode);
}

/// Writes into `upper` what turns `old` into `new` at and below `folder`, as overlayfs would; `coins` decide where it
/// has a choice: an opaque folder or whiteouts, an identical copy or none.
fn write_upper(
    upper: &Path,
    folder: &Path,
    old: Option<&Layout>,
    new: &Layout,
    coins: &mut impl Iterator<Item = bool>,
) {
    let here = |layout: &Layout| {
        layout.keys().filter(|p| p.parent() == Some(folder)).cloned().collect::<BTreeSet<_>>()
    };
    let mut names = here(new);
    names.extend(old.map(here).unwrap_or_default());
    for path in names {
        let before = old.and_then(|old| old.get(&path));
        let Some(after) = new.get(&path) else {
            whiteout(&upper.join(path));
            continue;
        };
        if after.0 != 'd' {
            if before != Some(after) || coins.next().unwrap() {
                lay_one(upper, &path, after);
            }
            continue;
        }
        lay_one(upper, &path, after);
        let is_merged = before.is_some_and(|before| before.0 == 'd') && coins.next().unwrap();
        if !is_merged && (before.is_some() || coins.next().unwrap()) {
            opaque(&upper.join(&path));
        }
        write_upper(upper, &path, old.filter(|_| is_merged), new, coins);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn applied_is_the_same_as_done_directly(
        old in layout(),
        new in layout(),
        coins in prop::collection::vec(any::<bool>(), 64),
        (first, back) in (prop::sample::select(vec!["a", "b", "a/b"]), prop::sample::select(vec!["", "c", "a", "c/a", "a/b", "c/a/b"])),
    ) {
        let (bench, overlay) = bench(|w| old.iter().for_each(|(path, node)| lay_one(w, path, node)));
        write_upper(&bench.upper, Path::new(""), Some(&old), &new, &mut coins.iter().copied().cycle());
        // A part may be taken back, and a part applied, before the rest; nothing else moves.
        let (first, back) = (Path::new(first), Path::new(back));
        let mut expected = new.clone();
        if back.parent().is_some() && !first.starts_with(back) && !back.starts_with(first) {
            overlay.discard(&Selection::Paths(vec![back.to_owned()])).unwrap();
            let above = back.parent().filter(|above| above.parent().is_some());
            if above.is_none_or(|above| new.get(above).is_some_and(|seen| seen.0 == 'd')) {
                expected.retain(|path, _| !path.starts_with(back));
                expected.extend(old.clone().into_iter().filter(|(path, _)| path.starts_with(back)));
            }
        }
        let part = outcomes(overlay.apply(&Selection::Paths(vec![first.to_owned()]), ALL).unwrap());
        let applied: BTreeSet<PathBuf> =
            part.iter().filter(|(_, skip)| skip.is_none()).map(|(path, _)| path.into()).collect();
        for (path, seen) in snapshot(&bench.workspace) {
            prop_assert!(old.get(&path) == Some(&seen) || applied.contains(&path), "{:?}", path);
        }
        let all = outcomes(overlay.apply(&Selection::All, ALL).unwrap());
        prop_assert!(all.iter().all(|(_, skip)| skip.is_none()), "{:?}", all);
        prop_assert_eq!(snapshot(&bench.workspace), expected);
        prop_assert!(fs::read_dir(&bench.upper).unwrap().next().is_none());
    }
}

#[test]
fn all_of_it_as_an_ordinary_user() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    // Copied to where anybody may run it.
    let dir = tempfile::tempdir().unwrap();
    chmod(dir.path(), 0o755);
    let program = dir.path().join("tests");
    fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
    let mut tests = Command::new("setpriv");
    tests.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(&program).current_dir(dir.path());
    match tests.args(["--skip", "killed_anywhere", "--nocapture", "--test-threads=1"]).output() {
        Ok(done) => assert!(
            done.status.success(),
            "{}{}",
            String::from_utf8_lossy(&done.stdout),
            String::from_utf8_lossy(&done.stderr)
        ),
        Err(refused) => println!("skipped all_of_it_as_an_ordinary_user: {refused}"),
    }
}
