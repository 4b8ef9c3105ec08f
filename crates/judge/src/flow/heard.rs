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
}

impl Heard {
    /// Adds a message of the user.
    pub(super) fn hear(&mut self, text: &str) {
        self.is_any = true;
        // A message's end is no part of a value that the next begins.
        self.words.push(Word { text: String::new(), is_name: false });
        word::each(text, |word| {
            if self.words.len() < WORDS_MAX {
                self.words.push(word);
            }
        });
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
