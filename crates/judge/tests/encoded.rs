//! Guarded values in every form of the requirement, written by a program in another language whose author had not read the filter
//! (`corpus/encode.py`). Nothing here knows how a form is found; it only asks whether it was, and what was left of it.

use judge::filter::known::{Guarded, Known, Replace};
use std::collections::BTreeMap;
use std::process::Command;

/// Seed of the corpus, and how often each form is written for each kind of secret.
const SEED: &str = "20261121";
const ROUNDS: &str = "3";
/// Values that are guarded together.
const TOGETHER: usize = 100;
/// Bytes of a form that may stay: padding, characters that hold a few bits of a neighbour, one escaped mark before or after.
const LEFT_BYTES_MAX: usize = 12;

struct Case {
    form: String,
    secret: Vec<u8>,
    begin: u64,
    end: u64,
    chunk: usize,
    text: Vec<u8>,
}

fn corpus() -> Vec<Case> {
    let program = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/corpus/encode.py");
    let seed = std::env::var("ENCODED_SEED").unwrap_or(SEED.to_owned());
    let rounds = std::env::var("ENCODED_ROUNDS").unwrap_or(ROUNDS.to_owned());
    let out = Command::new("python3").args([program, &seed, &rounds]).output().expect("python3 runs");
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let hex = |text: &str| -> Vec<u8> {
        (0..text.len() / 2)
            .map(|at| u8::from_str_radix(&text[2 * at..2 * at + 2], 16).expect("hex"))
            .collect()
    };
    let text = String::from_utf8(out.stdout).expect("text");
    let case = |line: &str| {
        let parts: Vec<&str> = line.split('\t').collect();
        let [form, secret, begin, end, chunk, text] = parts[..] else { panic!("{line}") };
        let number = |text: &str| text.parse().expect("a number");
        let (begin, end, chunk) = (number(begin), number(end), number(chunk) as usize);
        Case { form: form.to_owned(), secret: hex(secret), begin, end, chunk, text: hex(text) }
    };
    text.lines().map(case).collect()
}

/// Whether the form says the secret and nothing else, so that all of it must go.
fn is_whole(form: &str) -> bool {
    let more = [
        "within",
        "offset",
        "url-safe",
        "twice",
        "thrice",
        "wrapped",
        "gzip",
        "zlib",
        "deflate",
        "mark",
        "nested",
        "percent",
        "utf-16",
        "json in json",
    ];
    !more.iter().any(|word| form.contains(word))
        || form == "percent"
        || form == "percent all"
        || form == "wrapped"
}

#[test]
fn every_form_is_found_wherever_it_stands_and_however_it_arrives() {
    let cases = corpus();
    let mut missed: BTreeMap<String, (usize, String)> = BTreeMap::new();
    for group in cases.chunks(TOGETHER) {
        let names: Vec<String> = (0..group.len()).map(|number| format!("n{number}")).collect();
        let guarded: Vec<Guarded<'_>> = group
            .iter()
            .zip(&names)
            .map(|(case, handle)| Guarded { handle, value: &case.secret, stand_in: b"" })
            .collect();
        let known = Known::compile(&guarded).expect("values that can be guarded");
        for (case, name) in group.iter().zip(&names) {
            let mut stream = known.stream(Replace::Handle);
            let mut out = Vec::new();
            let size = if case.chunk == 0 { case.text.len() } else { case.chunk };
            case.text.chunks(size).for_each(|chunk| stream.push(chunk, &mut out));
            stream.flush(&mut out);
            let found = stream.findings();
            let inside: u64 = found
                .iter()
                .map(|found| found.end.min(case.end).saturating_sub(found.start.max(case.begin)))
                .sum();
            let left = (case.end - case.begin - inside) as usize;
            let outside = found.iter().any(|found| found.end <= case.begin || found.start >= case.end);
            let why = if !found
                .iter()
                .any(|found| *found.handle == **name && found.end > case.begin && found.start < case.end)
            {
                "missed"
            } else if is_whole(&case.form) && left > LEFT_BYTES_MAX {
                "left over"
            } else if outside {
                "found where it is not"
            } else {
                continue;
            };
            let shown =
                String::from_utf8_lossy(&case.text[case.begin as usize..case.end as usize]).into_owned();
            let entry = missed.entry(format!("{} {why}", case.form)).or_insert((0, String::new()));
            entry.0 += 1;
            entry.1 = format!(
                "{} ({left} left, chunk {}): {}",
                String::from_utf8_lossy(&case.secret),
                case.chunk,
                shown.chars().take(300).collect::<String>()
            );
        }
    }
    let count: usize = missed.values().map(|(count, _)| count).sum();
    assert!(missed.is_empty(), "{count} of {}: {missed:#?}", cases.len());
    assert!(cases.len() > 3000, "{} cases", cases.len());
}
