//! The tools people really use, unmodified, behind the wall. Each row is a program, what it does there, and what must come of it.
//! What this machine lacks is skipped by name.

use std::path::Path;
use std::process::Command;

/// Name, a program it needs, a script, and what its output must hold.
const TABLE: &[(&str, &str, &str, &str)] = &[
    (
        "git: commit, branch, stash, worktree, log",
        "git",
        "export GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@b GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a@b
         echo 1 > f && git add f && git commit -qm one && git checkout -qb side && echo 2 > f && git stash -q &&
         git checkout -q - && git merge -q side && git stash pop -q && git diff --stat && git gc -q && git fsck &&
         git worktree list | wc -l && git status --short && git rev-parse --git-common-dir && git log --oneline",
        "one",
    ),
    (
        "cargo: build and test",
        "cargo",
        "cargo new --quiet --lib --vcs none made && cd made && cargo test --quiet --offline 2>&1",
        "1 passed",
    ),
    ("cc: compile and run", "cc", "echo 'int main(){return 7;}' > a.c && cc a.c -o a && ./a; echo got $?", "got 7"),
    (
        "node: files, workers, loopback server",
        "node",
        "node -e 'const {Worker}=require(\"worker_threads\");const h=require(\"http\");
           const s=h.createServer((q,r)=>r.end(\"served\")).listen(0,\"127.0.0.1\",()=>
           fetch(`http://127.0.0.1:${s.address().port}`).then(r=>r.text()).then(t=>{console.log(t);
           new Worker(\"console.log(6*7)\",{eval:true}).on(\"exit\",()=>s.close())}))'",
        "served",
    ),
    (
        "npm: install a local package, run a script",
        "npm",
        "mkdir -p lib app && echo '{\"name\":\"lib\",\"version\":\"1.0.0\"}' > lib/package.json &&
         echo 'module.exports=41+1' > lib/index.js && cd app &&
         echo 'console.log(require(\"lib\"))' > go.js &&
         echo '{\"name\":\"app\",\"version\":\"1.0.0\",\"scripts\":{\"go\":\"node go.js\"}}' > package.json &&
         npm install --offline --no-audit --no-fund ../lib >/dev/null && npm run --silent go",
        "42",
    ),
    (
        "python: venv, multiprocessing, sqlite, sockets",
        "python3",
        "python3 -m venv --without-pip v && v/bin/python - <<'P'
import multiprocessing, sqlite3, socket
print(sum(multiprocessing.Pool(3).map(abs, [-1, -2, -3])), sqlite3.connect('d.db').execute('select 6*7').fetchone()[0])
a, b = socket.socketpair(); a.send(b'over'); print(b.recv(9))
P",
        "6 42",
    ),
    (
        "pip: install a local package",
        "pip",
        "python3 - <<'P' &&
import zipfile
with zipfile.ZipFile('mine-1-py3-none-any.whl', 'w') as wheel:
    wheel.writestr('mine.py', 'x = 42')
    wheel.writestr('mine-1.dist-info/METADATA', 'Metadata-Version: 2.1\\nName: mine\\nVersion: 1\\n')
    wheel.writestr('mine-1.dist-info/WHEEL', 'Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n')
    wheel.writestr('mine-1.dist-info/RECORD', '')
P
         python3 -m venv --system-site-packages v &&
         v/bin/pip install --quiet --no-index --disable-pip-version-check ./mine-1-py3-none-any.whl 2>&1 &&
         cd / && \"$OLDPWD/v/bin/python\" -c 'import mine; print(\"mine\", mine.x)'",
        "mine 42",
    ),
    (
        "postgres: a server and a client",
        "psql",
        "PATH=$(ls -d /usr/lib/postgresql/*/bin):$PATH && initdb -D /tmp/pg -A trust >/dev/null &&
         pg_ctl -D /tmp/pg -o \"-k /tmp -c listen_addresses=127.0.0.1\" -w start >/dev/null &&
         psql -h 127.0.0.1 -d postgres -Atc 'select 6*7' && psql -h /tmp -d postgres -Atc 'create table t(x int); select count(*) from t' &&
         pg_ctl -D /tmp/pg -m fast stop >/dev/null && echo stopped",
        "stopped",
    ),
    ("java: run a class", "javac", "echo 'class A{public static void main(String[] a){System.out.println(6*7);}}' > A.java && javac A.java && java A", "42"),
    ("tar, find, make, perl", "make", "mkdir t && touch t/a && tar czf t.tgz t && printf 'all:\\n\\t@perl -e \"print 6*7\"\\n' > Makefile && make && find . -name a | wc -l", "42"),
    ("standard streams opened anew", "sh", "echo to-out > /dev/stdout; echo to-err > /dev/stderr; cat /dev/stdin", "to-out"),
];

fn there(program: &str) -> bool {
    std::env::var_os("PATH")
        .is_some_and(|path| std::env::split_paths(&path).any(|folder| folder.join(program).is_file()))
}

fn inside(folder: &Path, script: &str) -> std::process::Output {
    let workspace = folder.join("workspace");
    std::fs::create_dir_all(&workspace).expect("a folder");
    if there("git") {
        let made = Command::new("git").args(["init", "--quiet"]).current_dir(&workspace).status();
        assert!(made.expect("git runs").success());
    }
    Command::new(env!("CARGO_BIN_EXE_bailiwick"))
        .args(["sandbox", "--report", &folder.join("report").display().to_string(), "--", "sh", "-c", script])
        .current_dir(&workspace)
        .env("BAILIWICK_STATE", folder.join("state"))
        .env("XDG_DATA_HOME", folder.join("data"))
        .stdin(std::process::Stdio::null())
        .output()
        .expect("the binary runs")
}

#[test]
fn tools_run_unmodified() {
    let (mut ran, mut skipped, mut wrong) = (0, Vec::new(), Vec::new());
    for (name, program, script, holds) in TABLE {
        if !there(program) {
            skipped.push(format!("{name}: no {program}"));
            continue;
        }
        let folder = tempfile::tempdir().expect("a folder");
        let output = inside(folder.path(), script);
        let said = [&output.stdout[..], &output.stderr[..]].concat();
        let said = String::from_utf8_lossy(&said);
        if !output.status.success() || !said.contains(holds) {
            wrong.push(format!("{name}: {}\n{said}", output.status));
        }
        let left: Vec<_> = std::fs::read_dir(folder.path().join("workspace"))
            .expect("the workspace")
            .map(|entry| entry.expect("an entry").file_name())
            .filter(|name| [".envrc", ".vscode", ".mcp.json", ".bailiwick"].iter().any(|kept| name == *kept))
            .collect();
        assert!(left.is_empty(), "{name} left {left:?}");
        ran += 1;
    }
    eprintln!("{ran} tools ran, {} skipped: {}", skipped.len(), skipped.join("; "));
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
