//! A page of cases: any text is read or refused by line, and lines are those of the page.
//! A page that is read can be asked for its tools and policies.
#![no_main]

use judge::case::CaseFile;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let Ok(page) = CaseFile::parse(text) else { return };
    let lines = text.lines().count();
    for case in &page.cases {
        assert!((1..=lines).contains(&case.line), "{case:?}");
        assert!(!case.name.server.contains('/'), "{case:?}");
    }
    for block in page.policies.iter().chain(&page.tools) {
        assert!((1..=lines + 1).contains(&block.line), "{block:?}");
    }
    drop((page.inventory(), page.source("page.md")));
});
