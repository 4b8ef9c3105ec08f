//! Lists, pipelines and compound commands: the part of bash's grammar that is read, by recursive descent.
//! What is outside it is a syntax doubt, never a guess; words and redirections are read elsewhere.

use super::environment::{is_name, is_number};
use super::reader::{Dialect, Read, Reader, Spelled, Within};
use super::{Opaque, Place};

const RESERVED: &[&str] = &[
    "!", "{", "}", "[[", "]]", "case", "coproc", "do", "done", "elif", "else", "esac", "fi", "for",
    "function", "if", "in", "select", "then", "time", "until", "while",
];

impl Reader<'_> {
    pub(super) fn script(&mut self) -> Read<()> {
        self.list(&[])?;
        match self.peek() {
            None if self.pending.is_empty() => Ok(()),
            None => self.syntax("a here-document has no body"),
            Some(_) => self.syntax("unexpected token"),
        }
    }

    /// Commands up to a word of `stops` in command position, a `)`, a `;;` or the end.
    pub(super) fn list(&mut self, stops: &[&str]) -> Read<()> {
        let (first, mut count) = (self.found.commands.len(), 0);
        loop {
            self.skip_newlines()?;
            match self.peek() {
                None | Some(b')') => break,
                Some(b';') => break,
                Some(_) if self.at_reserved(stops) => break,
                Some(_) => {}
            }
            let begun = self.found.commands.len();
            self.and_or()?;
            count += 1;
            self.skip_blanks();
            match self.peek() {
                Some(b'&') => {
                    self.at += 1;
                    self.mark(begun, Place::Background);
                }
                Some(b';') if self.peek_second() != Some(b';') && self.peek_second() != Some(b'&') => {
                    self.at += 1
                }
                Some(b'\n') => {}
                _ => break,
            }
        }
        if count > 1 {
            self.mark(first, Place::List);
        }
        Ok(())
    }

    fn filled_list(&mut self, stops: &[&str]) -> Read<()> {
        let at = self.at;
        self.list(stops)?;
        // bash wants at least one command; anything else we misread.
        if self.text[at..self.at].trim().is_empty() { self.syntax("a command is missing") } else { Ok(()) }
    }

    fn and_or(&mut self) -> Read<()> {
        let first = self.found.commands.len();
        let mut several = false;
        loop {
            self.pipeline()?;
            self.skip_blanks();
            if !(self.take("&&") || self.take("||")) {
                break;
            }
            several = true;
            self.skip_newlines()?;
        }
        if several {
            self.mark(first, Place::List);
        }
        Ok(())
    }

    fn pipeline(&mut self) -> Read<()> {
        loop {
            self.skip_blanks();
            if self.take_reserved("!") {
                continue;
            }
            if self.dialect == Dialect::Bash && self.take_reserved("time") {
                self.skip_blanks();
                let kept = self.at;
                if !(self.take("-p") && self.at_word_end()) {
                    self.at = kept;
                }
                self.skip_blanks();
                // `time -- x` and other options of the keyword are not read.
                if self.peek() == Some(b'-') {
                    return self.syntax("an option of the keyword time");
                }
                if matches!(self.peek(), None | Some(b'\n' | b';' | b'&' | b'|' | b')')) {
                    return Ok(());
                }
                continue;
            }
            break;
        }
        let first = self.found.commands.len();
        let mut several = false;
        loop {
            self.command()?;
            self.skip_blanks();
            if self.peek() == Some(b'|') && self.peek_second() != Some(b'|') {
                self.at += 1;
                if self.peek() == Some(b'&') {
                    self.bash_only("|&")?;
                    self.at += 1;
                }
                several = true;
                self.skip_newlines()?;
            } else {
                break;
            }
        }
        if several {
            self.mark(first, Place::Pipeline);
        }
        Ok(())
    }

    /// Records `place` for the commands found since `first` that stand directly here.
    fn mark(&mut self, first: usize, place: Place) {
        let level = self.places.len();
        for command in &mut self.found.commands[first..] {
            command.places.insert(level, place);
        }
    }

    fn command(&mut self) -> Read<()> {
        self.skip_blanks();
        match self.peek() {
            Some(b'(') => {
                if self.peek_second() == Some(b'(') {
                    self.bash_only("((")?;
                    self.take("((");
                    self.arithmetic_to_close()?;
                } else {
                    self.at += 1;
                    self.inside(Place::Subshell, |r| r.filled_list(&[]))?;
                    self.close_paren()?;
                }
                return self.redirections_after();
            }
            None => return self.syntax("a command is missing"),
            Some(_) => {}
        }
        let Some(word) = RESERVED.iter().find(|word| self.at_reserved(&[word])).copied() else {
            return self.simple();
        };
        if word == "time" {
            // The keyword was read before, by the pipeline; POSIX shells have only the program.
            self.bash_keyword_time()?;
            return self.simple();
        }
        self.take_reserved(word);
        match word {
            "{" => {
                self.inside(Place::Group, |r| r.filled_list(&["}"]))?;
                self.expect("}")?;
            }
            "if" => self.inside(Place::Branch, |r| r.if_body())?,
            "while" | "until" => self.inside(Place::Loop, |r| {
                r.filled_list(&["do"])?;
                r.do_body()
            })?,
            "for" => self.inside(Place::Loop, |r| r.for_body())?,
            "select" => {
                self.bash_only("select")?;
                self.inside(Place::Loop, |r| r.for_body())?;
            }
            "case" => self.inside(Place::Case, |r| r.case_body())?,
            "[[" => {
                self.bash_only("[[")?;
                self.test_body()?;
            }
            "function" => {
                self.bash_only("function")?;
                self.skip_blanks();
                let name = self.word(Within::Command)?;
                let kept = self.at;
                self.skip_blanks();
                if self.take("(") {
                    self.skip_blanks();
                    if !self.take(")") {
                        // `function f (list)`: a subshell is the body.
                        self.at = kept;
                    }
                }
                return self.function_body(&name);
            }
            "coproc" => {
                self.bash_only("coproc")?;
                self.found.doubt(Opaque::Starts { program: "coproc".to_owned() });
                return self.inside(Place::Coprocess, |r| r.command());
            }
            _ => return self.syntax("a reserved word out of place"),
        }
        self.redirections_after()
    }

    fn bash_keyword_time(&self) -> Read<()> {
        match self.dialect {
            Dialect::Bash => self.syntax("the keyword time inside a pipeline"),
            Dialect::Posix => Ok(()),
        }
    }

    pub(super) fn function_body(&mut self, name: &Spelled) -> Read<()> {
        let Some(text) = name.word.literal().filter(|_| name.bare) else {
            return self.syntax("a function's name is not plain");
        };
        // What a function does instead of a program or builtin of its name is listed, as its body.
        if RESERVED.contains(&text) || text.contains(['/', '=']) {
            return self.syntax("a function's name is not plain");
        }
        self.skip_newlines()?;
        let compound = matches!(self.peek(), Some(b'('))
            || self.at_reserved(&["{", "if", "while", "until", "for", "select", "case", "[["]);
        if !compound {
            return self.syntax("a function's body is not a compound command");
        }
        self.inside(Place::Function, |r| r.command())
    }

    fn if_body(&mut self) -> Read<()> {
        loop {
            self.filled_list(&["then"])?;
            self.expect("then")?;
            self.filled_list(&["elif", "else", "fi"])?;
            if self.take_reserved("elif") {
                continue;
            }
            if self.take_reserved("else") {
                self.filled_list(&["fi"])?;
            }
            return self.expect("fi");
        }
    }

    fn do_body(&mut self) -> Read<()> {
        self.skip_newlines()?;
        let (open, close) = if self.at_reserved(&["{"]) { ("{", "}") } else { ("do", "done") };
        self.expect(open)?;
        self.filled_list(&[close])?;
        self.expect(close)
    }

    fn for_body(&mut self) -> Read<()> {
        self.skip_blanks();
        if self.take("((") {
            self.bash_only("for ((")?;
            self.arithmetic_to_close()?;
            self.skip_blanks();
            if self.peek() == Some(b';') {
                self.at += 1;
            }
            return self.do_body();
        }
        let name = self.word(Within::Command)?;
        let Some(name) = name.word.literal().filter(|text| name.bare && is_name(text)).map(str::to_owned)
        else {
            return self.syntax("a loop variable is not a name");
        };
        self.doubt_variable(&name);
        self.skip_newlines()?;
        let mut numeric = false;
        if self.take_reserved("in") {
            numeric = true;
            loop {
                self.skip_blanks();
                match self.peek() {
                    Some(b';' | b'\n') => break,
                    None | Some(b'&' | b'|' | b'(' | b')') => {
                        return self.syntax("a loop's words do not end");
                    }
                    Some(_) => {
                        let word = self.word(Within::Command)?;
                        numeric &= is_number(&word.word);
                    }
                }
            }
        }
        self.found.assigned(&name, numeric);
        if self.peek() == Some(b';') {
            self.at += 1;
        }
        self.do_body()
    }

    fn case_body(&mut self) -> Read<()> {
        self.skip_blanks();
        self.word(Within::Command)?;
        self.skip_newlines()?;
        self.expect("in")?;
        loop {
            self.skip_newlines()?;
            if self.take_reserved("esac") {
                return Ok(());
            }
            self.take("(");
            loop {
                self.skip_blanks();
                self.word(Within::Command)?;
                self.skip_blanks();
                if self.take(")") {
                    break;
                }
                if !self.take("|") {
                    return self.syntax("a case pattern does not end");
                }
            }
            self.list(&["esac"])?;
            self.skip_blanks();
            if self.take(";;&") || self.take(";&") {
                self.bash_only(";&")?;
            } else if !self.take(";;") {
                return self.expect("esac");
            }
        }
    }

    /// `[[ … ]]`: words and operators. Its numeric comparisons evaluate both sides as arithmetic.
    fn test_body(&mut self) -> Read<()> {
        let mut words: Vec<Spelled> = Vec::new();
        loop {
            self.skip_newlines()?;
            if self.take_reserved("]]") {
                break;
            }
            match self.peek() {
                None => return self.syntax("[[ does not end"),
                Some(b';') => return self.syntax("; inside [["),
                Some(b'&') if self.take("&&") => {}
                Some(b'|') if self.take("||") => {}
                Some(b'(' | b')') => self.at += 1,
                Some(b'<' | b'>') if self.peek_second() != Some(b'(') => self.at += 1,
                Some(b'&' | b'|') => return self.syntax("an operator inside [["),
                Some(_) => {
                    let regex = words.last().is_some_and(|word| word.source == "=~");
                    let word = self.word(if regex { Within::Regex } else { Within::Command })?;
                    words.push(word);
                }
            }
        }
        for (index, operator) in words.iter().enumerate().filter(|(_, word)| word.bare) {
            match operator.word.literal() {
                Some("-eq" | "-ne" | "-lt" | "-le" | "-gt" | "-ge") => {
                    for side in [index.checked_sub(1), Some(index + 1)] {
                        let side = side.and_then(|index| words.get(index));
                        match side.map(|word| (&word.word, word.source.trim_matches('"'))) {
                            Some((word, _)) if is_number(word) => {}
                            // `$#`, `$?` and the like are numbers.
                            Some((_, "$#" | "$?" | "$$" | "$!" | "$RANDOM" | "$SECONDS")) => {}
                            Some((_, source)) if source.strip_prefix('$').is_some_and(is_name) => {
                                self.found.counted.insert(source[1..].to_owned());
                            }
                            other => {
                                let text = other.map(|(_, source)| source).unwrap_or_default().to_owned();
                                self.found.doubt(Opaque::Arithmetic(text));
                            }
                        }
                    }
                }
                // `-v a[$(x)]` evaluates the subscript.
                Some("-v" | "-R") => {
                    let plain =
                        words.get(index + 1).and_then(|word| word.word.literal()).is_some_and(is_name);
                    if !plain {
                        self.found.doubt(Opaque::Expansion(operator.source.clone()));
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }
}
