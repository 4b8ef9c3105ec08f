//! Finds guarded values that are cut up: over several texts of one result, and over the results of a session. Texts under one name are
//! read as one, in order; what stood at the end of a name's last text is read before its next.
//!
//! Nothing is kept but those ends, and of long texts only beginning and end are read: what stands within one text is found there.

use super::known::{Known, Replace};
use super::{Class, Confidence, Finding};
use std::collections::BTreeMap;
use std::ops::Range;
use zeroize::Zeroizing;

/// How much of a text's beginning and end is read, in bytes.
const EDGE_BYTES: usize = 2048;
/// Names whose last text is remembered.
const NAMES_ENTRIES_MAX: usize = 32;
/// Most texts of one result that are read together.
const TEXTS_ENTRIES_MAX: usize = 100_000;
/// Longest name that is told from others, in bytes.
const NAME_BYTES_MAX: usize = 64;

/// The ends of what a session was shown.
#[derive(Default)]
pub struct Ends(BTreeMap<Box<[u8]>, Zeroizing<Vec<u8>>>);

impl std::fmt::Debug for Ends {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ends").field("names", &self.0.len()).finish_non_exhaustive()
    }
}

/// What was found.
#[derive(Debug)]
pub struct Cut {
    /// The JSON without the parts that stood in it.
    pub text: Vec<u8>,
    /// Whose value it was, the first of them.
    pub handle: Box<str>,
}

impl Cut {
    /// What was found, without a place: it has several.
    pub fn finding(&self) -> Finding {
        Finding {
            kind: (*self.handle).into(),
            class: Class::Known,
            confidence: Confidence::Certain,
            start: 0,
            end: 0,
            handle: super::known::mark(&self.handle).into(),
        }
    }
}

/// Looks for values of `known` that are cut up in `json`, or of which this is the last part. `ends` are those of the session.
pub fn across(json: &[u8], known: &Known, ends: &mut Ends) -> Option<Cut> {
    let mut names: BTreeMap<&[u8], Vec<Range<usize>>> = BTreeMap::new();
    for (name, text) in texts(json).take(TEXTS_ENTRIES_MAX) {
        if !name.is_empty() {
            names.entry(name).or_default().push(text.clone());
        }
        // What has no name of its own, or another one each time, is one text with its neighbours.
        names.entry(b"").or_default().push(text);
    }
    let mut cuts: Vec<(Range<usize>, Box<str>)> = Vec::new();
    for (name, texts) in names {
        let earlier = ends.0.remove(name).unwrap_or_default();
        let before = cuts.len();
        read(json, known, &earlier, &texts, &mut cuts);
        let end = if cuts.len() == before { last(json, &earlier, &texts) } else { Zeroizing::default() };
        let is_kept = !end.is_empty() && name.len() <= NAME_BYTES_MAX;
        if is_kept && (ends.0.len() < NAMES_ENTRIES_MAX || ends.0.contains_key(name)) {
            ends.0.insert(name.into(), end);
        }
    }
    let handle = cuts.first()?.1.clone();
    cuts.sort_by_key(|(cut, _)| (cut.start, cut.end));
    let (mut text, mut at, mut said) = (Vec::with_capacity(json.len()), 0, None);
    for (cut, handle) in cuts {
        if cut.end <= at {
            continue;
        }
        text.extend_from_slice(&json[at..cut.start.max(at)]);
        // Each part goes, and the first says whose they were.
        if said.as_ref() != Some(&handle) {
            text.extend_from_slice(super::known::mark(&handle).as_bytes());
        }
        said = Some(handle);
        at = cut.end;
    }
    text.extend_from_slice(&json[at..]);
    Some(Cut { text, handle })
}

/// Reads texts one after the other and notes the parts of each value that lies in more than one of them.
fn read(
    json: &[u8],
    known: &Known,
    earlier: &[u8],
    texts: &[Range<usize>],
    cuts: &mut Vec<(Range<usize>, Box<str>)>,
) {
    if earlier.is_empty() && texts.len() < 2 {
        return;
    }
    let mut stream = known.stream(Replace::Handle);
    let mut out = Vec::new();
    // Where each piece of the stream stands in the JSON.
    let mut pieces: Vec<(u64, Range<usize>, usize)> = Vec::new();
    let mut at = earlier.len() as u64;
    stream.push(earlier, &mut out);
    for (number, text) in texts.iter().enumerate() {
        let is_long = text.len() > 2 * EDGE_BYTES;
        let parts = if is_long {
            [text.start..text.start + EDGE_BYTES, text.end - EDGE_BYTES..text.end]
        } else {
            [text.clone(), 0..0]
        };
        for part in parts.into_iter().filter(|part| !part.is_empty()) {
            stream.push(&json[part.clone()], &mut out);
            pieces.push((at, part.clone(), number));
            at += part.len() as u64;
            if is_long && part.start == text.start {
                stream.flush(&mut out);
            }
        }
        out.clear();
    }
    stream.flush(&mut out);
    for found in stream.findings() {
        let first = pieces.partition_point(|(start, part, _)| start + part.len() as u64 <= found.start);
        let parts: Vec<_> = pieces[first..].iter().take_while(|(start, ..)| *start < found.end).collect();
        let began_earlier = found.start < earlier.len() as u64;
        let Some((.., number)) = parts.first() else { continue };
        if !began_earlier && parts.iter().all(|(.., other)| other == number) {
            continue;
        }
        for (start, part, _) in parts {
            let from = part.start + found.start.saturating_sub(*start) as usize;
            let to = part.start + (part.len() as u64).min(found.end - start) as usize;
            cuts.push((from..to, (&*found.handle).into()));
        }
    }
}

/// The end of what was read.
fn last(json: &[u8], earlier: &[u8], texts: &[Range<usize>]) -> Zeroizing<Vec<u8>> {
    let mut end = Zeroizing::new(Vec::new());
    for text in texts.iter().rev() {
        let room = EDGE_BYTES - end.len();
        let part = &json[text.start.max(text.end.saturating_sub(room))..text.end];
        end.splice(0..0, part.iter().copied());
        if end.len() >= EDGE_BYTES {
            return end;
        }
    }
    let room = EDGE_BYTES - end.len();
    end.splice(0..0, earlier[earlier.len().saturating_sub(room)..].iter().copied());
    end
}

/// The texts in JSON as they are written, each with the name it stands under.
fn texts(json: &[u8]) -> impl Iterator<Item = (&[u8], Range<usize>)> {
    let (mut at, mut name) = (0, &b""[..]);
    std::iter::from_fn(move || {
        loop {
            let start = at + memchr::memchr(b'"', json.get(at..)?)? + 1;
            let mut end = start;
            loop {
                end += memchr::memchr2(b'"', b'\\', json.get(end..)?)?;
                if json[end] == b'"' {
                    break;
                }
                end += 2;
            }
            at = end + 1;
            let behind = json[at..].iter().position(|byte| !byte.is_ascii_whitespace());
            if behind.is_some_and(|behind| json[at + behind] == b':') {
                name = &json[start..end];
                continue;
            }
            if start < end {
                return Some((name, start..end));
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::super::known::Guarded;
    use super::*;

    const VALUE: &str = "tr0ub4dor-and-3-more-words";

    fn known() -> Known {
        Known::compile(&[Guarded { handle: "horse", value: VALUE.as_bytes(), stand_in: b"" }]).unwrap()
    }

    #[test]
    fn a_value_in_parts_is_found_in_one_result() {
        let (a, b) = VALUE.split_at(11);
        let (c, d) = b.split_at(5);
        for (json, want) in [
            (format!(r#"{{"a":"{a}","b":"{b}"}}"#), r#"{"a":"BW-HIDDEN-horse-WB","b":""}"#),
            (format!(r#"["x{a}","{c}", "{d}y"]"#), r#"["xBW-HIDDEN-horse-WB","", "y"]"#),
            (
                format!(r#"[{{"type":"text","text":"{a}"}},{{"type":"text","text":"{b}."}}]"#),
                r#"[{"type":"text","text":"BW-HIDDEN-horse-WB"},{"type":"text","text":"."}]"#,
            ),
            (format!(r#"{{"a":"{a}","n":7,"b":"{b}"}}"#), r#"{"a":"BW-HIDDEN-horse-WB","n":7,"b":""}"#),
        ] {
            let cut = across(json.as_bytes(), &known(), &mut Ends::default());
            assert_eq!(cut.map(|cut| String::from_utf8(cut.text).unwrap()).as_deref(), Some(want), "{json}");
        }
        let near = [
            format!(r#"{{"a":"{VALUE}","b":"x"}}"#),
            format!(r#"{{"a":"{a}","b":"other","c":"{b}"}}"#),
            "\"".to_owned(),
            r#"["\"#.to_owned(),
        ];
        for json in near {
            assert!(across(json.as_bytes(), &known(), &mut Ends::default()).is_none(), "{json}");
        }
        let long = format!(r#"{{"a":"{}{a}","b":"{b}{}"}}"#, "z ".repeat(9_000), " y".repeat(9_000));
        assert!(across(long.as_bytes(), &known(), &mut Ends::default()).is_some());
    }

    #[test]
    fn a_value_in_parts_is_found_over_the_results_of_a_session() {
        let known = known();
        for size in [1, 3, 9, 20] {
            let mut ends = Ends::default();
            let parts: Vec<&[u8]> = VALUE.as_bytes().chunks(size).collect();
            let mut found = Vec::new();
            for (number, part) in parts.iter().enumerate() {
                let json = format!(
                    r#"{{"type":"text","file":{{"path":"/x{number}","content":"{}"}}}}"#,
                    String::from_utf8_lossy(part)
                );
                found.extend(across(json.as_bytes(), &known, &mut ends).map(|cut| (number, cut.text)));
            }
            let [(number, text)] = &found[..] else { panic!("{size}: {found:?}") };
            assert_eq!(*number, parts.len() - 1);
            assert!(String::from_utf8_lossy(text).contains(r#""content":"BW-HIDDEN-horse-WB""#));
            assert!(across(br#"{"content":"words"}"#, &known, &mut ends).is_none(), "told once");
        }
        let mut ends = Ends::default();
        for number in 0..100 {
            assert!(across(format!(r#"{{"k{number}":"v"}}"#).as_bytes(), &known, &mut ends).is_none());
        }
        assert!(ends.0.len() <= NAMES_ENTRIES_MAX);
    }
}
