//! Says how many of the texts on standard input, one JSON string a line, are advised about, by rule and by score, and how long that took.

#![allow(clippy::print_stdout, reason = "it is what it is for")]

use judge::spotlight::Marks;
use judge::suspicion::{Place, advise, score};
use std::collections::BTreeMap;
use std::io::BufRead;
use std::time::{Duration, Instant};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let place =
        if std::env::args().any(|arg| arg == "--descriptions") { Place::Description } else { Place::Result };
    let is_told = std::env::args().any(|arg| arg == "--tell");
    let marks = Marks::new(&std::array::from_fn(|at| (at * 37 + 11) as u8));
    let mut tags: BTreeMap<&str, usize> = BTreeMap::new();
    let (mut texts, mut bytes, mut advised) = (0usize, 0usize, 0usize);
    let (mut cleaning, mut ruling, mut scoring) = (Duration::ZERO, Duration::ZERO, Duration::ZERO);
    for line in std::io::stdin().lock().lines() {
        let text: String = serde_json::from_str(&line?)?;
        let begun = Instant::now();
        let cleaned = marks.clean(&text);
        cleaning += begun.elapsed();
        let begun = Instant::now();
        let advice = advise(place, &cleaned.text, &cleaned.found);
        ruling += begun.elapsed();
        let begun = Instant::now();
        std::hint::black_box(score(&cleaned.text));
        scoring += begun.elapsed();
        texts += 1;
        bytes += text.len();
        advised += usize::from(!advice.is_empty());
        if is_told && !advice.is_empty() {
            println!("{:?} {} {text:.200?}", advice.tags(), advice.score);
        }
        for tag in advice.tags() {
            *tags.entry(tag).or_default() += 1;
        }
    }
    let per = |time: Duration| time.as_secs_f64() * 1e3 / (bytes as f64 / 16384.0).max(1e-9);
    println!(
        "{advised} of {texts} texts advised about ({:.2} %): {tags:?}",
        100.0 * advised as f64 / texts.max(1) as f64
    );
    println!(
        "per 16 KB: cleaning {:.3} ms, rules and score {:.3} ms, score {:.3} ms",
        per(cleaning),
        per(ruling),
        per(scoring)
    );
    Ok(())
}
