//! Simple commands, their redirections and here-documents.
//! A target is kept as the word it is; nothing here decides whether it may be read or written.

use super::account::{account, last_component};
use super::carriers::DECLARING;
use super::reader::{HereDocument, Read, Reader, Spelled, Within};
use super::{Command, Opaque, Place, Word};

impl Reader<'_> {
    pub(super) fn simple(&mut self) -> Read<()> {
        let mut command = Command::at(&self.places);
        let mut program: Option<Spelled> = None;
        let mut empty = true;
        // Substitutions inside this command's words are read before it is complete but belong after it.
        let slot = self.found.commands.len();
        loop {
            self.skip_blanks();
            match self.peek() {
                None | Some(b'\n' | b';' | b'|' | b')') => break,
                Some(b'&') if self.peek_second() != Some(b'>') => break,
                Some(b'(') => {
                    let name = match program {
                        Some(name) if command.words.is_empty() && command.assignments.is_empty() => name,
                        _ => return self.syntax("'(' inside a command"),
                    };
                    self.at += 1;
                    self.skip_blanks();
                    if !self.take(")")
                        || slot != self.found.commands.len()
                        || !command.reads.is_empty()
                        || !command.writes.is_empty()
                    {
                        return self.syntax("'(' inside a command");
                    }
                    return self.function_body(&name);
                }
                Some(_) => {}
            }
            empty = false;
            if self.redirection(&mut command)? {
                continue;
            }
            if program.is_none()
                && let Some((name, value)) = self.assignment()?
            {
                command.assignments.push((name, value));
                continue;
            }
            // Words after the program may be assignments to the declaring builtins, arrays among them.
            let declares =
                program.as_ref().and_then(|p| p.word.literal()).is_some_and(|p| DECLARING.contains(&p));
            if declares && let Some((name, value)) = self.assignment()? {
                command.assignments.push((name, value));
                continue;
            }
            let word = self.word(Within::Command)?;
            if word.source.starts_with('{') && matches!(self.bytes.get(self.at), Some(b'<' | b'>')) {
                return self.syntax("a file descriptor variable");
            }
            match program {
                None => program = Some(word),
                Some(_) => command.words.push(word.word),
            }
        }
        if empty {
            return self.syntax("a command is missing");
        }
        match program {
            None => {}
            Some(Spelled { word: Word::Literal(text), .. }) if !text.is_empty() => {
                command.program = last_component(&text);
                command.given = text;
            }
            Some(Spelled { source, .. }) => {
                command.opaque = Some(Opaque::DynamicProgram(source.clone()));
                command.given = source;
            }
        }
        account(self.found, slot, command, self.dialect, self.depth)
    }

    pub(super) fn redirections_after(&mut self) -> Read<()> {
        let mut command = Command::at(&self.places);
        let slot = self.found.commands.len();
        let mut any = false;
        loop {
            self.skip_blanks();
            if !self.redirection(&mut command)? {
                break;
            }
            any = true;
        }
        if any { account(self.found, slot, command, self.dialect, self.depth) } else { Ok(()) }
    }

    /// One redirection, if one stands here.
    fn redirection(&mut self, command: &mut Command) -> Read<bool> {
        let kept = self.at;
        let mut digits = 0;
        while self.peek().is_some_and(|b| b.is_ascii_digit()) {
            self.at += 1;
            digits += 1;
        }
        let operator = ["<<<", "<<-", "<<", "<&", "<>", "<", ">>", ">&", ">|", ">", "&>>", "&>"]
            .into_iter()
            .find(|operator| (digits == 0 || !operator.starts_with('&')) && self.take(operator));
        let Some(operator) = operator else {
            self.at = kept;
            return Ok(false);
        };
        // `<(` and `>(` begin a word, except after a space.
        if matches!(operator, "<" | ">") && self.peek() == Some(b'(') {
            if digits > 0 {
                return self.syntax("a number before a process substitution");
            }
            self.at = kept;
            return Ok(false);
        }
        if digits > 4 {
            return self.syntax("a file descriptor out of range");
        }
        if operator.starts_with('&') {
            self.bash_only("&>")?;
        }
        self.skip_blanks();
        if self.at_word_end()
            && !(matches!(self.peek(), Some(b'<' | b'>')) && self.peek_second() == Some(b'('))
        {
            return self.syntax("a redirection without a target");
        }
        if matches!(operator, "<<" | "<<-") {
            self.here_announce(operator == "<<-")?;
            return Ok(true);
        }
        let target = self.word(Within::Command)?;
        if operator == "<<<" {
            self.bash_only("<<<")?;
            return Ok(true);
        }
        if let Some(text) = target.word.literal()
            && (text.starts_with("/dev/tcp/") || text.starts_with("/dev/udp/"))
        {
            let why = Opaque::Network(text.to_owned());
            command.opaque.get_or_insert(why);
        }
        let duplicates = target.word.literal().is_some_and(|text| {
            let fd = text.strip_suffix('-').unwrap_or(text);
            fd.bytes().all(|b| b.is_ascii_digit())
        });
        match operator {
            "<&" | ">&" if duplicates => {}
            "<" | "<&" => command.reads.push(target.word),
            "<>" => {
                command.reads.push(target.word.clone());
                command.writes.push(target.word);
            }
            _ => command.writes.push(target.word),
        }
        Ok(true)
    }

    fn here_announce(&mut self, strip_tabs: bool) -> Read<()> {
        let word = self.word(Within::Command)?;
        match word.word {
            // An expansion in a delimiter is not expanded; nobody needs it, so it is not read.
            Word::Literal(delimiter)
                if !delimiter.is_empty()
                    && delimiter
                        .bytes()
                        .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.' | b'!')) =>
            {
                self.pending.push(HereDocument { delimiter, quoted: !word.bare, strip_tabs });
                Ok(())
            }
            _ => self.syntax("a here-document's delimiter is not plain"),
        }
    }

    pub(super) fn here_bodies(&mut self) -> Read<()> {
        for document in std::mem::take(&mut self.pending) {
            let begin = self.at;
            let end;
            loop {
                if self.at >= self.bytes.len() {
                    return self.syntax("a here-document does not end");
                }
                let line_at = self.at;
                let line_end = self.text[self.at..].find('\n').map_or(self.bytes.len(), |n| self.at + n);
                self.at = (line_end + 1).min(self.bytes.len());
                let raw = &self.text[line_at..line_end];
                let line = if document.strip_tabs { raw.trim_start_matches('\t') } else { raw };
                if line == document.delimiter {
                    end = line_at;
                    break;
                }
                // Inside $( ) bash also ends a document at `EOF)`.
                if line.starts_with(document.delimiter.as_str()) && line.contains(')') {
                    return self.syntax("a here-document's line begins with its delimiter");
                }
                let backslashes = line.bytes().rev().take_while(|b| *b == b'\\').count();
                if !document.quoted && backslashes % 2 == 1 {
                    return self.syntax("a joined line in a here-document");
                }
            }
            if !document.quoted {
                let body = &self.text[begin..end];
                // The body is read as its own text: a substitution may not reach over its end.
                let mut inner = Reader {
                    text: body,
                    bytes: body.as_bytes(),
                    at: 0,
                    depth: self.depth,
                    dialect: self.dialect,
                    places: self.places.clone(),
                    pending: Vec::new(),
                    found: &mut *self.found,
                };
                inner.inside(Place::HereDocument, |r| r.here_body())?;
            }
        }
        Ok(())
    }

    fn here_body(&mut self) -> Read<()> {
        let mut literal = String::new();
        while let Some(b) = self.peek() {
            match b {
                b'$' => {
                    self.dollar(&mut literal, true)?;
                }
                b'`' => self.backticks(true)?,
                b'\\' => {
                    self.at += 1;
                    self.take_char();
                }
                _ => {
                    self.take_char();
                }
            }
        }
        Ok(())
    }
}
