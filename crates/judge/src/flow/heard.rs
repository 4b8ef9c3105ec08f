//! What the user said and what the operator configured: the only sources that may choose a receiver.
//! A value is found whole or not at all, and what anybody says proves nothing.

use super::word::{self, Word};

/// Most words of the user remembered in one conversation; what comes later is not found.
const WORDS_MAX: usize = 64 * 1024;
/// How many words before a number may say what it counts.
const NEAR_WORDS: usize = 3;
/// Shortest value, in characters, that is also found when it is written in pieces.
const PIECES_CHARS_MIN: usize = 8;
/// Words that say that a name or number follows.
const NAMING: [&str; 8] = ["id", "ids", "number", "no", "nr", "named", "called", "titled"];
/// Most numbers the user said that are computed with.
const SAID_NUMBERS_MAX: usize = 16;
/// Sorted: words by which one asks for a number that is not said.
const COMPUTING: [&str; 18] = [
    "additional",
    "another",
    "decrease",
    "deduct",
    "difference",
    "discount",
    "excess",
    "extra",
    "increase",
    "less",
    "minus",
    "overpaid",
    "plus",
    "raise",
    "remainder",
    "rest",
    "subtract",
    "sum",
];
/// Word pairs and words before a number that bound an amount from above.
const BOUNDS: [&[&str]; 9] = [
    &["up", "to"],
    &["at", "most"],
    &["no", "more", "than"],
    &["not", "more", "than"],
    &["less", "than"],
    &["under"],
    &["below"],
    &["max"],
    &["maximum"],
];

/// The user's words.
#[derive(Clone, Debug, Default)]
pub(super) struct Heard {
    words: Vec<Word>,
    is_any: bool,
    /// The user spoke of parts in a hundred.
    has_percent: bool,
}

impl Heard {
    /// Adds a message of the user.
    pub(super) fn hear(&mut self, text: &str) {
        self.is_any = true;
        self.has_percent |= text.contains('%') || text.contains("percent");
        for text in std::iter::once(text.into()).chain(spaced(text).map(std::borrow::Cow::Owned)) {
            // A message's end is no part of a value that the next begins.
            self.words.push(Word { text: String::new(), is_name: false });
            word::each(&text, |word| {
                if self.words.len() < WORDS_MAX {
                    self.words.push(word);
                }
            });
        }
    }

    /// Whether anything is known of what the user said.
    pub(super) fn is_any(&self) -> bool {
        self.is_any
    }

    /// Whether the user said `value`; `nouns` are the words of the argument's name, which make a weak value mean something.
    pub(super) fn says(&self, value: &[String], nouns: &[String]) -> bool {
        self.places(value).any(|(at, length)| {
            let found = &self.words[at..at + length];
            let is_weak = length <= 2 && found.iter().all(|word| word::is_weak(&word.text));
            !is_weak || found.iter().all(|word| word.is_name && word::number(&word.text).is_none()) || {
                let before = &self.words[at.saturating_sub(NEAR_WORDS)..at];
                let after = self.words.get(at + length);
                before.iter().chain(after).any(|word| {
                    let text = word.text.as_str();
                    nouns.iter().any(|noun| text == noun || text.strip_suffix('s') == Some(noun))
                        || NAMING.contains(&text)
                })
            }
        })
    }

    /// Whether the user said this very number, or bounded it from above.
    pub(super) fn allows(&self, amount: &str) -> bool {
        let Ok(wanted) = amount.parse::<f64>() else { return false };
        self.words.iter().enumerate().any(|(at, word)| {
            if word.text == amount {
                return true;
            }
            let Some(said) = word::number(&word.text).and_then(|text| text.parse::<f64>().ok()) else {
                return false;
            };
            wanted >= 0.0
                && wanted <= said
                && BOUNDS.iter().any(|bound| {
                    at >= bound.len()
                        && self.words[at - bound.len()..at]
                            .iter()
                            .map(|word| word.text.as_str())
                            .eq(bound.iter().copied())
                })
        })
    }

    /// Whether this is what the user asked to be computed: of one or two numbers that were said, and at most one that a server
    /// vouches for. Only where the user spoke of computing; what it costs is bounded by the numbers there are.
    pub(super) fn computes(&self, amount: &str, vouched: &[f64]) -> bool {
        let asks = |word: &Word| COMPUTING.binary_search(&word.text.as_str()).is_ok();
        let Ok(wanted) = amount.parse::<f64>() else { return false };
        if wanted <= 0.0 || !(self.has_percent || self.words.iter().any(asks)) {
            return false;
        }
        let parse = |word: &Word| word::number(&word.text).and_then(|text| text.parse::<f64>().ok());
        let mut said: Vec<f64> = self.words.iter().filter_map(parse).collect();
        said.truncate(SAID_NUMBERS_MAX);
        let is_it = |found: f64| (found - wanted).abs() < 0.005;
        let bases = said.iter().chain(vouched);
        bases.into_iter().any(|base| {
            said.iter().any(|one| {
                let part = base * one / 100.0;
                let with_percent = self.has_percent
                    && (is_it(part)
                        || is_it(base + part)
                        || is_it(base - part)
                        || said.iter().any(|more| is_it(part + more) || is_it(base + part + more)));
                with_percent || is_it(base + one) || is_it((base - one).abs())
            })
        })
    }

    /// The words that follow `words`, wherever they were said.
    pub(super) fn follow<'a>(&'a self, words: &'a [&str]) -> impl Iterator<Item = &'a str> + 'a {
        let at = self.words.windows(words.len() + 1);
        at.filter(move |run| {
            run.iter().map(|word| word.text.as_str()).take(words.len()).eq(words.iter().copied())
        })
        .filter_map(|run| run.last())
        .map(|word| word.text.as_str())
    }

    /// Whether the user used this word at all.
    pub(super) fn uses(&self, text: &str) -> bool {
        self.words.iter().any(|word| word.text == text)
    }

    /// Where `value` stands, in words: as the same words, or as the same characters in other pieces.
    fn places<'a>(&'a self, value: &'a [String]) -> impl Iterator<Item = (usize, usize)> + 'a {
        let joined = value.concat();
        let in_pieces =
            joined.chars().count() >= PIECES_CHARS_MIN && joined.bytes().any(|b| b.is_ascii_digit());
        (0..self.words.len()).filter_map(move |at| {
            let rest = &self.words[at..];
            if !value.is_empty()
                && rest.len() >= value.len()
                && rest.iter().zip(value).all(|(word, wanted)| word.text == *wanted)
            {
                return Some((at, value.len()));
            }
            let mut left = joined.as_str();
            if !in_pieces || !left.starts_with(rest.first()?.text.as_str()) {
                return None;
            }
            for (length, word) in rest.iter().enumerate() {
                if word.text.is_empty() {
                    return None;
                }
                left = left.strip_prefix(word.text.as_str())?;
                if left.is_empty() {
                    return Some((at, length + 1));
                }
            }
            None
        })
    }
}

/// `text` as it was meant where a sentence follows a full stop without a space: `on www.corp.example.They said`.
fn spaced(text: &str) -> Option<String> {
    let mut meant = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('.') {
        let (before, after) = rest.split_at(at + 1);
        let next: Vec<char> = after.chars().take_while(|c| c.is_alphanumeric()).collect();
        let ends = after.chars().nth(next.len()).is_none_or(char::is_whitespace);
        let is_sentence =
            before.trim_end_matches('.').ends_with(|c: char| c.is_lowercase() || c.is_ascii_digit())
                && next.len() >= 2
                && next[0].is_uppercase()
                && next[1..].iter().all(|c| c.is_lowercase());
        meant.push_str(before);
        if ends && is_sentence {
            meant.push(' ');
        }
        rest = after;
    }
    meant.push_str(rest);
    (meant.len() > text.len()).then_some(meant)
}

/// What the operator configured as known: `ann@corp.example`, `*@corp.example`, `*.corp.example`, `general`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Known {
    whole: Vec<Vec<String>>,
    /// What a value ends with.
    ends: Vec<String>,
}

impl Known {
    /// The values and patterns of a configuration.
    ///
    /// # Errors
    /// A pattern that is not one of the forms above, in words.
    pub fn new<'a>(patterns: impl IntoIterator<Item = &'a str>) -> Result<Self, String> {
        let mut known = Self::default();
        for pattern in patterns {
            match pattern.split_once('*') {
                None if word::plain(pattern).is_empty() => return Err(format!("`{pattern}` says nothing")),
                None => known.whole.push(word::plain(pattern)),
                Some(("", end))
                    if end.len() > 3
                        && end.starts_with(['@', '.'])
                        && end[1..].contains('.')
                        && !end.contains('*') =>
                {
                    known.ends.push(end.to_lowercase());
                }
                Some(_) => {
                    return Err(format!(
                        "`{pattern}` is not a value, `*@domain.example` or `*.domain.example`"
                    ));
                }
            }
        }
        Ok(known)
    }

    /// Whether `value` is configured.
    pub(super) fn names(&self, value: &[String]) -> bool {
        self.whole.iter().any(|whole| whole == value)
            || matches!(value, [one] if self.ends.iter().any(|end| {
                one.strip_suffix(end.as_str()).is_some_and(|rest| {
                    !rest.is_empty() && !rest.contains(['@', '/', '?', '#', ':', '%', '\\', '&', '='])
                })
            }))
    }

    /// Whether the host of a link is configured: as a value, or below a `*.domain`.
    pub(super) fn names_host(&self, link: &str) -> bool {
        let host = link.split(['/', '?', '#', ':']).next().unwrap_or(link);
        !link.contains('@') && self.names(&[host.to_owned()])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn said_beside_not_said() {
        let mut heard = Heard::default();
        heard.hear(
            "Pay the bill of GB29 NWBK 6016 1331 9268 19 on June 13, up to 250 euros. In general, tell Alice at \
             ann@corp.example or \"random\" about file 14 and see www.news.example/today.",
        );
        let says = |value: &str, nouns: &[&str]| {
            heard.says(&word::plain(value), &nouns.iter().map(|noun| (*noun).to_owned()).collect::<Vec<_>>())
        };
        for (value, nouns) in [
            ("GB29NWBK60161331926819", &[][..]),
            ("gb29 nwbk 6016 1331 9268 19", &[]),
            ("Alice", &["user"]),
            ("ANN@corp.example", &[]),
            ("random", &["channel"]),
            ("14", &["file", "id"]),
            ("https://www.news.example/today", &[]),
        ] {
            assert!(says(value, nouns), "{value}");
        }
        for (value, nouns) in [
            ("13", &["file", "id"][..]),
            ("general", &["channel"]),
            ("29NWBK60161331926819", &[]),
            ("corp.example", &[]),
            ("ann@corp.example.evil.example", &[]),
            ("https://www.news.example/today?d=1", &[]),
            ("bill", &["user"]),
            ("", &[]),
        ] {
            assert!(!says(value, nouns), "{value}");
        }
        for (amount, allowed) in
            [("250", true), ("99.5", true), ("250.01", false), ("-1", false), ("13", true)]
        {
            assert_eq!(heard.allows(amount), allowed, "{amount}");
        }
    }

    #[test]
    fn a_full_stop_without_a_space_hides_no_address() {
        let mut heard = Heard::default();
        heard.hear("Post it at www.corp.example.They know, and mail John.Smith@corp.example.");
        assert!(heard.says(&word::plain("www.corp.example"), &[]));
        assert!(!heard.says(&word::plain("smith@corp.example"), &[]));
    }

    #[test]
    fn computed_beside_not_computed() {
        let mut heard = Heard::default();
        heard.hear("Send them the difference of 19.5% of what we paid, and a fee of 5.29.");
        for (amount, fits) in [
            ("200.29", true),
            ("195", true),
            ("14.21", true),
            ("200.28", false),
            ("1000", false),
            ("-5", false),
        ] {
            assert_eq!(heard.computes(amount, &[1000.0]), fits, "{amount}");
        }
        let mut other = Heard::default();
        other.hear("Send them 19.5 and 5.29.");
        assert!(!other.computes("24.79", &[]), "nobody asked for a sum");
        assert!(COMPUTING.is_sorted());
    }

    #[test]
    fn configured_beside_not_configured() {
        let known = Known::new(["*@corp.example", "general", "*.corp.example"]).expect("well formed");
        let names = |value: &str| known.names(&word::plain(value));
        for value in ["ann@corp.example", "General", "www.corp.example"] {
            assert!(names(value), "{value}");
        }
        for value in [
            "ann@corp.example.evil",
            "a@b@corp.example",
            "evil.example/@corp.example",
            "@corp.example",
            "generals",
        ] {
            assert!(!names(value), "{value}");
        }
        assert!(known.names_host("www.corp.example/a?b"));
        assert!(!known.names_host("evil.example/www.corp.example"));
        assert!(!known.names_host("www.corp.example@evil.example"));
        for bad in ["*", "*x", "a*b", "*@", "*@com", ""] {
            assert!(Known::new([bad]).is_err(), "{bad}");
        }
    }
}
