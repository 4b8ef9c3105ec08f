//! A user's own rule: a regular expression with examples it must find and must not find. One that could run long, hold much back
//! or that fails its own examples is refused; the engine is linear, so none can hang.

use regex::bytes::{Regex, RegexBuilder};
use std::ops::Range;

/// Longest text one rule may match, in bytes.
pub const RULE_MATCH_BYTES_MAX: usize = 1024;
/// Shortest, in bytes: less would be found everywhere.
pub const RULE_MATCH_BYTES_MIN: usize = 4;
/// Longest pattern, in bytes.
pub const RULE_PATTERN_BYTES_MAX: usize = 4096;
/// Memory one compiled rule may use, in bytes.
pub const RULE_COMPILED_BYTES_MAX: usize = 1024 * 1024;
/// Most rules in one filter.
pub const RULES_ENTRIES_MAX: usize = 64;
/// A look to either side needs at most one character.
const LOOK_BYTES: usize = 4;
/// The part of a match that is replaced, when a pattern names one.
const PART: &str = "secret";

/// A rule as it is written.
#[derive(Clone, Debug)]
pub struct Written<'a> {
    /// Lowercase letters, digits and hyphens; part of the handle.
    pub name: &'a str,
    /// A regular expression; `(?<secret>…)` marks the part that is replaced, else all of it is.
    pub pattern: &'a str,
    /// Texts it must find something in: at least one.
    pub matches: &'a [&'a str],
    /// Texts it must find nothing in: at least one.
    pub near_misses: &'a [&'a str],
}

/// Why a rule was refused.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum RuleError {
    /// Its name cannot be part of a handle.
    #[error("`{0}` cannot name a rule; use one to 32 lowercase letters, digits and hyphens")]
    Name(String),
    /// The pattern is no regular expression of the linear kind, or too large.
    #[error("rule `{name}`: {why}")]
    Pattern {
        /// The rule.
        name: String,
        /// What is wrong.
        why: String,
    },
    /// What it matches has no end, or is next to nothing.
    #[error(
        "rule `{name}` matches {min} to {} bytes; bound it between {RULE_MATCH_BYTES_MIN} and {RULE_MATCH_BYTES_MAX}, with {{8,64}} in place of + and *",
        max.map_or_else(|| "any number of".to_owned(), |max| max.to_string())
    )]
    Length {
        /// The rule.
        name: String,
        /// The shortest match.
        min: usize,
        /// The longest, if there is one.
        max: Option<usize>,
    },
    /// It asks for the beginning or end of the whole text, which a stream has not got.
    #[error("rule `{0}` asks for the beginning or end of the text; write (?m) to mean those of a line")]
    WholeText(String),
    /// There are no examples of one kind.
    #[error("rule `{0}` needs at least one text it matches and one it does not")]
    NoExamples(String),
    /// It does not find an example.
    #[error("rule `{name}` does not match its example {example:?}")]
    Missed {
        /// The rule.
        name: String,
        /// The example.
        example: String,
    },
    /// It finds something in an example it must not match.
    #[error("rule `{name}` matches {example:?}, which it must not")]
    Caught {
        /// The rule.
        name: String,
        /// The example.
        example: String,
    },
}

/// A rule that holds what its examples promise.
#[derive(Clone, Debug)]
pub struct Rule {
    name: String,
    regex: Regex,
    reach_bytes: usize,
    /// Which group is replaced.
    part: Option<usize>,
}

impl Rule {
    /// Compiles a rule and tries its examples.
    ///
    /// # Errors
    /// [`RuleError`], a variant for each reason to refuse it.
    pub fn compile(written: &Written<'_>) -> Result<Self, RuleError> {
        let name = written.name.to_owned();
        let word = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        if name.is_empty() || name.len() > 32 || !name.bytes().all(word) {
            return Err(RuleError::Name(name));
        }
        let wrong = |why: String| RuleError::Pattern { name: name.clone(), why };
        if written.pattern.len() > RULE_PATTERN_BYTES_MAX {
            return Err(wrong(format!("the pattern is longer than {RULE_PATTERN_BYTES_MAX} bytes")));
        }
        let parsed =
            regex_syntax::ParserBuilder::new().utf8(false).nest_limit(64).build().parse(written.pattern);
        let parsed = parsed.map_err(|error| wrong(error.to_string()))?;
        let properties = parsed.properties();
        let (min, max) = (properties.minimum_len().unwrap_or(0), properties.maximum_len());
        let Some(longest) = max.filter(|max| *max <= RULE_MATCH_BYTES_MAX && min >= RULE_MATCH_BYTES_MIN)
        else {
            return Err(RuleError::Length { name, min, max });
        };
        let looks = properties.look_set();
        if looks.contains(regex_syntax::hir::Look::Start) || looks.contains(regex_syntax::hir::Look::End) {
            return Err(RuleError::WholeText(name));
        }
        let regex = RegexBuilder::new(written.pattern)
            .nest_limit(64)
            .size_limit(RULE_COMPILED_BYTES_MAX)
            .dfa_size_limit(RULE_COMPILED_BYTES_MAX)
            .build();
        let regex = regex.map_err(|error| wrong(error.to_string()))?;
        if written.matches.is_empty() || written.near_misses.is_empty() {
            return Err(RuleError::NoExamples(name));
        }
        if let Some(example) = written.matches.iter().find(|text| !regex.is_match(text.as_bytes())) {
            return Err(RuleError::Missed { name, example: (*example).to_owned() });
        }
        if let Some(example) = written.near_misses.iter().find(|text| regex.is_match(text.as_bytes())) {
            return Err(RuleError::Caught { name, example: (*example).to_owned() });
        }
        let part = regex.capture_names().position(|name| name == Some(PART));
        Ok(Self { name, regex, reach_bytes: longest + LOOK_BYTES, part })
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How far from its first byte a match may depend on the text, in bytes.
    pub(super) fn reach_bytes(&self) -> usize {
        self.reach_bytes
    }

    /// The first match that begins at `from` or later, and the part of it that is replaced.
    pub(super) fn find_at(&self, text: &[u8], from: usize) -> Option<(Range<usize>, Range<usize>)> {
        let Some(part) = self.part else {
            let whole = self.regex.find_at(text, from)?.range();
            return Some((whole.clone(), whole));
        };
        let captures = self.regex.captures_at(text, from)?;
        let whole = captures.get(0)?.range();
        let part = captures.get(part).map_or_else(|| whole.clone(), |part| part.range());
        Some((whole, part))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(pattern: &str) -> Result<Rule, RuleError> {
        let written = Written {
            name: "case-number",
            pattern,
            matches: &["see ACME-1234 now"],
            near_misses: &["ACME-12"],
        };
        Rule::compile(&written)
    }

    #[test]
    fn a_rule_that_holds_its_examples_is_taken_and_every_other_says_why() {
        assert!(rule(r"ACME-[0-9]{4}").is_ok());
        assert!(rule(r"\bACME-(?<secret>[0-9]{4})\b").is_ok());
        assert!(matches!(rule("ACME-[0-9]+"), Err(RuleError::Length { max: None, .. })));
        assert!(matches!(rule("ACME-[0-9]{4,2000}"), Err(RuleError::Length { .. })));
        assert!(matches!(rule("A|ACME-[0-9]{4}"), Err(RuleError::Length { min: 1, .. })));
        assert!(matches!(rule("^ACME-[0-9]{4}"), Err(RuleError::WholeText(_))));
        assert!(matches!(rule("(ACME"), Err(RuleError::Pattern { .. })));
        assert!(matches!(rule(r"(ACME)-\1{4}"), Err(RuleError::Pattern { .. })));
        assert!(matches!(rule(r"(\w{100}){10}"), Err(RuleError::Pattern { .. } | RuleError::Length { .. })));
        assert!(matches!(rule("XCME-[0-9]{4}"), Err(RuleError::Missed { .. })));
        assert!(matches!(rule("ACME-[0-9]{2}"), Err(RuleError::Caught { .. })));
        let named =
            |name| Rule::compile(&Written { name, pattern: "abcd", matches: &["abcd"], near_misses: &["x"] });
        assert!(matches!(named("A b"), Err(RuleError::Name(_))));
        assert!(named("ab-1").is_ok());
        let none = Written { name: "x", pattern: "abcd", matches: &["abcd"], near_misses: &[] };
        assert!(matches!(Rule::compile(&none), Err(RuleError::NoExamples(_))));
    }
}
