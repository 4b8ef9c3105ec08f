//! What a detector is, and how all of them are called in one pass: an automaton finds every anchor at once, and each detector
//! then looks at a bounded stretch around its own. Nothing here goes back or tries alternatives, so time is linear.

use super::finding::{Class, Confidence};
use super::personal::Personal;
use super::text::{Bytes, Text};
use aho_corasick::automaton::Automaton;
use aho_corasick::dfa::DFA;
use aho_corasick::{Anchored, MatchKind};
use std::sync::LazyLock;

/// Finds one kind of thing.
pub(super) struct Detector {
    /// Names the kind in findings and handles: lowercase words joined by hyphens.
    pub(super) name: &'static str,
    pub(super) class: Class,
    /// Which choice turns it on, for what is personal.
    pub(super) personal: Personal,
    /// Where it is called: at each of these texts, in any case.
    pub(super) anchors: &'static [&'static str],
    /// Where else: at each run of digits that may be its own.
    pub(super) digits: Option<Run>,
    pub(super) find: Find,
    /// Texts it must find, the found part between « and ». A ¦ is left out: it keeps other scanners calm.
    #[cfg_attr(not(test), allow(dead_code, reason = "tests read it"))]
    pub(super) matches: &'static [&'static str],
    /// Texts in which nothing at all may be found.
    #[cfg_attr(not(test), allow(dead_code, reason = "tests read it"))]
    pub(super) near_misses: &'static [&'static str],
}

/// A question to a run of digits.
pub(super) type Asks = fn(&Around) -> bool;

/// A run of digits that calls a detector, told by its surroundings: most numbers are ruled out before anything is looked at.
pub(super) struct Run {
    /// Fewest and most digits.
    pub(super) digits: (u8, u8),
    /// What is asked of the run.
    pub(super) asks: Asks,
}

/// A run of digits and what stands beside it; zero where there is nothing.
pub(super) struct Around {
    pub(super) digits: usize,
    pub(super) earlier: u8,
    pub(super) before: u8,
    pub(super) after: u8,
    pub(super) beyond: u8,
}

impl Around {
    /// Whether a number may begin here, or what is before it may be the end of an escape.
    #[inline]
    pub(super) fn begins(&self) -> bool {
        !(self.before.is_ascii_alphanumeric() || self.before == b'_')
            || matches!(self.before, b'n' | b't' | b'r' | b'm' | b'D' | b'd' | b'A' | b'a' | b'0' | b'2')
    }

    /// Whether a group of digits follows.
    #[inline]
    pub(super) fn goes_on(&self) -> bool {
        matches!(self.after, b' ' | b'-' | b'.' | b'/') && self.beyond.is_ascii_digit()
    }

    /// Whether it ends here.
    #[inline]
    pub(super) fn ends(&self) -> bool {
        !(self.after.is_ascii_alphanumeric() || self.after == b'_')
    }
}

/// How a detector goes on from its anchor.
pub(super) enum Find {
    /// The anchor, exactly so, and then these parts, which are not a placeholder.
    Parts(&'static [Part]),
    /// By looking.
    Code(fn(&Text<'_>, usize, &mut Found<'_>)),
}

/// A part of a token.
pub(super) enum Part {
    /// All the characters of an alphabet there are, from so many to so many.
    Run(&'static Bytes, u16, u16),
    /// So many characters of an alphabet, whatever follows.
    Take(&'static Bytes, u16),
    /// This text.
    Text(&'static str),
}

impl Detector {
    /// A credential found by its own form.
    pub(super) const fn secret(
        name: &'static str,
        anchors: &'static [&'static str],
        find: fn(&Text<'_>, usize, &mut Found<'_>),
    ) -> Self {
        Self {
            name,
            class: Class::Secret,
            personal: Personal::NONE,
            anchors,
            digits: None,
            find: Find::Code(find),
            matches: &[],
            near_misses: &[],
        }
    }

    /// A credential that is one of the anchors and then these parts.
    pub(super) const fn parts(
        name: &'static str,
        anchors: &'static [&'static str],
        parts: &'static [Part],
    ) -> Self {
        Self {
            name,
            class: Class::Secret,
            personal: Personal::NONE,
            anchors,
            digits: None,
            find: Find::Parts(parts),
            matches: &[],
            near_misses: &[],
        }
    }

    /// Something personal.
    pub(super) const fn personal(
        name: &'static str,
        personal: Personal,
        find: fn(&Text<'_>, usize, &mut Found<'_>),
    ) -> Self {
        Self {
            name,
            class: Class::Personal,
            personal,
            anchors: &[],
            digits: None,
            find: Find::Code(find),
            matches: &[],
            near_misses: &[],
        }
    }

    /// Calls it at `at`, where its anchor `anchor` stands.
    pub(super) fn look(&self, text: &Text<'_>, at: usize, anchor: usize, found: &mut Found<'_>) {
        match self.find {
            Find::Code(find) => find(text, at, found),
            Find::Parts(parts) => {
                let Some(prefix) = self.anchors.get(anchor) else { return };
                if !text.begins(at) || !text.is(at, prefix) {
                    return;
                }
                let body = at + prefix.len();
                if let Some(end) = follow(text, body, parts)
                    && super::plausible::body(text.slice(body, end))
                {
                    found.add(at, end, Confidence::Likely);
                }
            }
        }
    }
}

/// The end of the parts, when they stand at `at`.
pub(super) fn follow(text: &Text<'_>, mut at: usize, parts: &[Part]) -> Option<usize> {
    for part in parts {
        at = match *part {
            Part::Run(alphabet, min, max) => {
                let end = text.run(at, alphabet, usize::from(max) + 1);
                (usize::from(min)..=usize::from(max)).contains(&(end - at)).then_some(end)?
            }
            Part::Take(alphabet, chars) => {
                let end = text.run(at, alphabet, usize::from(chars));
                (end - at == usize::from(chars)).then_some(end)?
            }
            Part::Text(wanted) => text.is(at, wanted).then_some(at + wanted.len())?,
        };
    }
    Some(at)
}

/// A stretch that was found, in places of the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Hit {
    pub(super) start: u64,
    pub(super) end: u64,
    pub(super) confidence: Confidence,
    /// Of [`ALL`], or a user's rule beyond that.
    pub(super) by: u32,
}

/// Takes what a detector finds.
pub(super) struct Found<'a> {
    hits: &'a mut Vec<Hit>,
    base: u64,
    by: u32,
}

impl<'a> Found<'a> {
    pub(super) fn new(hits: &'a mut Vec<Hit>, base: u64, by: u32) -> Self {
        Self { hits, base, by }
    }

    /// The stretch from `start` to before `end` is to be replaced.
    pub(super) fn add(&mut self, start: usize, end: usize, confidence: Confidence) {
        if start < end {
            let (start, end) = (self.base + start as u64, self.base + end as u64);
            self.hits.push(Hit { start, end, confidence, by: self.by });
        }
    }
}

/// Every detector.
pub(super) static ALL: LazyLock<Vec<&'static Detector>> = LazyLock::new(|| {
    let coded = super::detectors::ALL.iter().copied();
    coded.chain(super::detectors::TABLE).chain(super::personal::ALL.iter().copied()).collect()
});

/// The handle's own detector comes first.
pub(super) const HANDLE: u32 = 0;
/// A run of digits this long is called by its length; longer ones alike.
pub(super) const DIGITS_CALLED_MAX: usize = 20;

/// All anchors at once.
pub(super) struct Anchors {
    dfa: DFA,
    /// For each pattern: the detectors it calls, and which of their anchors it is.
    calls: Vec<Vec<(u32, u16)>>,
    lengths: Vec<usize>,
    pub(super) longest: usize,
}

/// How far the automaton has come.
#[derive(Clone, Copy)]
pub(super) struct State(aho_corasick::automaton::StateID);

pub(super) static ANCHORS: LazyLock<Anchors> = LazyLock::new(Anchors::compile);

impl Anchors {
    fn compile() -> Self {
        let mut patterns: Vec<String> = Vec::new();
        let mut calls: Vec<Vec<(u32, u16)>> = Vec::new();
        for (by, detector) in ALL.iter().enumerate() {
            for (number, anchor) in detector.anchors.iter().enumerate() {
                let folded = anchor.to_ascii_lowercase();
                let at = patterns.iter().position(|p| *p == folded).unwrap_or_else(|| {
                    patterns.push(folded);
                    calls.push(Vec::new());
                    patterns.len() - 1
                });
                calls[at].push((by as u32, number as u16));
            }
        }
        let dfa = DFA::builder()
            .match_kind(MatchKind::Standard)
            .start_kind(aho_corasick::StartKind::Unanchored)
            .ascii_case_insensitive(true)
            .prefilter(false)
            .build(&patterns)
            .expect("the anchors are a few hundred short texts");
        let lengths: Vec<usize> = patterns.iter().map(String::len).collect();
        let longest = lengths.iter().copied().max().unwrap_or(0);
        Self { dfa, calls, lengths, longest }
    }

    pub(super) fn start(&self) -> State {
        State(self.dfa.start_state(Anchored::No).expect("built for unanchored searches"))
    }

    /// Reads `bytes` and calls `call` for each detector, with its anchor's number and the place of the anchor's first byte
    /// relative to `bytes`, which may be before it.
    #[inline]
    pub(super) fn read(&self, state: &mut State, bytes: &[u8], mut call: impl FnMut(u32, u16, isize)) {
        let mut id = state.0;
        for (at, byte) in bytes.iter().enumerate() {
            id = self.dfa.next_state(Anchored::No, id, *byte);
            if self.dfa.is_special(id) && self.dfa.is_match(id) {
                for index in 0..self.dfa.match_len(id) {
                    let pattern = self.dfa.match_pattern(id, index).as_usize();
                    let start = at as isize + 1 - self.lengths[pattern] as isize;
                    self.calls[pattern].iter().for_each(|(by, anchor)| call(*by, *anchor, start));
                }
            }
        }
        state.0 = id;
    }
}
