//! Builds the fuzz targets once and gives each a few seconds, printing how much it saw.
//! It works on the stable compiler: coverage comes from LLVM's own pass, sanitizers are left out (there is no unsafe).

use anyhow::{Context, bail};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::sync::atomic::{AtomicUsize, Ordering};

/// Where libFuzzer sees which branches of our own crates an input took: the flags of `cargo fuzz --sanitizer none`, some speed,
/// and `fuzzing`, which opens the doors to readers that no other crate may call. Debug assertions stay: a wrapped length is a
/// finding. Libraries are not instrumented, so that they are built once for everything.
const COVERAGE: [&str; 8] = [
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    "-Copt-level=1",
    "--cfg",
    "fuzzing",
];
/// Set where this program stands between cargo and the compiler.
pub(crate) const INSTRUMENTS: &str = "XTASK_INSTRUMENTS";
/// The package of the targets.
const PACKAGE: &str = "bailiwick-fuzz";
/// Without it they are not built.
const FEATURE: &str = "instrumented";
/// Longest input tried, in bytes: past this, bounds are what is tested, and unit tests do that.
const INPUT_BYTES_MAX: &str = "-max_len=8192";
/// Longest time for one input, in seconds.
const INPUT_SECONDS_MAX: &str = "-timeout=10";
/// Most memory, in MiB.
const MEMORY_MIB_MAX: &str = "-rss_limit_mb=2048";

pub(crate) fn run(arguments: &[&str]) -> anyhow::Result<bool> {
    let (mut seconds, mut runs, mut chosen) = ("8".to_owned(), None, Vec::new());
    let mut words = arguments.iter();
    while let Some(word) = words.next() {
        let mut number = || words.next().map(|text| (*text).to_owned()).context("a number is missing");
        match *word {
            "--seconds" => seconds = number()?,
            "--runs" => runs = Some(number()?),
            target => chosen.push(target.to_owned()),
        }
    }
    let folder = crate::root().join("fuzz");
    let mut build = crate::cargo();
    build.env("RUSTC_WORKSPACE_WRAPPER", std::env::current_exe()?).env(INSTRUMENTS, "1");
    build.args(["build", "--quiet", "--locked", "--bins", "--package", PACKAGE, "--features", FEATURE]);
    crate::succeed(&mut build)?;
    let all = targets(&folder)?;
    if let Some(unknown) = chosen.iter().find(|name| !all.contains(name)) {
        bail!("there is no fuzz target `{unknown}`; there are {}", all.join(", "));
    }
    let (mut inputs, mut crashed) = (0, Vec::new());
    let targets: Vec<_> = all.iter().filter(|name| chosen.is_empty() || chosen.contains(name)).collect();
    let binaries = crate::target().join("debug");
    let next = AtomicUsize::new(0);
    let work = || {
        let mut seen = Vec::new();
        while let Some(target) = targets.get(next.fetch_add(1, Ordering::Relaxed)) {
            seen.push((*target, one(&folder, &binaries.join(target), target, &seconds, runs.as_deref())));
        }
        seen
    };
    // One on each core.
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let mut all: Vec<_> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..cores).map(|_| scope.spawn(work)).collect();
        workers.into_iter().flat_map(|worker| worker.join().expect("a worker does not panic")).collect()
    });
    all.sort_by_key(|(target, _)| *target);
    for (target, seen) in all {
        let seen = seen?;
        inputs += seen.inputs;
        let what = if seen.fine { "ok  " } else { "FAIL" };
        println!(
            "{what} fuzz {target:<10} {:>9} inputs, {:>6} branches, {:>5} in the corpus",
            seen.inputs, seen.branches, seen.corpus
        );
        if !seen.fine {
            println!("{}", seen.story);
            crashed.push(target.as_str());
        }
    }
    println!(
        "fuzz: {} targets, {inputs} inputs, {} crashed {}",
        targets.len(),
        crashed.len(),
        crashed.join(" ")
    );
    Ok(crashed.is_empty())
}

/// Compiles as cargo asks, with what [`COVERAGE`] adds; build scripts run here and are left as they are.
pub(crate) fn instrumented(arguments: &[String]) -> ExitCode {
    let Some((compiler, rest)) = arguments.split_first() else { return ExitCode::FAILURE };
    let mut compile = Command::new(compiler);
    compile.args(rest);
    if rest.iter().any(|word| word == "--crate-name") && !rest.iter().any(|word| word == "build_script_build")
    {
        compile.args(COVERAGE);
    }
    eprintln!("xtask: {compiler}: {}", compile.exec());
    ExitCode::FAILURE
}

struct Seen {
    inputs: u64,
    branches: u64,
    corpus: usize,
    fine: bool,
    story: String,
}

fn one(
    folder: &Path,
    binary: &Path,
    target: &str,
    seconds: &str,
    runs: Option<&str>,
) -> anyhow::Result<Seen> {
    let (corpus, artifacts) = (folder.join("corpus").join(target), folder.join("artifacts").join(target));
    std::fs::create_dir_all(&artifacts)?;
    // What is newly found goes into a folder that is thrown away; the corpus in the repository is chosen by hand.
    let found = tempfile::tempdir()?;
    let mut fuzz = Command::new(binary);
    fuzz.arg(found.path());
    if corpus.is_dir() {
        fuzz.arg(&corpus);
    }
    fuzz.args([INPUT_BYTES_MAX, INPUT_SECONDS_MAX, MEMORY_MIB_MAX, "-print_final_stats=1"]);
    fuzz.arg(format!("-artifact_prefix={}/", artifacts.display()));
    fuzz.arg(format!("-max_total_time={seconds}"));
    if let Some(runs) = runs {
        fuzz.arg(format!("-runs={runs}"));
    }
    let out = fuzz.current_dir(folder).output().with_context(|| binary.display().to_string())?;
    let text = String::from_utf8_lossy(&out.stderr).into_owned();
    let last = |before: &str, end: &str| -> u64 {
        let found = text.rmatch_indices(before).find_map(|(at, _)| {
            let rest = text[at + before.len()..].trim_start();
            rest.split(|c: char| end.contains(c)).next()?.parse().ok()
        });
        found.unwrap_or(0)
    };
    let inputs = last("stat::number_of_executed_units:", "\n").max(last("\n#", " \t"));
    let lines: Vec<&str> = text.lines().collect();
    Ok(Seen {
        inputs,
        branches: last("cov: ", " "),
        corpus: std::fs::read_dir(&corpus).map_or(0, Iterator::count),
        // A target that tried nothing has shown nothing.
        fine: out.status.success() && inputs > 0,
        story: lines[lines.len().saturating_sub(60)..].join("\n"),
    })
}

fn targets(folder: &Path) -> anyhow::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder.join("fuzz_targets"))? {
        let path = entry?.path();
        names.extend(path.file_stem().and_then(|stem| stem.to_str()).map(str::to_owned));
    }
    names.sort();
    Ok(names)
}
