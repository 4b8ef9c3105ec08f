//! Takes out of a text what shows nothing and what poses as somebody else, in two passes of linear time. It never takes a visible word
//! away but one that passes for a mark.

use super::invisible::{flag, has_duty, sequence, unseen};
use super::markup;
use crate::filter::known::hidden;
use aho_corasick::AhoCorasick;
use std::borrow::Cow;

/// Longest hidden text that is told, in characters.
pub const HIDDEN_CHARS_MAX: usize = 200;
/// What stands where a mark stood that is not ours.
const REMOVED: &str = "[mark removed]";

/// What was neutralised.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Something that passes for a mark.
    Mark,
    /// Control characters.
    Control,
    /// Sequences that steer a terminal.
    Escape,
    /// Characters that turn the direction of writing.
    Bidi,
    /// Characters of no width.
    Invisible,
    /// Tag characters, which spell ASCII unseen.
    Tag,
    /// Variation selectors where there is nothing to select.
    Variation,
    /// Frames of a conversation: tokens of chat templates, tags of a system.
    Frame,
    /// Lines that begin like somebody's turn. They stay as they are.
    Turn,
}

impl Kind {
    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Mark => "mark",
            Self::Control => "control",
            Self::Escape => "escape",
            Self::Bidi => "bidi",
            Self::Invisible => "invisible",
            Self::Tag => "tag",
            Self::Variation => "variation",
            Self::Frame => "frame",
            Self::Turn => "turn",
        }
    }
}

/// Things of one kind that were neutralised in a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Neutralised {
    /// Which kind.
    pub kind: Kind,
    /// How many.
    pub count: usize,
    /// The longest stretch of them without a gap, in characters.
    pub run: usize,
    /// What they spelled, at most [`HIDDEN_CHARS_MAX`]; empty for most.
    pub hidden: String,
}

impl Neutralised {
    /// Adds another text's.
    pub(super) fn add(&mut self, other: &Self) {
        self.count += other.count;
        self.run = self.run.max(other.run);
        if self.hidden.is_empty() {
            self.hidden.clone_from(&other.hidden);
        }
    }
}

/// A clean text.
#[must_use]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cleaned<'a> {
    /// The text.
    pub text: Cow<'a, str>,
    /// What was neutralised in it.
    pub found: Vec<Neutralised>,
}

/// Counts by kind.
#[derive(Default)]
struct Tally {
    found: Vec<Neutralised>,
    last: Option<(Kind, usize)>,
    run: usize,
}

impl Tally {
    /// Notes one thing of `kind` from `start` to `end`, and the byte it hides.
    fn note(&mut self, kind: Kind, start: usize, end: usize, byte: Option<u8>) {
        self.run = if self.last == Some((kind, start)) { self.run + 1 } else { 1 };
        self.last = Some((kind, end));
        let at = self.found.iter().position(|found| found.kind == kind).unwrap_or_else(|| {
            self.found.push(Neutralised { kind, count: 0, run: 0, hidden: String::new() });
            self.found.len() - 1
        });
        let found = &mut self.found[at];
        found.count += 1;
        found.run = found.run.max(self.run);
        if let Some(byte) = byte.filter(|byte| byte.is_ascii_graphic() || *byte == b' ')
            && found.hidden.len() < HIDDEN_CHARS_MAX
        {
            found.hidden.push(char::from(byte));
        }
    }
}

/// `text` without anything that is neutralised. `names` finds this session's name; `sign` is replaced by a blank.
pub(super) fn clean<'a>(text: &'a str, names: &AhoCorasick, sign: Option<char>) -> Cleaned<'a> {
    let mut tally = Tally::default();
    let seen = match without_unseen(text, sign, &mut tally) {
        Some(seen) => Cow::Owned(seen),
        None => Cow::Borrowed(text),
    };
    let posed = without_poses(&seen, names, &mut tally);
    let text = match posed {
        Some(text) => Cow::Owned(text),
        None => seen,
    };
    Cleaned { text, found: tally.found }
}

/// Whether a byte may begin something unseen: all that is not ASCII, and controls but tab and line ends.
fn is_odd(byte: u8) -> bool {
    byte >= 0x7f || (byte < 0x20 && !matches!(byte, b'\t' | b'\n' | b'\r'))
}

fn without_unseen(text: &str, sign: Option<char>, tally: &mut Tally) -> Option<String> {
    let mut out: Option<String> = None;
    let (mut at, mut copied) = (0, 0);
    let bytes = text.as_bytes();
    while let Some(next) = bytes[at..].iter().position(|byte| is_odd(*byte)) {
        at += next;
        let rest = &text[at..];
        let Some(c) = rest.chars().next() else { break };
        let end = at + c.len_utf8();
        if Some(c) == sign {
            let out = out.get_or_insert_with(String::new);
            out.push_str(&text[copied..at]);
            out.push(' ');
            tally.note(Kind::Mark, at, end, None);
            (at, copied) = (end, end);
            continue;
        }
        let Some(kind) = unseen(c) else {
            at = end;
            continue;
        };
        if c == '\u{e0067}'
            && text[copied..at].ends_with('\u{1f3f4}')
            && let Some(length) = flag(rest)
        {
            at += length;
            continue;
        }
        let before = match text[copied..at].chars().next_back() {
            Some(before) => Some(before),
            None => out.as_ref().and_then(|out| out.chars().next_back()),
        };
        if has_duty(before, c, text[end..].chars().next()) {
            at = end;
            continue;
        }
        let out = out.get_or_insert_with(String::new);
        out.push_str(&text[copied..at]);
        let end = match c {
            '\u{1b}' | '\u{90}' | '\u{98}' | '\u{9b}' | '\u{9d}'..='\u{9f}' => {
                let end = at + sequence(rest);
                tally.note(Kind::Escape, at, end, None);
                end
            }
            _ => {
                tally.note(kind, at, end, hidden(u32::from(c)));
                end
            }
        };
        // These end a line, and words that stood on two stay apart.
        if matches!(c, '\u{b}' | '\u{c}' | '\u{85}' | '\u{2028}' | '\u{2029}') {
            out.push('\n');
        }
        (at, copied) = (end, end);
    }
    let mut out = out?;
    out.push_str(&text[copied..]);
    Some(out)
}

/// Whether a byte may begin a pose.
fn is_angle(byte: u8) -> bool {
    byte >= 0x80 || matches!(byte, b'<' | b'[' | b'&' | b'\\' | b'%' | b'\n')
}

fn without_poses(text: &str, names: &AhoCorasick, tally: &mut Tally) -> Option<String> {
    let mut out: Option<String> = None;
    let mut copied = 0;
    let mut named = names.find_iter(text).map(|found| found.range()).peekable();
    let bytes = text.as_bytes();
    let mut at = 0;
    if markup::turn(text, 0) {
        tally.note(Kind::Turn, 0, 0, None);
    }
    loop {
        let angle = bytes[at..].iter().position(|byte| is_angle(*byte)).map_or(bytes.len(), |next| at + next);
        while named.peek().is_some_and(|name| name.start < at) {
            named.next();
        }
        if let Some(name) = named.next_if(|name| name.start < angle) {
            tally.note(Kind::Mark, name.start, name.end, None);
            at = replaced(text, &mut out, copied, name.start, name.end);
            copied = at;
            continue;
        }
        at = angle;
        let Some(c) = text[at..].chars().next() else { break };
        let end = at + c.len_utf8();
        if c == '\n' {
            if markup::turn(text, end) {
                tally.note(Kind::Turn, end, end, None);
            }
        } else if let Some(close) = markup::mark(text, at) {
            tally.note(Kind::Mark, at, close, None);
            at = replaced(text, &mut out, copied, at, close);
            copied = at;
            continue;
        } else if markup::frame(text, at) {
            tally.note(Kind::Frame, at, end, None);
            let out = out.get_or_insert_with(String::new);
            out.push_str(&text[copied..at]);
            out.push(if markup::folded(c) == Some(b'[') { '⁅' } else { '‹' });
            copied = end;
        }
        at = end;
    }
    let mut out = out?;
    out.push_str(&text[copied..]);
    Some(out)
}

/// Writes what stands for a mark; gives where the text goes on. What was joined to the mark's last letter goes with it.
fn replaced(text: &str, out: &mut Option<String>, copied: usize, start: usize, end: usize) -> usize {
    let out = out.get_or_insert_with(String::new);
    out.push_str(&text[copied..start]);
    out.push_str(REMOVED);
    let rest = &text[end..];
    let kept = rest.trim_start_matches(|c: char| unseen(c).is_some());
    end + rest.len() - kept.len()
}
