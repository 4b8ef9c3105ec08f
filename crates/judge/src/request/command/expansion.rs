//! What follows a `$` or a backtick: substitutions are read as commands, parameters and arithmetic for what they hide.
//! No value is ever computed; arithmetic over a value that may hold code is a doubt.

use super::reader::{Read, Reader, read_script};
use super::{DEPTH_MAX, Opaque, Place};

impl Reader<'_> {
    /// What follows a `$` at the cursor. Returns whether it expands to something; a lone `$` does not.
    pub(super) fn dollar(&mut self, literal: &mut String, quoted: bool) -> Read<bool> {
        self.take("$");
        match self.peek() {
            Some(b'(') => {
                self.at += 1;
                if self.take("(") {
                    self.arithmetic_to_close()?;
                } else {
                    self.inside(Place::CommandSubstitution, |r| r.nested_list())?;
                }
                Ok(true)
            }
            Some(b'{') => {
                self.at += 1;
                if self.depth >= DEPTH_MAX {
                    return Err(Opaque::TooDeep);
                }
                self.depth += 1;
                let result = self.parameter(quoted);
                self.depth -= 1;
                result.map(|()| true)
            }
            Some(b'[') => self.syntax("$[ ] arithmetic"),
            Some(b) if b.is_ascii_alphabetic() || b == b'_' => {
                while self.peek().is_some_and(|b| b.is_ascii_alphanumeric() || b == b'_') {
                    self.at += 1;
                }
                Ok(true)
            }
            Some(b'0'..=b'9' | b'@' | b'*' | b'#' | b'?' | b'-' | b'$' | b'!') => {
                self.at += 1;
                Ok(true)
            }
            _ => {
                literal.push('$');
                Ok(false)
            }
        }
    }

    /// A list up to the `)` of a substitution, with its own here-documents.
    pub(super) fn nested_list(&mut self) -> Read<()> {
        let begin = self.at;
        let outer = std::mem::take(&mut self.pending);
        self.list(&[])?;
        self.skip_newlines()?;
        if !outer.is_empty() && self.text[begin..self.at].contains('\n') {
            // Whose body follows that newline changed between versions of bash.
            return self.syntax("a here-document's body may begin inside a substitution");
        }
        if !self.pending.is_empty() {
            return self.syntax("a here-document's body lies outside its substitution");
        }
        self.pending = outer;
        if self.take(")") { Ok(()) } else { self.syntax("a substitution does not end") }
    }

    pub(super) fn backticks(&mut self, quoted: bool) -> Read<()> {
        self.take("`");
        let mut inner = String::new();
        loop {
            let Some(c) = self.text[self.at..].chars().next() else {
                return self.syntax("a backtick does not end");
            };
            self.at += c.len_utf8();
            match c {
                '`' => break,
                '\\' => match self.bytes.get(self.at) {
                    Some(b @ (b'$' | b'`' | b'\\')) => {
                        inner.push(char::from(*b));
                        self.at += 1;
                    }
                    Some(b'"') if quoted => return self.syntax("an escaped quote in backticks"),
                    _ => inner.push('\\'),
                },
                c => inner.push(c),
            }
        }
        let mut places = self.places.clone();
        places.push(Place::CommandSubstitution);
        read_script(self.found, &inner, self.dialect, &places, self.depth + 1);
        Ok(())
    }

    /// The inside of `${…}`.
    fn parameter(&mut self, quoted: bool) -> Read<()> {
        let begin = self.at;
        let length = self.peek() == Some(b'#') && self.peek_second() != Some(b'}');
        if length {
            self.at += 1;
        }
        let name_at = self.at;
        match self.peek() {
            Some(b) if b.is_ascii_alphabetic() || b == b'_' => {
                while self.peek().is_some_and(|b| b.is_ascii_alphanumeric() || b == b'_') {
                    self.at += 1;
                }
            }
            Some(b'0'..=b'9') => {
                while self.peek().is_some_and(|b| b.is_ascii_digit()) {
                    self.at += 1;
                }
            }
            Some(b'@' | b'*' | b'#' | b'?' | b'-' | b'$') => self.at += 1,
            // `${!x}` goes through a value, `${ x;}` is a command in bash 5.3.
            _ => return self.syntax("a parameter expansion"),
        }
        let name = self.text[name_at..self.at].replace("\\\n", "");
        if self.take("[") {
            if !(self.take("@") || self.take("*")) {
                while self.peek().is_some_and(|b| b.is_ascii_digit()) {
                    self.at += 1;
                }
            }
            if !self.take("]") {
                return self.syntax("a subscript");
            }
        }
        if self.take("}") {
            return Ok(());
        }
        if length {
            return self.syntax("a parameter expansion");
        }
        if self.peek() == Some(b':') && !matches!(self.peek_second(), Some(b'-' | b'=' | b'?' | b'+')) {
            // Offset and length are arithmetic: only numbers are read.
            while self.peek().is_some_and(|b| b.is_ascii_digit() || matches!(b, b':' | b' ' | b'-')) {
                self.at += 1;
            }
            return if self.take("}") { Ok(()) } else { self.syntax("a substring expansion") };
        }
        self.take(":");
        match self.peek() {
            Some(b'=') => {
                self.found.assigned(&name, false);
                self.doubt_variable(&name);
            }
            Some(b'-' | b'?' | b'+' | b'#' | b'%' | b'/' | b'^' | b',') => {}
            Some(b'@') => {
                self.at += 1;
                // `@P` expands the value as a prompt, command substitutions included.
                if !matches!(self.peek(), Some(b'U' | b'u' | b'L' | b'Q' | b'E' | b'A' | b'K' | b'a' | b'k'))
                {
                    return Err(Opaque::Expansion(self.text[begin..self.at].to_owned()));
                }
                self.at += 1;
                return if self.take("}") { Ok(()) } else { self.syntax("a parameter expansion") };
            }
            _ => return self.syntax("a parameter expansion"),
        }
        self.at += 1;
        let mut literal = String::new();
        loop {
            match self.peek() {
                None => return self.syntax("a parameter expansion does not end"),
                Some(b'}') => {
                    self.at += 1;
                    return Ok(());
                }
                // Whether quotes quote here depends on what stands around and on the operator.
                Some(b'\'' | b'"') if quoted => return self.syntax("a quote inside a quoted expansion"),
                Some(b'\'') => {
                    self.at += 1;
                    let Some(length) = self.text[self.at..].find('\'') else {
                        return self.syntax("a single quote does not end");
                    };
                    self.at += length + 1;
                }
                Some(b'"') => {
                    self.at += 1;
                    self.double_quoted(&mut literal)?;
                }
                Some(b'\\') => {
                    self.at += 1;
                    if let Some(c) = self.text[self.at..].chars().next() {
                        self.at += c.len_utf8();
                    }
                }
                Some(b'`') => self.backticks(quoted)?,
                Some(b'$') if matches!(self.peek_second(), Some(b'\'' | b'"')) => {
                    return self.syntax("a quote inside an expansion");
                }
                Some(b'$') => {
                    self.dollar(&mut literal, quoted)?;
                }
                Some(b'<' | b'>') if self.peek_second() == Some(b'(') => {
                    return self.syntax("a process substitution inside an expansion");
                }
                Some(_) => {
                    self.take_char();
                }
            }
        }
    }

    /// Arithmetic up to its `))`, the opening read. Only digits, names, operators and simple expansions are read.
    pub(super) fn arithmetic_to_close(&mut self) -> Read<()> {
        let begin = self.at;
        let mut parens = 0usize;
        loop {
            let at = self.at;
            match self.peek() {
                None => return self.syntax("arithmetic does not end"),
                Some(b'(') => {
                    parens += 1;
                    self.at += 1;
                }
                Some(b')') if parens > 0 => {
                    parens -= 1;
                    self.at += 1;
                }
                Some(b')') => {
                    // Otherwise it was two nested subshells all along.
                    return if self.take("))") {
                        Ok(())
                    } else {
                        self.syntax("(( without )) may be a subshell")
                    };
                }
                Some(b'$') => match self.peek_second() {
                    Some(b) if b.is_ascii_alphabetic() || b == b'_' => self.at += 1,
                    Some(b'#' | b'?' | b'$' | b'!') => {
                        self.take("$");
                        self.at += 1;
                    }
                    _ => {
                        let mut literal = String::new();
                        if self.depth >= DEPTH_MAX {
                            return Err(Opaque::TooDeep);
                        }
                        self.depth += 1;
                        let inner = self.dollar(&mut literal, true);
                        self.depth -= 1;
                        inner?;
                        // What the substitution prints is evaluated again.
                        if !self.text[at..].starts_with("$((") {
                            self.found.doubt(Opaque::Arithmetic(self.text[begin..self.at].to_owned()));
                        }
                    }
                },
                Some(b'0'..=b'9') => {
                    // Hex digits and bases are part of the number.
                    while self.peek().is_some_and(|b| b.is_ascii_alphanumeric() || b == b'#') {
                        self.at += 1;
                    }
                }
                Some(b) if b.is_ascii_alphabetic() || b == b'_' => {
                    let mut name = String::new();
                    while let Some(b) = self.peek().filter(|b| b.is_ascii_alphanumeric() || *b == b'_') {
                        name.push(char::from(b));
                        self.at += 1;
                    }
                    let kept = self.at;
                    while matches!(self.peek(), Some(b' ')) {
                        self.at += 1;
                    }
                    let assigns = self.peek() == Some(b'=') && self.peek_second() != Some(b'=');
                    self.at = kept;
                    self.doubt_variable(&name);
                    if assigns {
                        self.found.assigned(&name, true);
                    } else {
                        self.found.counted.insert(name);
                    }
                }
                Some(
                    b' ' | b'\t' | b'\n' | b'+' | b'-' | b'*' | b'/' | b'%' | b'<' | b'>' | b'=' | b'!'
                    | b'&' | b'|' | b'^' | b'~' | b'?' | b':' | b',' | b';',
                ) => self.at += 1,
                Some(_) => return self.syntax("arithmetic with quotes or subscripts"),
            }
        }
    }
}
