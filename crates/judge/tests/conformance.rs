//! Runs every page of `conformance/` through the judge: normalize, decide, explain.
//! The pages are the truth; nothing about a decision is said here a second time.

mod ground;

use ground::{Ground, principal};
use judge::case::CaseFile;
use judge::policy::Policy;
use std::path::Path;

/// Fewest cases on a page that is worth its name.
const CASES_MIN: usize = 6;

#[test]
fn every_page_holds() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../conformance");
    let mut pages: Vec<_> = std::fs::read_dir(&folder)
        .expect("the conformance folder")
        .map(|entry| entry.expect("a readable folder").path())
        .filter(|path| path.extension().is_some_and(|kind| kind == "md"))
        .collect();
    pages.sort();
    let ground = Ground::new();
    let (mut total, mut failures) = (0, Vec::new());
    for path in pages {
        let name = format!("conformance/{}", path.file_name().unwrap_or_default().display());
        let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{name}: {error}"));
        let page = CaseFile::parse(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
        let inventory = page.inventory().unwrap_or_else(|error| panic!("{name}: {error}"));
        let policy =
            Policy::load(&[page.source(&name)], &inventory).unwrap_or_else(|error| panic!("{error}"));
        assert!(page.cases.len() >= CASES_MIN, "{name} holds only {} cases", page.cases.len());
        let broken = page
            .cases
            .iter()
            .filter_map(|case| case.check(&inventory, &policy, principal(), ground.facts()).err());
        failures.extend(broken.map(|broken| format!("{name}:{broken}")));
        eprintln!("{:4} cases in {name}", page.cases.len());
        total += page.cases.len();
    }
    eprintln!("{total:4} cases, {} do not hold", failures.len());
    assert!(failures.is_empty(), "\n{}", failures.join("\n"));
}

/// The runner can fail: each way in which a page may be wrong is noticed.
#[test]
fn a_wrong_page_is_noticed() {
    let page = |row: &str| {
        let text = format!(
            "```json tools\n[{{\"server\":\"s\",\"name\":\"t\",\"effect\":\"read\",\"reversible\":true,\"impact\":\"low\",\
             \"inputSchema\":{{\"type\":\"object\",\"properties\":{{}}}}}}]\n```\n```cedar\n@id(\"all\")\n\
             permit(principal, action, resource);\n```\n| call | decision | because |\n|---|---|---|\n{row}\n"
        );
        let page = CaseFile::parse(&text).expect("a readable page");
        let inventory = page.inventory().expect("tools");
        let policy =
            Policy::load(&[page.source("page.md")], &inventory).unwrap_or_else(|error| panic!("{error}"));
        page.cases[0].check(&inventory, &policy, principal(), Ground::new().facts())
    };
    assert!(page("| `s/t` | allow | `all` |").is_ok());
    for wrong in
        ["| `s/t` | deny | |", "| `s/t` | ask | |", "| `s/t` | allow | nobody |", "| `s/u` | allow | |"]
    {
        assert!(page(wrong).is_err(), "{wrong}");
    }
}
