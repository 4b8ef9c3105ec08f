//! A path, as written and behind links that the input chooses: absolute, free of `.`, `..` and `//`, always ending.
//! A path that is already in normal form stays as it is, and a resolved path resolves to itself.
#![no_main]

use judge::request::path::{AbsPath, LinkFact, Links, Zones, lexical, resolve};
use libfuzzer_sys::fuzz_target;
use std::collections::HashMap;

struct Table(HashMap<String, LinkFact>);

impl Links for Table {
    fn read_link(&self, path: &AbsPath) -> LinkFact {
        self.0.get(path.as_str()).cloned().unwrap_or(LinkFact::Plain)
    }
}

fn normal(path: &AbsPath) {
    assert!(path.as_str().starts_with('/'), "{path:?}");
    assert!(path.components().all(|part| part != "." && part != ".."), "{path:?}");
    assert!(
        !path.as_str().contains("//") && (path.as_str().len() == 1 || !path.as_str().ends_with('/')),
        "{path:?}"
    );
}

// One line is the path; each further line is `PATH>TARGET` (a link), `PATH!` (unreadable) or `PATH?` (absent).
fuzz_target!(|text: &str| {
    let place = |text: &str| AbsPath::parse(text).expect("a fixed place");
    let (cwd, home) = (place("/home/ann/work"), place("/home/ann"));
    let mut lines = text.split('\n');
    let given = lines.next().unwrap_or_default();
    let table = lines.filter_map(|line| match line.split_once('>') {
        Some((at, target)) => Some((at.to_owned(), LinkFact::Link(target.to_owned()))),
        None => line
            .strip_suffix('!')
            .map(|at| (at.to_owned(), LinkFact::Unreadable))
            .or_else(|| line.strip_suffix('?').map(|at| (at.to_owned(), LinkFact::Absent))),
    });
    let links = Table(table.collect());
    if let Ok(path) = lexical(given, &cwd, &home) {
        normal(&path);
        assert_eq!(lexical(path.as_str(), &cwd, &home).ok().as_ref(), Some(&path));
        assert!(path.is_within(&AbsPath::root()) && path.is_within(&path) && path.is_within_folded(&path));
        path.confusable();
    }
    let Ok(found) = resolve(given, &cwd, &home, &links) else { return };
    for path in [&found.lexical, &found.entry, &found.real] {
        normal(path);
    }
    let again =
        resolve(found.real.as_str(), &cwd, &home, &links).expect("a real path has no links left to follow");
    assert_eq!(again.real, found.real);
    let zones = Zones {
        workspace: cwd,
        home,
        temp: vec![place("/tmp")],
        gate: vec![place("/home/ann/work/.bailiwick")],
    };
    zones.zone(&found.real);
});
