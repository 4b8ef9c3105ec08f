//! Every package the product is built from has a licence that its users can accept (deny.toml lists the same).
//! It reads cargo's own metadata for this platform and asks no network.

use anyhow::{Context, bail};
use std::collections::BTreeMap;

/// Licences that any one of may be chosen; deny.toml holds the same list, and a test compares the two.
const ALLOWED: [&str; 13] = [
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "CC0-1.0",
    "CDLA-Permissive-2.0",
    "ISC",
    "MIT",
    "MIT-0",
    "MPL-2.0",
    "Unicode-3.0",
    "Zlib",
];

/// Licences that one package alone may have, because it never ships: libFuzzer itself.
const EXCEPTIONS: [(&str, &str); 1] = [("libfuzzer-sys", "NCSA")];

/// Prints what is not allowed and how many packages were looked at; true when all are.
pub(crate) fn report() -> anyhow::Result<bool> {
    let found = packages()?;
    let refused: Vec<_> = found
        .iter()
        .filter(|(package, licence)| {
            let name = package.split(' ').next().unwrap_or_default();
            let extra =
                EXCEPTIONS.iter().find(|(excepted, _)| *excepted == name).map_or("", |(_, licence)| licence);
            !allowed(licence, extra)
        })
        .collect();
    for (package, licence) in &refused {
        println!("{package}: `{licence}` is not among the allowed licences");
    }
    println!("licences: {} packages, {} refused", found.len(), refused.len());
    Ok(refused.is_empty())
}

fn packages() -> anyhow::Result<BTreeMap<String, String>> {
    let host = env!("HOST_PLATFORM");
    let out = crate::cargo()
        .args(["metadata", "--format-version", "1", "--filter-platform", host])
        .stderr(std::process::Stdio::inherit())
        .output()?;
    if !out.status.success() {
        bail!("cargo metadata: {}", out.status);
    }
    let metadata: serde_json::Value = serde_json::from_slice(&out.stdout)?;
    let packages = metadata["packages"].as_array().context("cargo metadata names no packages")?;
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    Ok(packages
        .iter()
        .map(|one| (format!("{} {}", text(&one["name"]), text(&one["version"])), text(&one["license"])))
        .collect())
}

/// Whether the SPDX expression can be met by allowed licences and `extra` alone. `/` is an old spelling of `OR`.
fn allowed(expression: &str, extra: &str) -> bool {
    let spaced =
        expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ").replace(" WITH ", "\u{1}");
    let words: Vec<String> = spaced.split_whitespace().map(|word| word.replace('\u{1}', " WITH ")).collect();
    let mut rest = words.as_slice();
    either(&mut rest, extra) == Some(true) && rest.is_empty()
}

fn either(rest: &mut &[String], extra: &str) -> Option<bool> {
    let mut any = both(rest, extra)?;
    while rest.first().is_some_and(|word| word == "OR") {
        *rest = &rest[1..];
        any |= both(rest, extra)?;
    }
    Some(any)
}

fn both(rest: &mut &[String], extra: &str) -> Option<bool> {
    let mut all = one(rest, extra)?;
    while rest.first().is_some_and(|word| word == "AND") {
        *rest = &rest[1..];
        all &= one(rest, extra)?;
    }
    Some(all)
}

fn one(rest: &mut &[String], extra: &str) -> Option<bool> {
    let (first, after) = rest.split_first()?;
    *rest = after;
    if first != "(" {
        return (first != ")" && first != "OR" && first != "AND")
            .then(|| ALLOWED.contains(&first.as_str()) || first == extra);
    }
    let inside = either(rest, extra)?;
    let (close, after) = rest.split_first()?;
    *rest = after;
    (close == ")").then_some(inside)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_expression_is_allowed_when_allowed_licences_meet_it() {
        let rows = [
            ("MIT", true),
            ("GPL-3.0-only", false),
            ("MIT OR GPL-3.0-only", true),
            ("MIT AND GPL-3.0-only", false),
            ("MIT/Apache-2.0", true),
            ("(MIT OR GPL-3.0-only) AND Unicode-3.0", true),
            ("(MIT OR Apache-2.0) AND GPL-3.0-only", false),
            ("Apache-2.0 WITH LLVM-exception", true),
            ("GPL-3.0-only WITH Classpath-exception-2.0", false),
            ("MIT AND GPL-3.0-only OR ISC", true),
            ("", false),
            ("(MIT", false),
            ("MIT)", false),
            ("MIT MIT", false),
        ];
        for (expression, wanted) in rows {
            assert_eq!(allowed(expression, ""), wanted, "{expression}");
        }
        assert!(
            allowed("(MIT OR Apache-2.0) AND NCSA", "NCSA") && !allowed("(MIT OR Apache-2.0) AND NCSA", "")
        );
    }

    #[test]
    fn deny_toml_allows_the_same() {
        let text = std::fs::read_to_string(crate::root().join("deny.toml")).unwrap();
        let list = text.split("allow = [").nth(1).unwrap().split(']').next().unwrap();
        let listed: Vec<&str> = list.split('"').skip(1).step_by(2).collect();
        assert_eq!(listed, ALLOWED);
    }
}
