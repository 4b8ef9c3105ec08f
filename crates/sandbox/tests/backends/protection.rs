//! Names that the host would execute or obey: kept as they are, present or absent, and nothing left behind.

use crate::case::Case;
use crate::subject::{Place, Ran, Subject};
use std::fs;
use std::path::PathBuf;

fn repository(place: &Place) {
    let git = place.workspace.join(".git");
    fs::create_dir_all(git.join("hooks")).unwrap();
    fs::create_dir(git.join("objects")).unwrap();
    fs::write(git.join("config"), "[core]\n").unwrap();
    fs::write(git.join("HEAD"), "ref: refs/heads/main\n").unwrap();
}

/// What is in the workspace must be this, and no more.
fn leaves(names: &'static [&'static str]) -> impl Fn(&Subject, &Place, &Ran) -> Result<(), String> {
    move |_, place, _| {
        let listed = fs::read_dir(&place.workspace).map_err(|error| error.to_string())?;
        let mut found: Vec<String> =
            listed.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
        found.sort();
        if found == names { Ok(()) } else { Err(format!("left {found:?}, not {names:?}")) }
    }
}

pub(crate) fn cases() -> Vec<Case> {
    vec![
        Case::sh(
            "absent names stay absent",
            "for name in .git .envrc .mcp.json .vscode .claude .idea; do echo x > $name; echo x > $name/x; rmdir $name; \
             mv $name y; ln -s x $name; rm -rf $name; done 2>/dev/null; for name in .envrc .mcp.json; do [ -d $name ] || \
             echo gone; done; [ -e y ] && echo moved; true",
        )
        .says("")
        .check(leaves(&[])),
        Case::sh(
            "present names stay as they are",
            "cat .vscode/settings.json; echo x > .vscode/settings.json; rm -r .vscode; mv .vscode y; echo x > .envrc",
        )
        .given(|place| {
            fs::create_dir(place.workspace.join(".vscode")).unwrap();
            fs::write(place.workspace.join(".vscode/settings.json"), "{}\n").unwrap();
            fs::write(place.workspace.join(".envrc"), "use nix\n").unwrap();
        })
        .fails()
        .says("{}\n")
        .check(|_, place, _| {
            let read = |name: &str| fs::read_to_string(place.workspace.join(name)).unwrap_or_default();
            let found = (read(".vscode/settings.json"), read(".envrc"));
            if found == ("{}\n".into(), "use nix\n".into()) { Ok(()) } else { Err(format!("{found:?}")) }
        })
        .check(leaves(&[".envrc", ".vscode"])),
        Case::sh(
            "a repository is used, not rigged",
            "cd .git; echo x > HEAD.lock && mv HEAD.lock HEAD && echo written; cd ..; for name in hooks/pre-commit config \
             config.worktree commondir worktrees/x modules/x; do (echo x > .git/$name) 2>/dev/null && echo $name; done; \
             rm -rf .git/hooks 2>/dev/null; mv .git/hooks .git/h 2>/dev/null && echo hooks; mv .git elsewhere 2>/dev/null && \
             echo moved; cat .git/config",
        )
        .given(repository)
        .says("written\n[core]\n")
        .check(leaves(&[".git"]))
        .check(|_, place, _| {
            let read = |name: &str| fs::read_to_string(place.workspace.join(".git").join(name)).unwrap_or_default();
            let found = (read("HEAD"), read("config"), place.workspace.join(".git/commondir").exists());
            if found == ("x\n".into(), "[core]\n".into(), false) { Ok(()) } else { Err(format!("{found:?}")) }
        }),
        Case::sh("git works", "git init -q -b main sub && cd sub && echo x > f && git add f && git log 2>&1 | head -n 1")
            .needs("/usr/bin/git")
            .says("fatal: your current branch 'main' does not have any commits yet\n"),
        Case::sh("the gate's own folder is not even read", "ls -A .bailiwick; cat .bailiwick/token; echo x > .bailiwick/x")
            .given(|place| {
                fs::create_dir(place.workspace.join(".bailiwick")).unwrap();
                fs::write(place.workspace.join(".bailiwick/token"), "secret\n").unwrap();
            })
            .fails()
            .says("")
            .check(leaves(&[".bailiwick"])),
        Case::sh("not in a read-only workspace either", "ls -A .bailiwick; cat .bailiwick/token")
            .given(|place| {
                fs::create_dir(place.workspace.join(".bailiwick")).unwrap();
                fs::write(place.workspace.join(".bailiwick/token"), "secret\n").unwrap();
            })
            .with(|profile, _| profile.workspace.as_mut().unwrap().mode = sandbox::Mode::ReadOnly)
            .fails()
            .says(""),
        Case::sh("more names", "(echo x > ci/run) 2>/dev/null || echo kept; rmdir deep/ci 2>/dev/null || echo pinned; mv deep y")
            .given(|place| {
                fs::create_dir_all(place.workspace.join("deep/ci")).unwrap();
                fs::create_dir(place.workspace.join("ci")).unwrap();
            })
            .with(|profile, _| {
                profile.workspace.as_mut().unwrap().protected = vec!["ci".into(), "deep/ci".into()];
            })
            .fails()
            .says("kept\npinned\n")
            .check(leaves(&["ci", "deep"])),
        Case::sh(
            "what is hidden is empty, and cannot be changed or moved away",
            "cat sub/.env sub/keys/* 2>/dev/null; (echo x > sub/.env) 2>/dev/null || echo kept; rm -f sub/.env 2>/dev/null || echo stays; \
             mv sub other 2>/dev/null || echo pinned; cat sub/plain; ls absent 2>/dev/null || echo absent",
        )
        .given(hidden)
        .with(|profile, _| profile.workspace.as_mut().unwrap().blank = blank())
        .says("kept\nstays\npinned\nplain\nabsent\n")
        .check(|_, place, _| match fs::read_to_string(place.workspace.join("sub/.env")) {
            Ok(text) if text == "KEY=secret\n" => Ok(()),
            other => Err(format!("outside it is {other:?}")),
        }),
        Case::sh("nor is it seen in a read-only workspace", "cat sub/.env sub/plain; ls -A sub/keys")
            .given(hidden)
            .with(|profile, _| {
                let workspace = profile.workspace.as_mut().unwrap();
                (workspace.mode, workspace.blank) = (sandbox::Mode::ReadOnly, blank());
            })
            .says("plain\n"),
        Case::run("a link in place of a name is refused", &["true"])
            .given(|place| std::os::unix::fs::symlink("elsewhere", place.workspace.join(".envrc")).unwrap())
            .status(125)
            .complains(".envrc"),
    ]
}

fn blank() -> Vec<PathBuf> {
    ["sub/.env", "sub/keys", "absent"].map(PathBuf::from).to_vec()
}

fn hidden(place: &Place) {
    fs::create_dir_all(place.workspace.join("sub/keys")).unwrap();
    for (name, text) in [(".env", "KEY=secret\n"), ("keys/a", "secret\n"), ("plain", "plain\n")] {
        fs::write(place.workspace.join("sub").join(name), text).unwrap();
    }
}
