//! Overlays made by hand and by the kernel, listed, applied, discarded, attacked and killed in the middle. Nothing here
//! mounts anything outside a namespace of its own, or writes outside its temporary folder.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "these are tests, and say what they skip")]

#[path = "overlay/bench.rs"]
mod bench;
#[path = "overlay/whole.rs"]
mod whole;

use bench::{
    ALL, after_the_beginning, bench, change_of, chmod, get, listed, opaque, outcomes, paths, put, snapshot,
    whiteout,
};
use rustix::fs::{CWD, FileType, Mode, RenameFlags};
use sandbox::overlay::{
    Allow, ENTRIES_MAX, Entry, Kind, LARGE_BYTES_MIN, Node, Overlay, OverlayError, Risk, Selection, Skip,
};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

#[test]
fn every_kind_of_change_is_listed_applied_and_gone() {
    let (bench, overlay) = bench(|w| {
        for (path, text) in
            [("same", "s"), ("edit", "old"), ("gone", "g"), ("d/x", "x"), ("d/y", "y"), ("m", "m")]
        {
            put(w, path, text);
        }
        for path in ["dead/a/b", "op/hidden", "op/kept", "op/sub/h", "f2d", "d2f/in"] {
            put(w, path, path);
        }
        symlink("same", w.join("link")).unwrap();
    });
    let u = &bench.upper;
    for (path, text) in
        [("same", "s"), ("edit", "new!"), ("d/x", "x2"), ("m", "m"), ("op/kept", "k2"), ("op/sub/n", "n")]
    {
        put(u, path, text);
    }
    for (path, text) in [("new/deep/file", "n"), ("f2d/in", "i"), ("d2f", "f")] {
        put(u, path, text);
    }
    for path in ["gone", "dead", "never-was"] {
        whiteout(&u.join(path));
    }
    chmod(&u.join("m"), 0o755);
    opaque(&u.join("op"));
    symlink("edit", u.join("link")).unwrap();

    let (file, folder) = (Node::File, Node::Folder);
    let expected = [
        ("d/x", Kind::Modified),
        ("d2f", Kind::Replaced { from: folder, to: file }),
        ("dead", Kind::Deleted(folder)),
        ("edit", Kind::Modified),
        ("f2d", Kind::Replaced { from: file, to: folder }),
        ("f2d/in", Kind::Added(file)),
        ("gone", Kind::Deleted(file)),
        ("link", Kind::Modified),
        ("m", Kind::Mode(file)),
        ("new", Kind::Added(folder)),
        ("new/deep", Kind::Added(folder)),
        ("new/deep/file", Kind::Added(file)),
        ("op/hidden", Kind::Deleted(file)),
        ("op/kept", Kind::Modified),
        ("op/sub/h", Kind::Deleted(file)),
        ("op/sub/n", Kind::Added(file)),
    ];
    assert_eq!(listed(&overlay), expected.map(|(path, kind)| (path.to_owned(), kind)));
    let edit = change_of(&overlay, "edit");
    let size = |entry: &Option<Entry>| entry.as_ref().unwrap().size_bytes;
    assert_eq!((size(&edit.before), size(&edit.after), edit.mode_change()), (3, 4, None));
    assert_eq!(change_of(&overlay, "m").mode_change(), Some((0o644, 0o755)));

    // One from the opaque folder first: its neighbours neither come to light nor go out.
    assert_eq!(
        outcomes(overlay.apply(&paths(&["op/kept"]), Allow::default()).unwrap()),
        [("op/kept".into(), None)]
    );
    assert_eq!(
        listed(&overlay),
        expected.map(|(p, k)| (p.to_owned(), k)).into_iter().filter(|c| c.0 != "op/kept").collect::<Vec<_>>()
    );
    let all = outcomes(overlay.apply(&Selection::All, Allow::default()).unwrap());
    assert!(all.iter().all(|(_, skip)| skip.is_none()), "{all:?}");

    let w = &bench.workspace;
    for (path, text) in [
        ("edit", "new!"),
        ("d/x", "x2"),
        ("d/y", "y"),
        ("new/deep/file", "n"),
        ("op/kept", "k2"),
        ("f2d/in", "i"),
        ("d2f", "f"),
        ("same", "s"),
    ] {
        assert_eq!(get(w, path), text, "{path}");
    }
    for path in ["gone", "dead", "op/hidden", "op/sub/h"] {
        assert!(!w.join(path).exists(), "{path}");
    }
    assert_eq!(fs::metadata(w.join("m")).unwrap().mode() & 0o7777, 0o755);
    assert!(listed(&overlay).is_empty() && fs::read_dir(u).unwrap().next().is_none());
}

#[test]
fn what_the_kernel_writes_is_what_is_read() {
    let script = "rm gone; rm -r dead; rm -r op; mkdir op; echo k >op/kept; echo more >>edit; touch same; ln -s edit l; \
                  chmod 755 m; mkdir -p n/e/w; echo n >n/e/w/f; mv edit moved; cp -r d copy; rm f2d; mkdir f2d; \
                  echo i >f2d/i; rm -r d2f; echo f >d2f; mkdir shut; echo s >shut/s; chmod 0 shut";
    let lay = |w: &Path| {
        for path in [
            "same",
            "edit",
            "gone",
            "dead/a/b",
            "d/x",
            "d/y",
            "op/hidden",
            "op/kept",
            "op/s/h",
            "m",
            "f2d",
            "d2f/i",
        ] {
            put(w, path, path);
        }
    };
    let (bench, overlay) = bench(lay);
    let there = bench.dir.path().join("mnt");
    let direct = bench.dir.path().join("direct");
    for folder in [&there, &direct] {
        fs::create_dir(folder).unwrap();
    }
    lay(&direct);
    // redirect_dir=off means `follow` on kernels that always follow, which userxattr forbids: `nofollow` is the one.
    let mount = "cd \"$1\" && mount -t overlay -o userxattr,redirect_dir=nofollow,metacopy=off,index=off,\
                 lowerdir='work space',upperdir=state/upper,workdir=state/work overlay mnt || exit 99; cd mnt && umask 022";
    let run = |before: &str, at: &Path| {
        let line = format!("{before}; set -e; {script}");
        Command::new("unshare").args(["-Ur", "-m", "sh", "-c", &line, "sh"]).arg(at).output()
    };
    let done = run(mount, &bench.dir.path().canonicalize().unwrap());
    match &done {
        Ok(done) if done.status.success() => {}
        Ok(done) if done.status.code() != Some(99) && !done.stderr.starts_with(b"unshare") => {
            panic!("{}", String::from_utf8_lossy(&done.stderr))
        }
        refused => return println!("skipped what_the_kernel_writes_is_what_is_read: {refused:?}"),
    }
    let plain = run("cd \"$1\" && umask 022", &direct).unwrap();
    assert!(plain.status.success(), "{}", String::from_utf8_lossy(&plain.stderr));

    let all = outcomes(overlay.apply(&Selection::All, Allow::default()).unwrap());
    assert!(all.iter().all(|(_, skip)| skip.is_none()), "{all:?}");
    for at in [&direct, &bench.workspace] {
        assert_eq!(fs::metadata(at.join("shut")).unwrap().mode() & 0o7777, 0);
        chmod(&at.join("shut"), 0o700);
    }
    assert_eq!(snapshot(&bench.workspace), snapshot(&direct));
    assert!(listed(&overlay).is_empty());
    // The kernel's own `work/work` has mode 0000; the overlay mounts again after everything is discarded.
    overlay.discard(&Selection::All).unwrap();
    assert!(fs::read_dir(bench.state.join("work")).unwrap().next().is_none());
}

#[test]
fn risks_beside_what_is_none() {
    let (bench, overlay) = bench(|w| {
        put(w, "was", "x");
        put(w, "run", "x");
        chmod(&w.join("run"), 0o755);
        put(w, "package.json", r#"{"scripts":{"t":"a"},"version":"1"}"#);
        put(w, "sub/package.json", r#"{"scripts":{"t":"a"}}"#);
    });
    let u = &bench.upper;
    for path in [
        ".git/hooks/pre-commit",
        "sub/.envrc",
        "AGENTS.md",
        "plain",
        "x",
        "set",
        "run",
        "bare/config",
        "bare/HEAD",
    ] {
        put(u, path, "y");
    }
    put(u, "bare/objects/o", "y");
    put(u, "conf/config", "y");
    put(u, "package.json", r#"{"version":"2","scripts":{"t":"a"}}"#);
    put(u, "sub/package.json", r#"{"scripts":{"t":"b"}}"#);
    put(u, "a\u{202e}b", "");
    chmod(&u.join("x"), 0o755);
    chmod(&u.join("run"), 0o755);
    chmod(&u.join("set"), 0o4644);
    fs::File::create(u.join("huge")).unwrap().set_len(LARGE_BYTES_MIN).unwrap();
    fs::File::create(u.join("big")).unwrap().set_len(LARGE_BYTES_MIN - 1).unwrap();
    put(u, ".bailiwick-apply-00112233445566aa", "");
    rustix::fs::mknodat(CWD, u.join("fifo"), FileType::Fifo, Mode::from_raw_mode(0o644), 0).unwrap();
    for (name, target) in [("out", "/etc"), ("up", "../x"), ("in", "plain"), ("was", "plain")] {
        symlink(target, u.join(name)).unwrap();
    }
    for (path, risk, is_noted) in [
        (".git/hooks/pre-commit", Risk::GitHook, true),
        (".git/hooks/pre-commit", Risk::Protected, true),
        (".git", Risk::GitRedirect, false),
        ("sub/.envrc", Risk::Environment, true),
        ("AGENTS.md", Risk::Agent, true),
        ("AGENTS.md", Risk::Protected, false),
        ("bare/config", Risk::GitConfig, true),
        ("conf/config", Risk::GitConfig, false),
        ("package.json", Risk::PackageScripts, false),
        ("sub/package.json", Risk::PackageScripts, true),
        ("x", Risk::Executable, true),
        ("run", Risk::Executable, false),
        ("plain", Risk::Executable, false),
        ("set", Risk::SetId, true),
        ("x", Risk::SetId, false),
        ("a\u{202e}b", Risk::OddName, true),
        ("huge", Risk::Large, true),
        ("big", Risk::Large, false),
        ("fifo", Risk::Special, true),
        ("plain", Risk::Special, false),
        ("out", Risk::LinkOutside, true),
        ("up", Risk::LinkOutside, true),
        ("in", Risk::LinkOutside, false),
        ("was", Risk::LinkReplaces, true),
        ("in", Risk::LinkReplaces, false),
        (".bailiwick-apply-00112233445566aa", Risk::Reserved, true),
    ] {
        let change = change_of(&overlay, path);
        assert_eq!(change.risks.contains(&risk), is_noted, "{path}: {risk:?} {:?}", change.risks);
    }
    let skipped: BTreeMap<_, _> = outcomes(overlay.apply(&Selection::All, Allow::default()).unwrap())
        .into_iter()
        .filter_map(|(path, skip)| Some((path, skip?)))
        .collect();
    let expected = [
        (".bailiwick-apply-00112233445566aa", Skip::Reserved),
        (".git/hooks", Skip::Protected),
        (".git/hooks/pre-commit", Skip::Protected),
        ("fifo", Skip::Special),
        ("out", Skip::LinkOutside),
        ("sub/.envrc", Skip::Protected),
        ("up", Skip::LinkOutside),
    ];
    assert_eq!(skipped, expected.map(|(path, skip)| (path.to_owned(), skip)).into());
    assert_eq!(fs::metadata(bench.workspace.join("set")).unwrap().mode() & 0o7777, 0o644);
}

#[test]
fn protected_paths_need_their_name_and_leave() {
    let lay = |w: &Path| put(w, "lib/.vscode/tasks.json", "old");
    let allow = Allow { protected: true, ..Allow::default() };
    for (selection, allow, applied) in [
        (Selection::All, allow, false),
        (paths(&["."]), allow, false),
        (paths(&["sub"]), allow, false),
        (paths(&["sub/.vscode"]), Allow::default(), false),
        (paths(&["sub/.vscode"]), allow, true),
        (paths(&["./sub/.vscode/tasks.json"]), allow, true),
    ] {
        let (bench, overlay) = bench(lay);
        put(&bench.upper, "sub/.vscode/tasks.json", "{}");
        overlay.apply(&selection, allow).unwrap();
        assert_eq!(bench.workspace.join("sub/.vscode/tasks.json").exists(), applied, "{selection:?}");
    }
    // A folder that goes takes what is protected in it along; and a link may not stand where a given path leads.
    let (bench, overlay) = bench(lay);
    let overlay = overlay.protecting([PathBuf::from("cfg/keys")]);
    whiteout(&bench.upper.join("lib"));
    symlink("elsewhere", bench.upper.join("cfg")).unwrap();
    let all = outcomes(overlay.apply(&Selection::All, ALL).unwrap());
    assert_eq!(all, [("cfg".into(), Some(Skip::Protected)), ("lib".into(), Some(Skip::Protected))]);
    assert_eq!(outcomes(overlay.apply(&paths(&["lib"]), allow).unwrap()), [("lib".into(), None)]);
}

#[test]
fn the_hosts_own_changes_are_not_lost() {
    let names = ["file", "kept", "dead/f", "gone"];
    let (bench, overlay) = bench(|w| names.iter().for_each(|name| put(w, name, "old")));
    let (w, u) = (bench.workspace.clone(), bench.upper.clone());
    put(&u, "file", "program");
    put(&u, "kept", "program");
    put(&u, "both", "program");
    ["dead", "gone"].iter().for_each(|name| whiteout(&u.join(name)));
    after_the_beginning(&bench, || ["file", "both", "dead/f"].iter().for_each(|name| put(&w, name, "host")));

    let all: BTreeMap<_, _> =
        outcomes(overlay.apply(&Selection::All, Allow::default()).unwrap()).into_iter().collect();
    let conflict = || Some(Skip::Conflict);
    let expected =
        [("both", conflict()), ("dead", conflict()), ("file", conflict()), ("gone", None), ("kept", None)];
    assert_eq!(all, expected.map(|(path, skip)| (path.to_owned(), skip)).into());
    assert_eq!(
        (get(&w, "file"), get(&w, "kept"), get(&w, "dead/f")),
        ("host".into(), "program".into(), "host".into())
    );
    // Our own version is no change of the host's.
    put(&u, "kept", "program again");
    assert!(!change_of(&overlay, "kept").host_changed && change_of(&overlay, "file").host_changed);
    let all = outcomes(overlay.apply(&Selection::All, ALL).unwrap());
    assert!(all.iter().all(|(_, skip)| skip.is_none()), "{all:?}");
    assert_eq!(
        (get(&w, "file"), get(&w, "kept"), w.join("dead").exists()),
        ("program".into(), "program again".into(), false)
    );
    // Nothing is kept apart any more: the overlay begins anew, with the host's version.
    put(&w, "file", "host again");
    let overlay = Overlay::open(&bench.state, &w).unwrap();
    put(&u, "file", "program");
    assert!(!change_of(&overlay, "file").host_changed);
}

#[test]
fn what_was_shown_is_what_is_applied() {
    let (bench, overlay) = bench(|w| put(w, "a", "old"));
    put(&bench.upper, "a", "shown");
    put(&bench.upper, "b", "shown");
    let shown = Selection::Shown(overlay.changes().unwrap());
    fs::remove_file(bench.upper.join("a")).unwrap();
    put(&bench.upper, "a", "other");
    put(&bench.upper, "c", "later");
    let all = outcomes(overlay.apply(&shown, Allow::default()).unwrap());
    assert_eq!(all, [("a".into(), Some(Skip::ChangedSinceShown)), ("b".into(), None)]);
    assert_eq!((get(&bench.workspace, "a"), bench.workspace.join("c").exists()), ("old".into(), false));
    let all = outcomes(overlay.apply(&paths(&["nowhere"]), Allow::default()).unwrap());
    assert_eq!(all, [("nowhere".into(), Some(Skip::NoChange))]);
}

#[test]
fn links_lead_nowhere() {
    let (bench, overlay) = bench(|w| {
        put(w, "a/passwd", "mine");
        put(w, "../outside/passwd", "outside");
        put(w, "../outside/deep/passwd", "outside");
        symlink("../outside", w.join("l")).unwrap();
        put(w, "d/passwd", "old");
    });
    let (w, outside) = (&bench.workspace, bench.dir.path().join("outside"));
    let before = snapshot(&outside);
    symlink(&outside, bench.upper.join("a")).unwrap(); // a folder became a link to outside
    put(&bench.upper, "l/passwd", "evil"); // a folder where the workspace has a link to outside
    put(&bench.upper, "d/passwd", "evil");
    let mut diff = Vec::new();
    overlay.diff(&change_of(&overlay, "a"), &mut diff).unwrap();
    assert!(String::from_utf8(diff).unwrap().contains("+ link to"));
    // Between listing and applying, a folder of the workspace is swapped for a link to outside.
    after_the_beginning(&bench, || {
        let _ = fs::rename(w.join("d"), w.join("d.old"));
        let _ = fs::remove_file(w.join("d"));
        symlink(&outside, w.join("d")).unwrap();
    });
    let all: BTreeMap<_, _> =
        outcomes(overlay.apply(&Selection::All, Allow::default()).unwrap()).into_iter().collect();
    assert_eq!(all["a"], Some(Skip::LinkOutside));
    assert_eq!((&all["d"], &all["d/passwd"]), (&Some(Skip::Conflict), &Some(Skip::Parent)));
    assert_eq!(get(w, "l/passwd"), "evil"); // a real folder now
    assert!(w.join("l").symlink_metadata().unwrap().is_dir());
    overlay.apply(&paths(&["a", "d"]), ALL).unwrap();
    assert_eq!(fs::read_link(w.join("a")).unwrap(), outside);
    symlink(&outside, bench.upper.join("z")).unwrap();
    overlay.discard(&paths(&["z"])).unwrap();
    overlay.discard(&Selection::All).unwrap();
    assert_eq!(snapshot(&outside), before);
}

#[test]
fn a_race_for_a_folder_is_lost_by_the_link() {
    let files = 200;
    let (bench, overlay) = bench(|w| {
        put(w, "d/sub/first", "");
        fs::create_dir_all(w.join("../outside/sub")).unwrap();
        symlink("../outside", w.join("d.link")).unwrap();
    });
    for file in 0..files {
        put(&bench.upper, &format!("d/sub/{file}"), "evil");
    }
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let (a, b) = (bench.workspace.join("d"), bench.workspace.join("d.link"));
            while !is_over.load(Ordering::Relaxed) {
                rustix::fs::renameat_with(CWD, &a, CWD, &b, RenameFlags::EXCHANGE).unwrap();
            }
        });
        for _ in 0..5 {
            overlay.apply(&paths(&["d"]), Allow::default()).unwrap();
        }
        is_over.store(true, Ordering::Relaxed);
    });
    assert!(fs::read_dir(bench.dir.path().join("outside/sub")).unwrap().next().is_none());
}

#[test]
fn state_is_bound_to_its_workspace() {
    let (bench, overlay) = bench(|w| put(w, "../other/f", ""));
    let open = |state: &Path, workspace: &Path| Overlay::open(state, workspace).map(drop);
    let (w, other) = (&bench.workspace, bench.dir.path().canonicalize().unwrap().join("other"));
    assert!(open(&bench.state, w).is_ok());
    assert!(matches!(open(&bench.state, &other), Err(OverlayError::OtherWorkspace { .. })));
    assert!(matches!(open(&w.join("state"), w), Err(OverlayError::Nested(_))) && !w.join("state").exists());
    assert!(matches!(open(&bench.state, Path::new("relative")), Err(OverlayError::Workspace(_))));
    let link = other.join("link");
    symlink(w, &link).unwrap();
    assert!(matches!(open(&bench.state, &link), Err(OverlayError::Workspace(_))));
    symlink(w.parent().unwrap(), other.join("above")).unwrap();
    assert!(matches!(open(&bench.state, &other.join("above/work space")), Err(OverlayError::Workspace(_))));
    for part in ["upper", "work", "lock", "workspace"] {
        let (bench, _) = crate::bench::bench(|_| {});
        fs::rename(bench.state.join(part), bench.state.join("moved")).unwrap();
        symlink("moved", bench.state.join(part)).unwrap();
        assert!(matches!(open(&bench.state, &bench.workspace), Err(OverlayError::Tampered(_))), "{part}");
    }

    put(&bench.upper, "a", "");
    let hold = overlay.hold().unwrap();
    let second = Overlay::open(&bench.state, w).unwrap();
    assert_eq!(second.changes().unwrap().len(), 1);
    assert!(second.hold().is_ok());
    assert!(matches!(second.apply(&Selection::All, ALL), Err(OverlayError::Busy)));
    assert!(matches!(second.discard(&Selection::All), Err(OverlayError::Busy)));
    drop(hold);
    assert!(second.apply(&Selection::All, ALL).is_ok());
}

#[test]
fn discard_copes_with_modes_and_depths() {
    let (bench, overlay) = bench(|w| put(w, "keep/f", "old"));
    put(&bench.upper, "keep/f", "new");
    put(&bench.upper, "keep/g", "new");
    put(&bench.upper, "shut/in/f", "x");
    for path in ["shut/in/f", "shut/in", "shut", "keep"] {
        chmod(&bench.upper.join(path), 0);
    }
    assert_eq!(change_of(&overlay, "keep").mode_change(), Some((0o755, 0)));
    assert_eq!(fs::metadata(bench.upper.join("shut")).unwrap().mode() & 0o777, 0); // put back after listing
    let all = outcomes(overlay.discard(&paths(&["shut", "keep/f", "keep"])).unwrap());
    assert!(all.iter().all(|(_, skip)| skip.is_none()), "{all:?}");
    assert_eq!((listed(&overlay), get(&bench.workspace, "keep/f")), (vec![], "old".into()));

    // Deeper than any path reaches.
    let mut folder = rustix::fs::open(&bench.upper, rustix::fs::OFlags::DIRECTORY, Mode::empty()).unwrap();
    let name = "n".repeat(200);
    for _ in 0..60 {
        rustix::fs::mkdirat(&folder, &name, Mode::RWXU).unwrap();
        folder = rustix::fs::openat(&folder, &name, rustix::fs::OFlags::DIRECTORY, Mode::empty()).unwrap();
    }
    let changes = overlay.changes().unwrap();
    assert!(changes.last().unwrap().risks.contains(&Risk::TooDeep) && changes.len() < ENTRIES_MAX);
    let all = outcomes(overlay.apply(&Selection::All, ALL).unwrap());
    assert_eq!(all.last().unwrap().1, Some(Skip::TooDeep));
    put(&bench.upper, "shut/in/deep/er/f", "x");
    for path in ["shut/in/deep/er/f", "shut/in/deep/er", "shut/in/deep", "shut/in", "shut"] {
        chmod(&bench.upper.join(path), 0);
    }
    overlay.discard(&Selection::All).unwrap();
    assert!(fs::read_dir(&bench.upper).unwrap().next().is_none());
}

#[test]
fn diffs_are_escaped_and_bounded() {
    let (bench, overlay) = bench(|w| put(w, "t", "a\nb\n"));
    put(&bench.upper, "t", "a\n\u{1b}[2J\n");
    put(&bench.upper, "x\n\u{1b}]0;y", "\0");
    put(&bench.upper, "long", &"x\n".repeat(1 << 20));
    for (path, expected) in [
        ("t", "modified t\n--- workspace\n+++ overlay\n@@ -1,2 +1,2 @@\n a\n-b\n+\\x1b[2J\n"),
        (
            "x\n\u{1b}]0;y",
            "added x\\n\\x1b]0;y\n! it has a name with invisible, reordering or control characters\n+ binary file, 1 bytes\n",
        ),
        ("long", "added long\n+ large file, 2097152 bytes\n"),
    ] {
        let mut out = Vec::new();
        overlay.diff(&change_of(&overlay, path), &mut out).unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }
}
