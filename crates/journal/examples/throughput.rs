//! Measures what this machine's disk and processor allow: durable entries per second and latency at several writer
//! counts, then verification. It prints what it measured and judges nothing.

use journal::{Journal, SigningKey, verify};
use std::time::{Duration, Instant};

const ENTRY_BYTES: usize = 968;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let base = arguments.next().map_or_else(std::env::temp_dir, Into::into);
    let seconds = arguments.next().map_or(Ok(5), |text| text.parse())?;
    let scratch = tempfile::tempdir_in(base)?;
    println!("{:>7} {:>12} {:>9} {:>9} {:>9}", "writers", "entries/s", "p50 ms", "p99 ms", "max ms");
    for writers in [1, 16, 64] {
        let dir = scratch.path().join(writers.to_string());
        let (log, _) = Journal::open(&dir, SigningKey::generate("bench")?, "bench")?;
        let started = Instant::now();
        let mut waits: Vec<Duration> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..writers)
                .map(|_| scope.spawn(|| append_for(&log, Duration::from_secs(seconds))))
                .collect();
            threads.into_iter().flat_map(|thread| thread.join().expect("a writer ran to its end")).collect()
        });
        let rate = waits.len() as f64 / started.elapsed().as_secs_f64();
        waits.sort_unstable();
        let at = |share: f64| waits[((waits.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e3;
        println!("{writers:>7} {rate:>12.0} {:>9.2} {:>9.2} {:>9.2}", at(0.5), at(0.99), at(1.0));
        log.close()?;
    }
    let dir = scratch.path().join("verify");
    let key = SigningKey::generate("bench")?;
    let public = key.verifier();
    let (log, _) = Journal::open(&dir, key, "bench")?;
    let tickets: Result<Vec<_>, _> = (0..500_000u64).map(|i| log.append(entry(i))).collect();
    for ticket in tickets? {
        ticket.wait()?;
    }
    log.close()?;
    let started = Instant::now();
    let report = verify(&dir, &public, &[])?;
    let rate = report.size as f64 / started.elapsed().as_secs_f64();
    println!("verify, one thread: {} entries, {rate:.0} entries/s", report.size);
    Ok(())
}

fn append_for(log: &Journal, time: Duration) -> Vec<Duration> {
    let (end, mut waits) = (Instant::now() + time, Vec::new());
    while Instant::now() < end {
        let started = Instant::now();
        log.append(entry(waits.len() as u64)).and_then(|ticket| ticket.wait()).expect("the disk has room");
        waits.push(started.elapsed());
    }
    waits
}

fn entry(number: u64) -> Vec<u8> {
    let mut entry = vec![b'.'; ENTRY_BYTES];
    entry[..8].copy_from_slice(&number.to_be_bytes());
    entry
}
