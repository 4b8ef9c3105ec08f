//! Words: quoting removed where the text alone says what remains, dynamic everywhere else.
//! Nothing is expanded, and a spelling that shells read in two ways is refused.

use super::environment::is_name;
use super::reader::{Read, Reader, Spelled, Within};
use super::{Place, Word};

impl Reader<'_> {
    /// `name=value`, `name+=value` or `name=(…)`, if one stands here.
    pub(super) fn assignment(&mut self) -> Read<Option<(String, Word)>> {
        let kept = self.at;
        let mut name = String::new();
        while let Some(b) = self.peek().filter(|b| b.is_ascii_alphanumeric() || *b == b'_') {
            name.push(char::from(b));
            self.at += 1;
        }
        if !is_name(&name) {
            self.at = kept;
            return Ok(None);
        }
        if self.peek() == Some(b'[') {
            // A subscript is arithmetic, and its brackets may hold blanks: not read.
            if self.text[self.at..]
                .split_inclusive([' ', '\t', '\n'])
                .next()
                .is_some_and(|word| word.contains('='))
            {
                return self.syntax("an assignment to an array element");
            }
            self.at = kept;
            return Ok(None);
        }
        let append = self.take("+=");
        if !append && !self.take("=") {
            self.at = kept;
            return Ok(None);
        }
        let value = if self.peek() == Some(b'(') {
            self.bash_only("an array")?;
            self.at += 1;
            loop {
                self.skip_newlines()?;
                match self.peek() {
                    Some(b')') => {
                        self.at += 1;
                        break;
                    }
                    Some(b'[') => return self.syntax("a subscript in an array"),
                    None | Some(b'&' | b';' | b'|' | b'(') => return self.syntax("an array does not end"),
                    Some(b'<' | b'>') if self.peek_second() != Some(b'(') => {
                        return self.syntax("a redirection in an array");
                    }
                    Some(_) => {
                        self.word(Within::Command)?;
                    }
                }
            }
            Word::Dynamic(self.text[kept..self.at].to_owned())
        } else if self.at_word_end()
            && !(matches!(self.peek(), Some(b'<' | b'>')) && self.peek_second() == Some(b'('))
        {
            Word::Literal(String::new())
        } else {
            self.word(Within::Command)?.word
        };
        let value = if append { Word::Dynamic(self.text[kept..self.at].to_owned()) } else { value };
        Ok(Some((name, value)))
    }

    pub(super) fn word(&mut self, within: Within) -> Read<Spelled> {
        self.skip_joined();
        let begin = self.at;
        let mut literal = String::new();
        let (mut dynamic, mut bare, mut home) = (false, true, false);
        // What unquoted characters have been seen, to tell globs and braces from text.
        let (mut brace, mut bracket) = (false, false);
        let mut parens = 0usize;
        let mut last_bare: Option<u8> = None;
        while let Some(b) = self.peek() {
            let previous = last_bare.take();
            match b {
                b' ' | b'\t' | b'\n' if parens > 0 => {
                    return self.syntax("a blank inside a regular expression");
                }
                b' ' | b'\t' | b'\n' => break,
                b'(' if within == Within::Regex => {
                    parens += 1;
                    self.at += 1;
                    dynamic = true;
                }
                b')' if within == Within::Regex && parens > 0 => {
                    parens -= 1;
                    self.at += 1;
                }
                b'|' if within == Within::Regex && parens > 0 => self.at += 1,
                b'<' | b'>' if self.peek_second() == Some(b'(') => {
                    self.bash_only("process substitution")?;
                    self.at += 1;
                    self.take("(");
                    self.inside(Place::ProcessSubstitution, |r| r.nested_list())?;
                    dynamic = true;
                    bare = false;
                }
                b'(' if previous.is_some_and(|p| matches!(p, b'?' | b'*' | b'+' | b'@' | b'!')) => {
                    return self.syntax("an extended glob");
                }
                b';' | b'&' | b'|' | b'<' | b'>' | b'(' | b')' => break,
                b'\'' => {
                    bare = false;
                    self.at += 1;
                    let Some(length) = self.text[self.at..].find('\'') else {
                        return self.syntax("a single quote does not end");
                    };
                    literal.push_str(&self.text[self.at..self.at + length]);
                    self.at += length + 1;
                }
                b'"' => {
                    bare = false;
                    self.at += 1;
                    dynamic |= self.double_quoted(&mut literal)?;
                }
                b'\\' => {
                    bare = false;
                    self.at += 1;
                    let Some(c) = self.text[self.at..].chars().next() else {
                        return self.syntax("a backslash at the end");
                    };
                    literal.push(c);
                    self.at += c.len_utf8();
                }
                b'`' => {
                    bare = false;
                    dynamic = true;
                    self.backticks(false)?;
                }
                b'$' => {
                    bare = false;
                    match self.peek_second() {
                        Some(b'\'') => {
                            self.bash_only("$'…'")?;
                            self.take("$'");
                            self.ansi_quoted(&mut literal)?;
                        }
                        Some(b'"') => {
                            // Translated by the locale's catalogue.
                            self.bash_only("$\"…\"")?;
                            self.take("$\"");
                            self.double_quoted(&mut literal)?;
                            dynamic = true;
                        }
                        _ => dynamic |= self.dollar(&mut literal, false)?,
                    }
                }
                b'~' => {
                    self.at += 1;
                    let first = begin == self.at - 1;
                    // bash expands `~` at the start of a word, and after `=` and `:` where it looks like an assignment.
                    if first && (self.at_word_end() || self.peek() == Some(b'/')) {
                        home = true;
                    } else {
                        dynamic |= first || matches!(previous, Some(b'=' | b':'));
                        literal.push('~');
                    }
                    bare = false;
                }
                b'*' | b'?' => {
                    dynamic = true;
                    literal.push(char::from(b));
                    self.at += 1;
                    last_bare = Some(b);
                }
                _ => {
                    brace |= b == b'{';
                    bracket |= b == b'[';
                    // A brace expansion needs a comma or a range; a bracket glob needs its end.
                    last_bare = Some(b);
                    if let Some(c) = self.take_char() {
                        literal.push(c);
                    }
                }
            }
        }
        if parens > 0 {
            return self.syntax("a regular expression does not end");
        }
        if self.at == begin {
            return self.syntax("a word is missing");
        }
        let source = self.text[begin..self.at].to_owned();
        dynamic |= brace && source.contains('}') && (source.contains(',') || source.contains(".."));
        dynamic |= bracket && literal.contains(']') && literal != "[[" && literal != "]]";
        let word = match (dynamic, home) {
            (true, _) => Word::Dynamic(source.clone()),
            (false, true) => Word::Home(literal),
            (false, false) => Word::Literal(literal),
        };
        Ok(Spelled { word, source, bare })
    }

    /// The inside of `"…"`, whose opening quote is read. Returns whether something in it is only known when run.
    pub(super) fn double_quoted(&mut self, literal: &mut String) -> Read<bool> {
        let mut dynamic = false;
        loop {
            match self.peek() {
                None => return self.syntax("a double quote does not end"),
                Some(b'"') => {
                    self.at += 1;
                    return Ok(dynamic);
                }
                Some(b'\\') => {
                    self.at += 1;
                    // Raw: backslash-newline was joined before, so what follows is the escaped character itself.
                    match self.bytes.get(self.at) {
                        Some(b @ (b'$' | b'`' | b'"' | b'\\')) => {
                            literal.push(char::from(*b));
                            self.at += 1;
                        }
                        _ => literal.push('\\'),
                    }
                }
                Some(b'`') => {
                    dynamic = true;
                    self.backticks(true)?;
                }
                Some(b'$') => dynamic |= self.dollar(literal, true)?,
                Some(_) => {
                    if let Some(c) = self.take_char() {
                        literal.push(c);
                    }
                }
            }
        }
    }

    /// The inside of `$'…'`. Escapes that make no text (NUL, control, invalid) are not read.
    fn ansi_quoted(&mut self, literal: &mut String) -> Read<()> {
        loop {
            let Some(c) = self.text[self.at..].chars().next() else {
                return self.syntax("$' does not end");
            };
            self.at += c.len_utf8();
            match c {
                '\'' => return Ok(()),
                '\\' => {}
                c => {
                    literal.push(c);
                    continue;
                }
            }
            let Some(escape) = self.bytes.get(self.at).copied() else {
                return self.syntax("$' does not end");
            };
            self.at += 1;
            let (radix, digits_max) = match escape {
                b'n' => {
                    literal.push('\n');
                    continue;
                }
                b't' => {
                    literal.push('\t');
                    continue;
                }
                b'\\' | b'\'' | b'"' | b'?' => {
                    literal.push(char::from(escape));
                    continue;
                }
                b'x' => (16, 2),
                b'u' => (16, 4),
                b'U' => (16, 8),
                b'0'..=b'7' => {
                    self.at -= 1;
                    (8, 3)
                }
                _ => return self.syntax("an escape in $'"),
            };
            let digits: String =
                self.text[self.at..].chars().take(digits_max).take_while(|c| c.is_digit(radix)).collect();
            self.at += digits.len();
            let code = u32::from_str_radix(&digits, radix).ok();
            match code.and_then(char::from_u32) {
                // \x and octal give bytes: above ASCII they may or may not join into a character.
                Some(c) if !c.is_control() && (c.is_ascii() || matches!(escape, b'u' | b'U')) => {
                    literal.push(c)
                }
                _ => return self.syntax("an escape in $'"),
            }
        }
    }
}
