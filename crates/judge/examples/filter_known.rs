//! Measures the known-value filter: `clean COUNT_OF_VALUES MEGABYTES PATH…` reads files and counts what is found in them,
//! `corpus DIR` reads `values.hex` and checks that each `NUMBER.NAME` beside it is found out. It never changes a file.
#![allow(clippy::print_stdout, clippy::unwrap_used, missing_docs, reason = "a measuring tool")]

use judge::filter::known::{Guarded, Known, Replace};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Instant;

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.first().map(String::as_str) {
        Some("clean") => clean(args[1].parse().unwrap(), args[2].parse().unwrap(), &args[3..]),
        Some("corpus") => corpus(Path::new(&args[1])),
        _ => println!("clean COUNT MEGABYTES PATH… | corpus DIR"),
    }
}

struct Random(u64);
impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
    fn text(&mut self, alphabet: &str, length: usize) -> String {
        let chars: Vec<char> = alphabet.chars().collect();
        (0..length).map(|_| chars[(self.next() >> 11) as usize % chars.len()]).collect()
    }
}

const ALNUM: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

fn value(r: &mut Random, shape: usize) -> String {
    match shape % 10 {
        0 => format!("ghp_{}", r.text(ALNUM, 36)),
        1 => format!("AKIA{}", r.text("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", 16)),
        2 => r.text(&format!("{ALNUM}/+"), 40),
        3 => r.text("0123456789abcdef", 32),
        4 => format!("sk-ant-api03-{}-AA", r.text(&format!("{ALNUM}_-"), 93)),
        5 => format!("xoxb-{}-{}", r.text("0123456789", 12), r.text(ALNUM, 24)),
        6 => r.text(&format!("{ALNUM}!@#$%^&*"), 12),
        7 => format!("eyJhbGciOiJIUzI1NiJ9.{}.{}", r.text(ALNUM, 60), r.text(&format!("{ALNUM}_-"), 43)),
        8 => r.text(ALNUM, 8),
        _ => format!(
            "{}-{}-4{}-a{}-{}",
            r.text("0123456789abcdef", 8),
            r.text("0123456789abcdef", 4),
            r.text("0123456789abcdef", 3),
            r.text("0123456789abcdef", 3),
            r.text("0123456789abcdef", 12)
        ),
    }
}

fn files(path: &Path, out: &mut Vec<PathBuf>) {
    if path.is_dir() {
        let mut entries: Vec<_> = std::fs::read_dir(path).unwrap().flatten().map(|e| e.path()).collect();
        entries.sort();
        entries.iter().for_each(|entry| files(entry, out));
    } else if path.is_file() && !path.is_symlink() {
        out.push(path.to_owned());
    }
}

fn resident_kb() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    status
        .lines()
        .find_map(|l| l.strip_prefix("VmRSS:"))
        .unwrap()
        .trim()
        .trim_end_matches(" kB")
        .parse()
        .unwrap()
}

fn clean(count: usize, megabytes: usize, paths: &[String]) {
    let mut random = Random(0x1234_5678_9abc_def1);
    let values: Vec<String> = (0..count).map(|shape| value(&mut random, shape)).collect();
    let guarded: Vec<Guarded<'_>> =
        values.iter().map(|v| Guarded { handle: "h", value: v.as_bytes(), stand_in: v.as_bytes() }).collect();
    let mut list = Vec::new();
    paths.iter().for_each(|path| files(Path::new(path), &mut list));
    let mut text = Vec::new();
    for file in &list {
        if text.len() >= megabytes << 20 {
            break;
        }
        text.extend(std::fs::read(file).unwrap_or_default());
    }
    let before = resident_kb();
    let begun = Instant::now();
    let known = Known::compile(&guarded).unwrap();
    let compiled = begun.elapsed();
    let mut out = Vec::new();
    let mut stream = known.stream(Replace::Handle);
    let begun = Instant::now();
    for chunk in text.chunks(65_536) {
        stream.push(chunk, &mut out);
        out.clear();
    }
    stream.flush(&mut out);
    let took = begun.elapsed().as_secs_f64();
    let size = text.len() as f64 / 1e6;
    println!(
        "{count} values, {size:.0} MB: {:.0} MB/s, {} found, compiled in {compiled:?}, set {} KB, resident +{} KB",
        size / took,
        stream.found(),
        known.bytes_used() / 1024,
        resident_kb().saturating_sub(before)
    );
    for finding in stream.findings().iter().take(20) {
        let (a, b) = (finding.start as usize, finding.end as usize);
        println!("  {:?} {:?}", finding.form, String::from_utf8_lossy(&text[a..b.min(a + 200)]));
    }
}

fn corpus(dir: &Path) {
    let listed = std::fs::read_to_string(dir.join("values.hex")).unwrap();
    let unhex = |l: &str| -> Vec<u8> {
        (0..l.len() / 2).map(|i| u8::from_str_radix(&l[2 * i..2 * i + 2], 16).unwrap()).collect()
    };
    let values: Vec<Vec<u8>> = listed.lines().map(unhex).collect();
    let names: Vec<String> = (0..values.len()).map(|n| n.to_string()).collect();
    let guarded: Vec<Guarded<'_>> =
        values.iter().zip(&names).map(|(v, n)| Guarded { handle: n, value: v, stand_in: v }).collect();
    let known = Known::compile(&guarded).unwrap();
    let mut by_name: BTreeMap<String, (u32, u32)> = BTreeMap::new();
    let mut missed = Vec::new();
    let mut list = Vec::new();
    files(dir, &mut list);
    for file in list {
        let name = file.file_name().unwrap().to_str().unwrap().to_owned();
        let Some((number, kind)) = name.split_once('.') else { continue };
        if name == "values.hex" {
            continue;
        }
        let text = std::fs::read(&file).unwrap();
        let (_, findings) = known.redact(&text, Replace::Handle);
        let kind = kind.split('~').next().unwrap();
        let entry = by_name.entry(kind.to_owned()).or_default();
        entry.1 += 1;
        let number = number.split('-').next().unwrap();
        if findings.iter().any(|f| &*f.handle == number) {
            entry.0 += 1;
        } else {
            missed.push(name);
        }
    }
    let (found, all) = by_name.values().fold((0, 0), |(f, a), (x, y)| (f + x, a + y));
    println!("{found} of {all}");
    for (name, (found, all)) in by_name.iter().filter(|(_, (f, a))| f < a) {
        println!("  {name}: {found} of {all}");
    }
    println!("{:?}", missed.iter().take(40).collect::<Vec<_>>());
}
