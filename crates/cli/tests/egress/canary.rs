//! A secret that is used for real, and then looked for everywhere somebody inside could look. Nothing here asks whether
//! the gate says that it hid it.

use crate::common::eventually;
use crate::echo::{LONG_BYTES, MODES};
use crate::ground::{CANARY, Ground, PYTHON, found_in, spellings};
use crate::served::{Served, set_up};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// Asks for each mode over both protocols and keeps whatever comes back, raw.
const ASK: &str = r#"
for mode in $MODES; do
  for version in 1.1 2; do
    [ $version = 2 ] && [ $mode = reason ] && continue
    curl -sS -i --raw --http$version -H "TE: trailers" -H "Authorization: Bearer $TOKEN" \
      -o answers/$mode-$version "https://api.example.test:$PORT/repos/echo/$mode" || echo "$mode over $version failed"
    curl -sS -i --compressed --http$version -H "Authorization: Bearer $TOKEN" \
      -o answers/$mode-$version-read "https://api.example.test:$PORT/repos/echo/$mode" || echo "$mode over $version failed"
  done
done
"#;

#[test]
fn a_canary_is_used_and_never_seen_in_an_echo() {
    let ground = Ground::new();
    std::fs::create_dir(ground.project().join("answers")).unwrap();
    let modes = format!("MODES='{}'\n{ASK}", MODES.join(" "));
    let ran = ground.with_token(&ground.api(), &modes);
    let received = ground.upstream.received();
    let mut wrong = Vec::new();
    let known = spellings(CANARY);
    let needles: Vec<&str> = known.iter().map(String::as_str).collect();
    for mode in MODES {
        let at: Vec<_> =
            received.iter().filter(|one| one.target.ends_with(&format!("/echo/{mode}"))).collect();
        if at.is_empty() || at.iter().any(|one| one.header("authorization") != format!("Bearer {CANARY}")) {
            wrong.push(format!("{mode}: the upstream did not get the value: {at:?}"));
        }
        for version in ["1.1", "2"] {
            let file = ground.project().join(format!("answers/{mode}-{version}-read"));
            if *mode == "reason" && version == "2" {
                continue;
            }
            let text = String::from_utf8_lossy(&std::fs::read(&file).unwrap_or_default()).into_owned();
            if !text.contains("echo") && *mode != "gzip-file" {
                wrong.push(format!("{mode} over {version}: nothing came back: {text}"));
            }
        }
    }
    for path in found_in(&ground.project().join("answers"), &needles) {
        let text = String::from_utf8_lossy(&std::fs::read(&path).unwrap_or_default()).into_owned();
        wrong.push(format!("{}: {text}", path.display()));
    }
    let said = format!("{}{}", ran.out, ran.err);
    if needles.iter().any(|needle| said.contains(needle)) {
        wrong.push("the value is in what was printed or logged".to_owned());
    }
    assert!(wrong.is_empty(), "{}\n{said:.2000}", wrong.join("\n---\n"));
}

/// WebSockets over which the value is said back. Over one goes a harmless message, over the other one that tells the
/// placeholder to somebody who must not have the value.
const SOCKETS: &str = r#"
import os, socket, ssl
port, token, context = int(os.environ["PORT"]), os.environ["TOKEN"], ssl.create_default_context()
def talk(text):
    plain = socket.create_connection(("api.example.test", port), 10)
    stream = context.wrap_socket(plain, server_hostname="api.example.test")
    stream.sendall((f"GET /repos/socket HTTP/1.1\r\nHost: api.example.test:{port}\r\nConnection: Upgrade\r\n"
        f"Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
        f"Authorization: Bearer {token}\r\n\r\n").encode())
    heard = b""
    while heard.count(b" end") < 4 and (chunk := stream.recv(65536)): heard += chunk
    stream.sendall(bytes([0x81, 0x80 | len(text), 0, 0, 0, 0]) + text.encode())
    try:
        while chunk := stream.recv(65536): heard += chunk
    except OSError as error:
        heard += str(error).encode()
    return heard
harmless, told = talk("harmless"), talk("told " + token)
open("answers/sockets", "wb").write(harmless + told)
print(harmless.count(token.encode()), "times")
"#;

#[test]
fn a_canary_is_not_seen_in_messages_and_long_answers() {
    let ground = Ground::new();
    std::fs::create_dir(ground.project().join("answers")).unwrap();
    std::fs::write(ground.project().join("spoken.py"), SOCKETS).unwrap();
    let shown = PYTHON.folders.iter().flat_map(|it| ["--read".to_owned(), it.display().to_string()]);
    let options: Vec<String> = ground.api().into_iter().chain(shown).collect();
    let script = "$PY spoken.py\n\
        curl -sS -H \"Authorization: Bearer $TOKEN\" https://api.example.test:$PORT/repos/echo/long |\
        tee answers/long | wc -c\n\
        grep -aoF \"$TOKEN\" answers/long | wc -l";
    let ran = ground.with_token(&options, script);
    let known = spellings(CANARY);
    let needles: Vec<&str> = known.iter().map(String::as_str).collect();
    assert_eq!(found_in(&ground.project(), &needles), Vec::<PathBuf>::new());
    let numbers: Vec<usize> = ran.out.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    // In the head and in each kind of message; and in the long answer wherever the value was, at its length.
    assert_eq!(numbers, [6, LONG_BYTES, 176], "what stands for the value came instead of it: {ran:?}");
    assert!(ground.upstream.heard("harmless"), "messages go out");
    assert!(
        !ground.upstream.heard("told"),
        "a placeholder in a message stops it: {:?}",
        ground.upstream.received()
    );
    assert!(ground.alerts().iter().any(|alert| alert.contains("secret-misuse")), "{:?}", ground.alerts());
}

/// Uses the secret in several programs, keeps what came back in memory and in files, prints it, fails with it, and stays.
const KEEP: &str = r#"
cat > keep.py <<'X'
import http.client, os, ssl, sys, time
port, token, kept = int(os.environ["PORT"]), os.environ["TOKEN"], []
for mode in ("body", "error", "header", "gzip", "base64", "hex", "json-escaped", "trailer"):
    by = http.client.HTTPSConnection("api.example.test", port, context=ssl.create_default_context())
    by.request("GET", "/repos/echo/" + mode, headers={"Authorization": "Bearer " + token})
    answer = by.getresponse()
    kept.append((str(answer.headers), answer.read()))
open("kept", "w").write(repr(kept))
print(kept, flush=True)
print(kept, file=sys.stderr, flush=True)
open("ready", "w")
while True: time.sleep(1)
X
$PY keep.py > kept.out 2> kept.err &
sh -c 'A="$(curl -sS -H "Authorization: Bearer $TOKEN" https://api.example.test:$PORT/repos/echo/body)"; export A; exec sleep 1000' > sleep.out 2>&1 &
for at in $(seq 200); do [ -e ready ] && break; sleep 0.1; done
env
cat kept kept.out kept.err
curl -sS -v -f -H "Authorization: Bearer $TOKEN" https://api.example.test:$PORT/repos/echo/error
curl -sS -v -H "X: $TOKEN" https://api.example.test:$PORT/repos/echo/error
"#;

/// Processes in the network of the one whose command line holds `mark`.
fn inside(mark: &str) -> Vec<PathBuf> {
    let all: Vec<PathBuf> = std::fs::read_dir("/proc").unwrap().flatten().map(|it| it.path()).collect();
    let network = |process: &Path| std::fs::read_link(process.join("ns/net")).ok();
    let line = |process: &Path| std::fs::read(process.join("cmdline")).unwrap_or_default();
    let marked = all.iter().find(|it| {
        String::from_utf8_lossy(&line(it)).contains(mark) && network(it) != network(Path::new("/proc/self"))
    });
    let theirs = marked.and_then(|it| network(it)).unwrap_or_else(|| panic!("{mark} is confined"));
    all.into_iter().filter(|it| network(it).as_ref() == Some(&theirs)).collect()
}

/// How often one of `needles` is in the memory, environment or command line of a process.
fn remembered(process: &Path, needles: &[&str]) -> usize {
    let times = |bytes: &[u8]| {
        needles
            .iter()
            .map(|needle| memchr::memmem::find_iter(bytes, needle.as_bytes()).count())
            .sum::<usize>()
    };
    let read = |name: &str| std::fs::read(process.join(name)).unwrap_or_default();
    let mut found = times(&read("environ")) + times(&read("cmdline"));
    let Ok(memory) = std::fs::File::open(process.join("mem")) else { return found };
    for line in String::from_utf8_lossy(&read("maps")).lines() {
        let (range, rest) = line.split_once(' ').unwrap();
        let (from, to) = range.split_once('-').unwrap();
        let [from, to] = [from, to].map(|at| u64::from_str_radix(at, 16).unwrap());
        // What is only a copy of a file of the system says nothing.
        if !rest.starts_with('r') || rest.contains("[v") || (!rest.starts_with("rw") && rest.contains('/')) {
            continue;
        }
        let mut bytes = vec![0; usize::try_from(to - from).unwrap()];
        if memory.read_exact_at(&mut bytes, from).is_ok() {
            found += times(&bytes);
        }
    }
    found
}

#[test]
fn a_canary_in_use_is_nowhere_inside_and_in_no_record() {
    if !rustix::process::geteuid().is_root() {
        println!("skipped: only root can read the memory of what is confined");
        return;
    }
    let ground = Ground::new();
    set_up(&ground);
    let mut served = Served::start(&ground);
    let said = served.script(&format!("PY={}\n{KEEP}", ground.python()));
    assert!(said.contains("TOKEN=ghp_") && said.contains("echo ghp_"), "{said}\n{}", served.gate.log());
    let received = ground.upstream.received();
    assert!(received.len() >= 9 && received.iter().all(|one| one.holds(CANARY)), "{received:?}");
    let token = said.split("TOKEN=").nth(1).unwrap().lines().next().unwrap().to_owned();
    let known = spellings(CANARY);
    let needles: Vec<&str> = known.iter().map(String::as_str).collect();

    let processes = inside("keep.py");
    assert!(processes.len() >= 3, "{processes:?}");
    let holding = processes.iter().filter(|it| remembered(it, &[&token]) > 0).count();
    assert!(holding >= 3, "the placeholder is found, so the value would be: {holding} of {processes:?}");
    for process in &processes {
        let line =
            String::from_utf8_lossy(&std::fs::read(process.join("cmdline")).unwrap_or_default()).into_owned();
        assert_eq!(remembered(process, &needles), 0, "the value is in the memory of {line}");
    }
    for needle in &needles {
        assert!(!said.contains(needle), "the value is in a result: {said}");
    }
    let log = served.gate.log();
    assert!(log.contains(&token), "what servers say in their logs is kept");
    drop(served);
    eventually("the gate has ended", || found_in(&ground.path("logs"), &[&token]).first().cloned());
    let whole = ground.project().parent().unwrap().to_owned();
    assert_eq!(found_in(&whole, &needles), Vec::<PathBuf>::new(), "the value is in a file");
    let journal = ground.journal();
    let text = format!("{journal:?}");
    assert!(text.contains("/repos/echo/error") && text.contains("secret-misuse"), "{text:.2000}");
    assert!(needles.iter().all(|needle| !text.contains(needle)), "the value is in the journal");
}
