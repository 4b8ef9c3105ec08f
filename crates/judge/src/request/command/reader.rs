//! The cursor over a command line, and what all nested readers of one line have found so far.
//! Nothing here knows a grammar rule; nothing ever goes back over text it has accepted.

use super::environment::changes_programs;
use super::{COMMAND_BYTES_MAX, Command, Commands, DEPTH_MAX, Opaque, Place, Word};
use std::collections::{BTreeMap, BTreeSet};

#[derive(Default)]
pub(super) struct Found {
    pub(super) commands: Vec<Command>,
    pub(super) opaque: Option<Opaque>,
    /// Names that arithmetic reads, and whether all their assignments in this line are whole numbers: bash evaluates a
    /// variable's value as an expression again, subscripts with command substitutions included.
    pub(super) counted: BTreeSet<String>,
    pub(super) numeric: BTreeMap<String, bool>,
}

impl Found {
    pub(super) fn doubt(&mut self, why: Opaque) {
        self.opaque.get_or_insert(why);
    }

    pub(super) fn assigned(&mut self, name: &str, is_number: bool) {
        let all = self.numeric.entry(name.to_owned()).or_insert(true);
        *all &= is_number;
    }

    pub(super) fn finish(mut self) -> Commands {
        let unknown = self.counted.iter().find(|name| self.numeric.get(*name) != Some(&true)).cloned();
        if let Some(name) = unknown {
            self.doubt(Opaque::Arithmetic(name));
        }
        Commands { commands: self.commands, opaque: self.opaque }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dialect {
    Bash,
    /// `sh`, `dash`, `ash`, `ksh`: what bash adds to POSIX means something else there.
    Posix,
}

pub(super) fn read_script(found: &mut Found, text: &str, dialect: Dialect, places: &[Place], depth: usize) {
    if text.len() > COMMAND_BYTES_MAX {
        return found.doubt(Opaque::TooLong);
    }
    if depth > DEPTH_MAX {
        return found.doubt(Opaque::TooDeep);
    }
    if let Some(c) = text.chars().find(|c| c.is_control() && !matches!(c, '\t' | '\n')) {
        return found.doubt(Opaque::Control(c));
    }
    let mut reader = Reader {
        text,
        bytes: text.as_bytes(),
        at: 0,
        depth,
        dialect,
        places: places.to_vec(),
        pending: Vec::new(),
        found,
    };
    if let Err(why) = reader.script() {
        reader.found.doubt(why);
    }
}

pub(super) struct Reader<'a> {
    pub(super) text: &'a str,
    pub(super) bytes: &'a [u8],
    pub(super) at: usize,
    pub(super) depth: usize,
    pub(super) dialect: Dialect,
    pub(super) places: Vec<Place>,
    /// Here-documents announced on this line, whose bodies follow the next newline.
    pub(super) pending: Vec<HereDocument>,
    pub(super) found: &'a mut Found,
}

pub(super) struct HereDocument {
    pub(super) delimiter: String,
    pub(super) quoted: bool,
    pub(super) strip_tabs: bool,
}

/// A word as read: what it is, and what its spelling allows it to be.
pub(super) struct Spelled {
    pub(super) word: Word,
    pub(super) source: String,
    /// No quote, escape or expansion: may be a reserved word or a file descriptor.
    pub(super) bare: bool,
}

/// Where a word is read, which decides what ends it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Within {
    Command,
    /// The right side of `=~`, where `(`, `)` and `|` belong to the word.
    Regex,
}

pub(super) type Read<T> = Result<T, Opaque>;

impl Reader<'_> {
    pub(super) fn skip_joined(&mut self) {
        while self.bytes[self.at..].starts_with(b"\\\n") {
            self.at += 2;
        }
    }

    pub(super) fn peek(&mut self) -> Option<u8> {
        self.skip_joined();
        self.bytes.get(self.at).copied()
    }

    /// The byte after the next one.
    pub(super) fn peek_second(&mut self) -> Option<u8> {
        let kept = self.at;
        self.peek()?;
        self.at += 1;
        let second = self.peek();
        self.at = kept;
        second
    }

    pub(super) fn take(&mut self, symbol: &str) -> bool {
        let kept = self.at;
        for want in symbol.bytes() {
            if self.peek() != Some(want) {
                self.at = kept;
                return false;
            }
            self.at += 1;
        }
        true
    }

    /// One whole character.
    pub(super) fn take_char(&mut self) -> Option<char> {
        self.peek()?;
        let c = self.text[self.at..].chars().next()?;
        self.at += c.len_utf8();
        Some(c)
    }

    pub(super) fn syntax<T>(&self, what: &'static str) -> Read<T> {
        Err(Opaque::Syntax { at: self.at, what })
    }

    pub(super) fn bash_only(&self, what: &'static str) -> Read<()> {
        match self.dialect {
            Dialect::Bash => Ok(()),
            Dialect::Posix => Err(Opaque::Dialect("sh", what)),
        }
    }

    /// Blanks and a comment, up to the next token or newline.
    pub(super) fn skip_blanks(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t')) {
            self.at += 1;
        }
        if self.peek() == Some(b'#') {
            // A comment ends at the newline, a backslash before it notwithstanding.
            while self.bytes.get(self.at).is_some_and(|b| *b != b'\n') {
                self.at += 1;
            }
        }
    }

    pub(super) fn skip_newlines(&mut self) -> Read<()> {
        loop {
            self.skip_blanks();
            if self.bytes.get(self.at) != Some(&b'\n') {
                return Ok(());
            }
            self.at += 1;
            self.here_bodies()?;
        }
    }

    pub(super) fn inside<T>(&mut self, place: Place, read: impl FnOnce(&mut Self) -> Read<T>) -> Read<T> {
        if self.depth >= DEPTH_MAX {
            return Err(Opaque::TooDeep);
        }
        self.depth += 1;
        self.places.push(place);
        let result = read(self);
        self.places.pop();
        self.depth -= 1;
        result
    }

    pub(super) fn at_reserved(&mut self, words: &[&str]) -> bool {
        let kept = self.at;
        let hit = words.iter().any(|word| {
            self.at = kept;
            self.take(word) && self.at_word_end()
        });
        self.at = kept;
        hit
    }

    pub(super) fn take_reserved(&mut self, word: &str) -> bool {
        let kept = self.at;
        let hit = self.take(word) && self.at_word_end();
        if !hit {
            self.at = kept;
        }
        hit
    }

    pub(super) fn at_word_end(&mut self) -> bool {
        matches!(
            self.peek(),
            None | Some(b' ' | b'\t' | b'\n' | b';' | b'&' | b'|' | b'(' | b')' | b'<' | b'>')
        )
    }

    pub(super) fn expect(&mut self, word: &str) -> Read<()> {
        self.skip_newlines()?;
        if self.take_reserved(word) { Ok(()) } else { self.syntax("a reserved word is missing") }
    }

    pub(super) fn close_paren(&mut self) -> Read<()> {
        self.skip_newlines()?;
        if self.take(")") { Ok(()) } else { self.syntax("')' is missing") }
    }

    pub(super) fn doubt_variable(&mut self, name: &str) {
        if changes_programs(name) {
            self.found.doubt(Opaque::Variable(name.to_owned()));
        }
    }
}
