//! A writer killed at any moment: whatever it acknowledged is there afterwards, and what remains verifies. The killed
//! process is real; it is this test executable started again.

use journal::{Checkpoint, Journal, Reader, SigningKey, verify};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};

const ORIGIN: &str = "example.org/log";
const ROUNDS: u64 = 30;

#[test]
#[ignore = "not a test of its own: the writer that the test below starts and kills"]
fn child_appends_until_killed() {
    let Some(scratch) = std::env::var_os("JOURNAL_CRASH_SCRATCH") else { return };
    let (dir, key) = (Path::new(&scratch).join("journal"), Path::new(&scratch).join("key"));
    let (log, _) = Journal::open(&dir, SigningKey::load(&key).unwrap(), ORIGIN).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for number in 0u64.. {
                    let leaf = log.append(entry(number)).unwrap().wait().unwrap();
                    // One write to the pipe per line, which is atomic at this length: no line is ever cut.
                    let line = format!("ack {} {number}\n", leaf.index);
                    std::io::stdout().lock().write_all(line.as_bytes()).unwrap();
                }
            });
        }
        scope.spawn(|| {
            loop {
                log.publish().unwrap();
            }
        });
    });
}

fn entry(number: u64) -> Vec<u8> {
    format!("entry {number} ").into_bytes().repeat(1 + (number % 97) as usize)
}

#[test]
fn killed_writers_lose_nothing_they_acknowledged() {
    let scratch = tempfile::tempdir().unwrap();
    let dir = scratch.path().join("journal");
    let key = SigningKey::generate(ORIGIN).unwrap();
    let public = key.verifier();
    key.save(&scratch.path().join("key")).unwrap();
    let (mut acked, mut anchors, mut recovered) = (Vec::<(u64, u64)>::new(), Vec::<Checkpoint>::new(), 0);
    for round in 0..ROUNDS {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child_appends_until_killed", "--ignored", "--nocapture", "--test-threads=1"])
            .env("JOURNAL_CRASH_SCRATCH", scratch.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // Killed after some acknowledgements, and from another thread's view at no particular moment.
        let enough = 1 + (round * 7919) % 500;
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut seen = 0;
        let mut record = |line: &str| {
            // The test harness prints the test's name before the first line.
            let ack = line.rsplit_once("ack ").and_then(|(_, ack)| ack.split_once(' '));
            if let Some((index, number)) = ack {
                acked.push((index.parse().unwrap(), number.parse().unwrap()));
                seen += 1;
            }
            seen
        };
        for line in lines.by_ref() {
            if record(&line.unwrap()) >= enough {
                break;
            }
        }
        child.kill().unwrap();
        for line in lines {
            record(&line.unwrap());
        }
        child.wait().unwrap();
        assert!(seen >= enough, "the child stopped by itself after {seen} acknowledgements");

        // First as the crash left it, then after recovery.
        assert!(verify(&dir, &public, &anchors).unwrap().size > 0);
        check(&dir, &acked);
        let (log, recovery) =
            Journal::open(&dir, SigningKey::load(&scratch.path().join("key")).unwrap(), ORIGIN).unwrap();
        recovered += recovery.recovered_entries;
        check(&dir, &acked);
        anchors.push(log.checkpoint());
        drop(log);
        let report = verify(&dir, &public, &anchors).unwrap();
        assert_eq!((report.size, report.published), (recovery.size, recovery.size));
    }
    assert!(recovered > 0, "no crash left anything to recover: the test did not test");
}

fn check(dir: &Path, acked: &[(u64, u64)]) {
    let reader = Reader::open(dir).unwrap();
    let entries: Vec<Vec<u8>> = reader.entries(0..u64::MAX).map(|item| item.unwrap().1).collect();
    assert_eq!(entries.len() as u64, reader.size());
    for (index, number) in acked {
        assert_eq!(entries.get(*index as usize), Some(&entry(*number)), "acknowledged leaf {index}");
    }
}
