//! The rules of the house that a compiler does not know, checked file by file.
//! It reads text and judges by line; it changes nothing.

use anyhow::Context;
use std::path::{Path, PathBuf};

/// Longest source file, in lines, tests included.
const FILE_LINES_MAX: usize = 900;
/// Words that name no duty.
const EMPTY_NAMES: [&str; 5] = ["manager", "helper", "util", "handler", "processor"];
/// Words that end a bound's name before `_MAX` and say what it counts.
const UNITS: [&str; 48] = [
    "PEOPLE",
    "PHASES",
    "BITS",
    "ADDRESSES",
    "NAMES",
    "FINDINGS",
    "INSTRUCTIONS",
    "BYTES",
    "SECONDS",
    "MS",
    "LINES",
    "LEVELS",
    "DEPTH",
    "ENTRIES",
    "MESSAGES",
    "COMMANDS",
    "NODES",
    "ATTEMPTS",
    "SIGNATURES",
    "SEGMENTS",
    "PENDING",
    "SESSIONS",
    "TOOLS",
    "FILES",
    "PAGES",
    "ROUNDS",
    "CALLS",
    "CONDITIONS",
    "ALTERNATIVES",
    "LISTENS",
    "HOMES",
    "FOLLOWED",
    "REMEMBERED",
    "PERMITS",
    "PARKED",
    "RUNNING",
    "WAITING",
    "SEEN",
    "RESUME",
    "ITEMS",
    "WORDS",
    "CHARS",
    "DAYS",
    "CONNECTIONS",
    "REQUESTS",
    "PEERS",
    "ROWS",
    "USES",
];
/// The same in prose, for a documentation comment.
const UNIT_WORDS: [&str; 12] = [
    "bytes",
    "seconds",
    "milliseconds",
    "levels",
    "characters",
    "lines",
    "values",
    "calls",
    "integer",
    "entries",
    "days",
    "at once",
];

/// One broken rule.
#[derive(Debug, PartialEq, Eq)]
struct Fault {
    line: usize,
    why: String,
}

/// Prints every broken rule under `root`; true when there is none.
pub(crate) fn report(root: &Path) -> anyhow::Result<bool> {
    let (files, faults) = faults(root)?;
    for fault in &faults {
        println!("{fault}");
    }
    println!("tidy: {files} files, {} faults", faults.len());
    Ok(faults.is_empty())
}

fn faults(root: &Path) -> anyhow::Result<(usize, Vec<String>)> {
    let mut files = Vec::new();
    for part in ["crates", "examples", "conformance", "fuzz", "xtask", "docs"] {
        gather(&root.join(part), &mut files)?;
    }
    files.sort();
    let mut all = Vec::new();
    for path in &files {
        let relative = path.strip_prefix(root).unwrap_or(path);
        let Ok(text) = std::fs::read_to_string(path) else { continue };
        let named = |fault: Fault| format!("{}:{}: {}", relative.display(), fault.line, fault.why);
        all.extend(check(&relative.to_string_lossy(), &text).into_iter().map(named));
    }
    Ok((files.len(), all))
}

fn gather(dir: &Path, files: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    if !dir.is_dir() {
        return Ok(());
    }
    for entry in std::fs::read_dir(dir).with_context(|| dir.display().to_string())? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let left_out = ["target", "corpus", "artifacts", "coverage", "Cargo.lock"].contains(&name)
            || name.starts_with('.');
        if path.is_dir() && !left_out {
            gather(&path, files)?;
        } else if path.is_file() && !left_out {
            files.push(path);
        }
    }
    Ok(())
}

/// Every rule `text` breaks, as the file at `path` below the root.
fn check(path: &str, text: &str) -> Vec<Fault> {
    let mut faults = machine_paths(path, text);
    if !path.ends_with(".rs") {
        return faults;
    }
    if path.starts_with("crates/") && path.contains("/src/") {
        faults.extend(opening(path, text));
        faults.extend(unwraps(path, text));
        faults.extend(bounds(text));
    }
    let lines = text.lines().count();
    if lines > FILE_LINES_MAX {
        faults.push(Fault {
            line: lines,
            why: format!("{lines} lines; at most {FILE_LINES_MAX}, so divide it by duty"),
        });
    }
    faults.extend(names(path, text));
    faults.extend(lent_powers(path, text));
    faults
}

/// A crate's root opens with two sentences, any other module with one: what happens here, and what never does.
fn opening(path: &str, text: &str) -> Option<Fault> {
    let prose: Vec<&str> = text.lines().map_while(|line| line.strip_prefix("//!")).map(str::trim).collect();
    let paragraph: Vec<&str> = prose.iter().copied().take_while(|line| !line.is_empty()).collect();
    let joined = format!("{} ", paragraph.join(" "));
    let sentences =
        [". ", "? ", "! ", "; ", ": "].iter().map(|end| joined.matches(end).count()).sum::<usize>();
    let wanted = if path.ends_with("src/lib.rs") || path.ends_with("src/main.rs") { 2 } else { 1 };
    let why = format!(
        "opens with {sentences} of the {wanted} `//!` sentences that say what happens here and what never does"
    );
    (sentences < wanted).then_some(Fault { line: 1, why })
}

/// The lines of a file that run in the product: numbered, without comments and without test modules.
fn product(path: &str, text: &str) -> Vec<(usize, String)> {
    if path.contains("/tests/") || path.ends_with("/tests.rs") {
        return Vec::new();
    }
    let mut lines = Vec::new();
    let mut all = text.lines().enumerate().peekable();
    while let Some((index, line)) = all.next() {
        let opens_tests = line.trim() == "#[cfg(test)]"
            && all.peek().is_some_and(|(_, next)| next.trim().starts_with("mod "));
        if opens_tests {
            let indent = line.len() - line.trim_start().len();
            let closes = |line: &str| line.trim_end() == format!("{}}}", " ".repeat(indent));
            if all.next().is_some_and(|(_, opening)| opening.trim_end().ends_with('{')) {
                all.by_ref().find(|(_, line)| closes(line));
            }
        } else if !line.trim_start().starts_with("//") {
            lines.push((index + 1, line.to_owned()));
        }
    }
    lines
}

fn unwraps(path: &str, text: &str) -> Vec<Fault> {
    let barred = [".unwrap()", ".unwrap_err()", "todo!(", "unimplemented!(", "dbg!("];
    let found = |(line, code): (usize, String)| {
        barred
            .iter()
            .find(|word| code.contains(**word))
            .map(|word| Fault { line, why: format!("`{word}` outside tests") })
    };
    product(path, text).into_iter().filter_map(found).collect()
}

/// Powers that one crate has alone: unsafe code, and values that can be made from text.
fn lent_powers(path: &str, text: &str) -> Vec<Fault> {
    let mut faults = Vec::new();
    let product = product(path, text);
    for (at, (line, code)) in product.iter().enumerate() {
        let mut words = code.split(|c: char| !c.is_alphanumeric() && c != '_');
        if words.any(|word| word == "unsafe")
            && path.starts_with("crates/")
            && !path.starts_with("crates/sandbox/")
        {
            let quoted = code.contains("\"") && !code.contains("unsafe {") && !code.contains("unsafe fn");
            if !quoted {
                faults.push(Fault { line: *line, why: "`unsafe` outside crates/sandbox".to_owned() });
            }
        }
        let derives =
            code.contains("derive(") && (code.contains("Serialize") || code.contains("Deserialize"));
        if path.starts_with("crates/judge/src/") && derives {
            let item =
                product[at + 1..].iter().map(|(_, code)| code.trim()).find(|code| !code.starts_with("#["));
            // A private row of a page may be read; what others hold may not come from text.
            if item.is_none_or(|item| item.starts_with("pub")) {
                faults.push(Fault {
                    line: *line,
                    why: "a public type of the judge can be made from or into text; \
                    keep wire types in crates/gateway/src/wire"
                        .to_owned(),
                });
            }
        }
    }
    faults
}

fn names(path: &str, text: &str) -> Vec<Fault> {
    let empty = |name: &str| {
        name.split('_')
            .map(|word| word.strip_suffix('s').unwrap_or(word))
            .find(|word| EMPTY_NAMES.contains(word))
            .map(str::to_owned)
    };
    let why = |name: &str, word: &str| format!("`{name}` says nothing: `{word}` names no duty");
    let mut faults = Vec::new();
    for part in path.split('/') {
        let stem = part.split('.').next().unwrap_or_default().replace('-', "_");
        if let Some(word) = empty(&stem) {
            faults.push(Fault { line: 1, why: why(part, &word) });
        }
    }
    for (index, line) in text.lines().enumerate() {
        let code = line
            .trim()
            .trim_start_matches("pub(crate) ")
            .trim_start_matches("pub(super) ")
            .trim_start_matches("pub ");
        let Some(name) = code.strip_prefix("mod ").map(|rest| rest.trim_end_matches([' ', '{', ';'])) else {
            continue;
        };
        if let Some(word) = empty(name) {
            faults.push(Fault { line: index + 1, why: why(name, &word) });
        }
    }
    faults
}

/// Nothing but the chores themselves may know where this checkout or its neighbours lie.
fn machine_paths(path: &str, text: &str) -> Vec<Fault> {
    if path.starts_with("xtask/") || path.starts_with(".ci/") {
        return Vec::new();
    }
    let mut faults = Vec::new();
    for (index, line) in text.lines().enumerate() {
        for place in ["/work/", "/Users/", "/root/", "../shared"] {
            let alone = |at: usize| {
                !line[..at]
                    .ends_with(|c: char| c.is_alphanumeric() || c == '.' || c == '/' || c == '*' || c == '}')
            };
            if line.match_indices(place).any(|(at, _)| alone(at)) {
                faults.push(Fault {
                    line: index + 1,
                    why: format!("`{place}` is a place on somebody's machine"),
                });
            }
        }
    }
    faults
}

/// `BODY_BYTES_MAX`: what is counted stands last, or the comment says it.
fn bounds(text: &str) -> Vec<Fault> {
    let mut faults = Vec::new();
    let mut comment = String::new();
    for (index, line) in text.lines().enumerate() {
        let code = line.trim();
        if let Some(words) = code.strip_prefix("///") {
            comment.push_str(words);
            continue;
        }
        let name = code.strip_prefix("pub const ").and_then(|rest| rest.split(':').next());
        if let Some(bound) = name.and_then(|name| name.strip_suffix("_MAX")) {
            let unit = bound.rsplit('_').next().unwrap_or_default();
            let said = UNIT_WORDS.iter().any(|word| comment.to_lowercase().contains(word));
            if !UNITS.contains(&unit) && !said {
                faults.push(Fault {
                    line: index + 1,
                    why: format!("`{bound}_MAX` does not say what it counts: end it with a unit"),
                });
            }
        }
        if !code.starts_with("#[") {
            comment.clear();
        }
    }
    faults
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_house_is_tidy() {
        let (files, faults) = faults(&crate::root()).unwrap();
        assert!(files > 50, "only {files} files were found");
        assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
    }

    #[test]
    fn each_rule_has_a_file_that_breaks_it_and_one_that_does_not() {
        let doc = "//! It does this. It never does that.\n";
        let long = "//\n".repeat(FILE_LINES_MAX);
        let rules = [
            ("crates/a/src/lib.rs", "//! Only one.\n", Some("opens with 1 of the 2")),
            ("crates/a/src/b.rs", "//! Only one.\n", None),
            ("crates/a/src/b.rs", "//! no end\n", Some("opens with 0")),
            ("crates/a/src/b.rs", "use x;\n", Some("opens with 0")),
            ("crates/a/src/b.rs", "fn f() { x.unwrap() }\n", Some("`.unwrap()` outside tests")),
            ("crates/a/src/b.rs", "// x.unwrap()\n", None),
            ("crates/a/src/b.rs", "#[cfg(test)]\nmod tests {\n    fn f() { x.unwrap() }\n}\n", None),
            (
                "crates/a/src/b.rs",
                "#[cfg(test)]\nmod tests {\n}\nfn f() { x.unwrap() }\n",
                Some("outside tests"),
            ),
            ("crates/a/src/b.rs", "#[cfg(test)]\nmod tests;\nfn f() { todo!() }\n", Some("outside tests")),
            ("crates/a/src/b.rs", "fn f() { unsafe { g() } }\n", Some("outside crates/sandbox")),
            ("crates/sandbox/src/b.rs", "fn f() { unsafe { g() } }\n", None),
            ("crates/a/src/b.rs", long.as_str(), Some("lines; at most")),
            ("crates/a/src/file_utils.rs", "", Some("names no duty")),
            ("crates/a/src/utility.rs", "", None),
            ("crates/a/src/b.rs", "pub(crate) mod event_handler;\n", Some("names no duty")),
            (
                "crates/judge/src/b.rs",
                "#[derive(Serialize)]\npub struct A;\n",
                Some("public type of the judge"),
            ),
            ("crates/judge/src/b.rs", "#[derive(Deserialize)]\nstruct Row;\n", None),
            ("crates/gateway/src/b.rs", "#[derive(Serialize)]\npub struct A;\n", None),
            ("crates/a/src/b.rs", "const A: &str = \"/work/x\";\n", Some("somebody's machine")),
            ("crates/a/src/b.rs", "const A: &str = \"/home/ann/work/x\";\n", None),
            ("docs/a.md", "see ../shared\n", Some("somebody's machine")),
            ("xtask/src/b.rs", "// ../shared\n", None),
            ("crates/a/src/b.rs", "pub const THING_MAX: usize = 1;\n", Some("does not say what it counts")),
            ("crates/a/src/b.rs", "const THING_MAX: usize = 1;\n", None),
            ("crates/a/src/b.rs", "pub const THING_BYTES_MAX: usize = 1;\n", None),
            ("crates/a/src/b.rs", "/// In seconds.\npub const THING_MAX: usize = 1;\n", None),
        ];
        for (path, body, wanted) in rules {
            let text = if body.starts_with("//!") || body.starts_with("use x") {
                body.to_owned()
            } else {
                format!("{doc}{body}")
            };
            let found = check(path, &text);
            match wanted {
                None => assert_eq!(found, [], "{path}: {body}"),
                Some(why) => {
                    assert!(found.len() == 1 && found[0].why.contains(why), "{path}: {body}: {found:?}")
                }
            }
        }
    }
}
