//! Every detector finds its examples and passes its near misses; the whole stream gives one answer however it is cut.

use super::detect::{ALL, Detector, Find, Part};
use super::handle::{Handles, SessionKey, found_in};
use super::known::{Guarded, Known};
use super::*;
use proptest::prelude::*;

fn key() -> SessionKey {
    SessionKey::new(&[3; 32])
}

fn filter(personal: Personal) -> Filter {
    let settings = Settings { personal, ..Settings::default() };
    Filter::compile(&settings, Known::compile(&[]).unwrap())
}

fn plain(written: &str) -> String {
    written.replace(['«', '»', '¦'], "")
}

/// The stretches between « and ».
fn marked(written: &str) -> Vec<(u64, u64)> {
    let (mut at, mut open, mut marked) = (0, 0, Vec::new());
    for char in written.chars() {
        match char {
            '«' => open = at,
            '»' => marked.push((open, at)),
            '¦' => {}
            char => at += char.len_utf8() as u64,
        }
    }
    marked
}

fn check(detector: &Detector, faults: &mut Vec<String>) {
    let filter = filter(detector.personal);
    for written in detector.matches {
        let redacted = filter.redact(plain(written).as_bytes(), &key());
        let got: Vec<_> = redacted.findings.iter().map(|f| (f.start, f.end)).collect();
        let named = redacted.findings.iter().any(|f| &*f.kind == detector.name);
        if got != marked(written) || !named {
            faults.push(format!("{}: {written:?} gave {:?}", detector.name, redacted.findings));
        }
    }
    for written in detector.near_misses {
        let redacted = filter.redact(plain(written).as_bytes(), &key());
        if !redacted.findings.is_empty() {
            faults.push(format!("{}: {written:?} gave {:?}", detector.name, redacted.findings));
        }
    }
}

#[test]
fn every_detector_finds_its_examples_and_passes_its_near_misses() {
    let mut faults = Vec::new();
    for detector in ALL.iter().skip(1) {
        if let Find::Code(_) = detector.find {
            assert!(!detector.matches.is_empty(), "{} has no example", detector.name);
            assert!(!detector.near_misses.is_empty(), "{} has no near misses", detector.name);
        }
        check(detector, &mut faults);
    }
    assert!(faults.is_empty(), "{} faults\n{}", faults.len(), faults.join("\n"));
}

/// Characters as random as the row allows, the same each time.
fn body(parts: &[Part], shorter: bool) -> String {
    let mut seed = 0x9e37_79b9_7f4a_7c15u64;
    let mut out = String::new();
    for (number, part) in parts.iter().enumerate() {
        let (alphabet, chars) = match part {
            Part::Text(text) => {
                out.push_str(text);
                continue;
            }
            Part::Take(alphabet, chars) => (alphabet, *chars),
            Part::Run(alphabet, min, _) => (alphabet, *min),
        };
        let letters: Vec<char> =
            (0..128u8).filter(|b| alphabet.has(*b) && b.is_ascii_alphanumeric()).map(char::from).collect();
        let chars = if shorter && number + 1 == parts.len() { chars - 1 } else { chars };
        for _ in 0..chars {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            out.push(letters[(seed >> 20) as usize % letters.len()]);
        }
    }
    out
}

#[test]
fn every_row_of_the_table_finds_its_form_and_passes_what_is_shorter_or_a_placeholder() {
    let filter = filter(Personal::NONE);
    let mut faults = Vec::new();
    let mut rows = 0;
    for detector in ALL.iter() {
        let Find::Parts(parts) = detector.find else { continue };
        for prefix in detector.anchors {
            rows += 1;
            let found = |text: String| filter.redact(text.as_bytes(), &key()).findings;
            let token = format!("{prefix}{}", body(parts, false));
            for context in ["at {} now", "![x](https://e.example/a?d={})", "[\"{}\"]", "a={};b", "\\n{}\\n"] {
                let text = context.replace("{}", &token);
                let start = context.find("{}").unwrap_or_default() as u64;
                let findings = found(text.clone());
                let whole = findings.len() == 1
                    && (findings[0].start, findings[0].end) == (start, start + token.len() as u64);
                if !whole {
                    faults.push(format!("{}: {text} gave {findings:?}", detector.name));
                }
            }
            let short = format!("at {prefix}{} now", body(parts, true));
            let same = |f: &Finding| &*f.kind == detector.name;
            if found(short.clone()).iter().any(same) && detector.anchors.len() == 1 {
                faults.push(format!("{}: {short} was found", detector.name));
            }
            let blank: String =
                body(parts, false).chars().map(|c| if c == '.' || c == '-' { c } else { 'x' }).collect();
            if !found(format!("at {prefix}{blank} now")).is_empty() {
                faults.push(format!("{}: a placeholder was found", detector.name));
            }
        }
    }
    assert!(rows >= 60, "only {rows} rows");
    assert!(faults.is_empty(), "{} faults\n{}", faults.len(), faults.join("\n"));
}

const DECOYS: &[&str] = &[
    "commit 0f3c9a71b2d84e560f3c9a71b2d84e560f3c9a71",
    "id: 123e4567-e89b-42d3-a456-426614174000",
    "\"integrity\": \"sha512-kX9/fQ2m+Lw8Zr4tYb6NcVd1Hs3Jg5Pk7UaBxEyR1a2kX9/fQ2m+Lw8Zr4tYb6NcVd1Hs3Jg5Pk7UaBxEyR1a2==\"",
    "checksum = \"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\"",
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk",
    "h1:kX9fQ2mLw8Zr4tYb6NcVd1Hs3Jg5Pk7UaBxEyR1a2k=",
    "api_key: your-api-key-here",
    "AK¦IAIOSFODNN7EXAMPLE",
    "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
    "password: ${VAR}",
    "token: <token>",
    "secret: xxxx",
    "ghp_xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJfQ2mLw8Zr4tYb6NcVd1Hs3Jg5Pk7UaBxEyR1a ann@host",
    "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "etag: W/\"8f3kd02lqpZr4tYb6N\"",
    "trace_id=4bf92f3577b34da6a3ce929d0e0e4736 span_id=00f067aa0ba902b7",
    "2024-01-02T10:22:33.123456Z INFO request 12345678901234567890 took 12.345678 ms",
    "rustc 1.95.0 (0f3c9a71b 2024-01-02)",
    "pk_live_aB3dE5fG7hI9jK1lM2nO4pQ6 is public",
];

#[test]
fn what_only_looks_like_a_secret_passes() {
    let filter = filter(Personal::NONE);
    for written in DECOYS {
        let redacted = filter.redact(plain(written).as_bytes(), &key());
        assert_eq!(redacted.findings, [], "{written}");
    }
}

const GUARDED: &str = "Kx9fQ2mLw8Zr4tYb6NcVd1Hs3Jg5Pk7Ua";

fn all() -> Filter {
    let settings = Settings {
        personal: Personal::ALL,
        rules: vec![
            rule::Rule::compile(&rule::Written {
                name: "case-number",
                pattern: r"\bACME-(?<secret>[0-9]{4,8})\b",
                matches: &["ACME-1234"],
                near_misses: &["ACME-12"],
            })
            .unwrap(),
        ],
        ..Settings::default()
    };
    let guarded = [Guarded { handle: "vaulted", value: GUARDED.as_bytes(), stand_in: b"-" }];
    Filter::compile(&settings, Known::compile(&guarded).unwrap())
}

fn pieces() -> impl Strategy<Value = String> {
    let mut texts: Vec<String> =
        ALL.iter().flat_map(|d| d.matches.iter().chain(d.near_misses)).map(|t| plain(t)).collect();
    texts.extend(DECOYS.iter().map(|t| plain(t)));
    texts.extend(
        [GUARDED, "ACME-12345", "ACME-123456789", "\n", " ", "=", "\"", "password=", "-"].map(str::to_owned),
    );
    texts.push(format!("token: {GUARDED}"));
    prop::collection::vec(
        prop_oneof![4 => prop::sample::select(texts), 1 => "[ -~]{0,12}", 1 => " {1,300}"],
        1..12,
    )
    .prop_map(|parts| parts.concat())
}

proptest! {

    #[test]
    fn redacting_twice_is_redacting_once(text in pieces()) {
        let filter = all();
        let once = filter.redact(text.as_bytes(), &key());
        let twice = filter.redact(&once.text, &key());
        prop_assert_eq!(String::from_utf8_lossy(&twice.text), String::from_utf8_lossy(&once.text));
    }
}

proptest! {
    #[test]
    fn any_chunking_gives_the_same(text in pieces(), cuts in prop::collection::vec(1usize..40, 1..200)) {
        let filter = all();
        let whole = filter.redact(text.as_bytes(), &key());
        let mut stream = filter.stream(&key());
        let (mut out, mut rest, mut turn) = (Vec::new(), text.as_bytes(), 0);
        while !rest.is_empty() {
            let (chunk, after) = rest.split_at(cuts[turn % cuts.len()].min(rest.len()));
            stream.push(chunk, &mut out);
            (rest, turn) = (after, turn + 1);
        }
        stream.flush(&mut out);
        prop_assert_eq!(String::from_utf8_lossy(&out), String::from_utf8_lossy(&whole.text));
        prop_assert_eq!(stream.findings(), &whole.findings[..]);
        prop_assert_eq!(stream.held_bytes(), 0);
    }

    #[test]
    fn what_may_be_turned_back_comes_back_as_it_was(text in pieces()) {
        let filter = filter(Personal::ALL);
        prop_assume!(found_in(text.as_bytes()).next().is_none());
        let redacted = filter.redact(text.as_bytes(), &key());
        for finding in &redacted.findings {
            prop_assert!(text.as_bytes().get(finding.start as usize..finding.end as usize).is_some());
        }
        let mut handles = Handles::default();
        handles.keep(redacted.kept, "here");
        let restored = handles.restore(&redacted.text, |_| true).unwrap();
        prop_assert_eq!(String::from_utf8_lossy(&restored), text);
    }
}

#[test]
fn credentials_are_masked_by_name_and_their_neighbours_are_kept() {
    let read = |text: &str| Tree::parse(text.as_bytes()).expect("test JSON");
    let table = [
        (r#"{"api_key":"k"}"#, r#"{"api_key":"[masked]"}"#),
        (r#"{"a":[{"Authorization":{"x":1}}]}"#, r#"{"a":[{"Authorization":"[masked]"}]}"#),
        (r#"{"max_tokens":5}"#, r#"{"max_tokens":5}"#),
        (r#"{"author":"ann"}"#, r#"{"author":"ann"}"#),
    ];
    for (given, want) in table {
        assert_eq!(recordable(&read(given)).canonical(), want);
    }
    let long = Tree::Text("x".repeat(RECORD_TEXT_BYTES_MAX + 1));
    assert!(recordable(&long).canonical().len() < 120);
    let wide = Tree::List(vec![Tree::Text("y".repeat(2000)); 20]);
    assert!(recordable(&wide).canonical().len() < 120);
}

#[test]
fn a_result_is_released_whole_or_not_at_all() {
    let source = || ToolName { server: "s".into(), tool: "t".into() };
    assert!(release(Labeled::new(vec![0u8; RESULT_BYTES_MAX], source())).is_ok());
    assert!(release(Labeled::new(vec![0u8; RESULT_BYTES_MAX + 1], source())).is_err());
}
