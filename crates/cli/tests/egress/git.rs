//! A git server for the upstream (smart HTTP, with a password), and a program of this machine that clones from it and pushes
//! to it although nobody inside has the password.

use crate::ground::{CANARY, Ground, found_in, spellings};
use crate::upstream::{Received, Reply, Upstream, whole};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::StatusCode;
use hyper::header::HeaderValue;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use tokio::io::AsyncWriteExt;

/// How long what is pushed is, in bytes: more than git sends without asking first.
const PUSHED_BYTES: usize = 3 << 20;

/// Answers a request for the repository in `folder` whose path ends in `rest`, as `git http-backend` would.
pub(crate) async fn answer(folder: &Path, rest: &str, one: &Received) -> Reply {
    if one.header("authorization") != format!("Basic {}", STANDARD.encode(format!("x-access-token:{CANARY}")))
    {
        let mut reply = whole(b"who are you?\n".to_vec());
        *reply.status_mut() = StatusCode::UNAUTHORIZED;
        reply.headers_mut().insert("www-authenticate", HeaderValue::from_static("Basic realm=\"git\""));
        return reply;
    }
    let (service, advertises) = match rest.split_once("?service=") {
        Some(("info/refs", service)) => (service, true),
        _ => (rest, false),
    };
    let mut body = one.body.clone();
    if one.header("content-encoding") == "gzip" {
        let mut unpacked = async_compression::tokio::write::GzipDecoder::new(Vec::new());
        unpacked.write_all(&body).await.unwrap();
        unpacked.shutdown().await.unwrap();
        body = unpacked.into_inner();
    }
    let mut git = Command::new("git");
    git.args([service.strip_prefix("git-").unwrap_or("version"), "--stateless-rpc"]);
    if advertises {
        git.arg("--advertise-refs");
    }
    git.arg(folder).env("GIT_PROTOCOL", one.header("git-protocol")).env("HOME", folder);
    let out = tokio::task::spawn_blocking(move || {
        let mut git = git.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut stdin = git.stdin.take().unwrap();
        let writing = std::thread::spawn(move || std::io::Write::write_all(&mut stdin, &body));
        let out = git.wait_with_output().unwrap().stdout;
        drop(writing.join());
        out
    });
    let (mut text, out) = (Vec::new(), out.await.unwrap());
    if advertises {
        let line = format!("# service={service}\n");
        text.extend(format!("{:04x}{line}0000", line.len() + 4).bytes());
    }
    text.extend(out);
    let mut reply = whole(text);
    let kind = format!("application/x-{service}-{}", if advertises { "advertisement" } else { "result" });
    reply.headers_mut().insert("content-type", HeaderValue::from_str(&kind).unwrap());
    reply
}

#[test]
fn git_clones_and_pushes_with_a_password_that_nobody_inside_has() {
    let upstream = Upstream::open();
    let text = format!(
        "[secret.github]\n[[secret.github.use]]\nhost = \"api.example.test:{}\"\npaths = [\"/repos/tiny.git/*\"]\n\
         place = \"basic\"\n",
        upstream.port
    );
    let ground = Ground::configured(upstream, &text);
    assert_eq!(ground.run(&["secret", "set", "github"], CANARY.as_bytes()).code, 0);
    let bare = ground.path("tiny.git");
    let mut init = Command::new("git");
    init.args(["init", "-q", "--bare", "-b", "main"]).arg(&bare).env("HOME", ground.home());
    if !init.status().is_ok_and(|status| status.success()) {
        println!("skipped: git is not here");
        return;
    }
    ground.upstream.repository(&bare);
    // Over HTTP/2 git sometimes waits for itself after a long chunked push (with libcurl 7.88, to any server).
    let script = format!(
        "git config --global user.name a; git config --global user.email a@b.c\n\
         at=https://x-access-token:$TOKEN@api.example.test:$PORT/repos/tiny.git\n\
         git init -q -b main made && cd made && head -c {PUSHED_BYTES} /dev/urandom > large && git add large && \
         git commit -qm one && git -c http.version=HTTP/1.1 push -q $at main 2>&1 && echo pushed\n\
         cd .. && git clone -q $at cloned 2>&1 && cmp made/large cloned/large && echo cloned\n\
         cd cloned && for n in $(seq 60); do echo $n > file && git add file && git commit -qm $n; git branch b$n; done; git push -q --all 2>&1 && \
         git -C ../made fetch -q $at 'refs/heads/*:refs/remotes/x/*' 2>&1 && git -C ../made show x/b60:file\n\
         git -c http.extraHeader=\"Authorization: Basic $(printf x-access-token:$TOKEN | base64 -w0)\" \
         ls-remote https://api.example.test:$PORT/repos/other.git 2>&1"
    );
    let ran = ground.with_token(&ground.api(), &script);
    for words in ["pushed\n", "cloned\n", "60\n", "returned error: 403"] {
        assert!(ran.out.contains(words), "{words}: {ran:?}\n{:?}", ground.alerts());
    }
    let received = ground.upstream.received();
    let large = received.iter().any(|one| one.body.len() > PUSHED_BYTES);
    assert!(
        large && received.iter().any(|one| one.header("content-encoding") == "gzip"),
        "git did what it does"
    );
    assert!(!ground.upstream.heard("other.git"), "the other repository was not asked for");
    let known = spellings(CANARY);
    let needles: Vec<&str> = known.iter().map(String::as_str).collect();
    assert!(needles.iter().all(|needle| !ran.out.contains(needle)), "{ran:?}");
    assert_eq!(found_in(&ground.project(), &needles), Vec::<PathBuf>::new(), "the value is in a file");
}
