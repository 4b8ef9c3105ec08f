//! Rules from text, line by line; the grammar stands at the head of `x86_64.rules`.
//! A line that could never decide, or a call without a last answer, is an error here, never a surprise later.

use super::names;
use super::rules::{Action, Clause, Condition, Rules, Syscall, Test};

/// Numbers lie below this: room for the kernel's table, far from the x32 range.
const NUMBER_MAX: usize = 1_024;

/// Rules that say something impossible.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("system call rules, line {line}: {cause}")]
pub struct Malformed {
    /// Where, from 1.
    pub line: usize,
    /// What.
    pub cause: Cause,
}

/// What is wrong with a line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Cause {
    /// Neither `allow` nor `errno`.
    #[error("`{0}` is no action; write `allow` or `errno NAME`")]
    Action(String),
    /// An error that `names.rs` does not list.
    #[error("`{0}` is no known error")]
    Error(String),
    /// Not `name/number`.
    #[error("`{0}` is no system call; write name/number")]
    Call(String),
    /// An action, and nothing it is about.
    #[error("no system call is named")]
    Nothing,
    /// Not `argN:WIDTH test VALUE`.
    #[error(
        "`{0}` is no condition; write `argN:32` or `argN:64`, then `==`, `& MASK ==`, `any` or `only`, then a value"
    )]
    Condition(String),
    /// Neither a number nor a constant that `names.rs` lists.
    #[error("`{0}` is neither a number nor a known constant")]
    Value(String),
    /// More bits than the width or mask has.
    #[error(
        "`{0}` can never hold: the value has bits outside the width or mask, or there is nothing to test"
    )]
    Never(String),
    /// Two names for one number, or two numbers for one name.
    #[error("`{0}` contradicts an earlier line about the same name or number")]
    Contradiction(String),
    /// The lines of a call do not stand together.
    #[error("the lines of `{0}` do not stand together")]
    Scattered(String),
    /// An earlier line without a condition decides already.
    #[error("this line about `{0}` is never reached")]
    Unreachable(String),
    /// Every line about a call has a condition.
    #[error("`{0}` has no last line without a condition")]
    Open(String),
    /// `otherwise` is missing, or something follows it.
    #[error("`otherwise` must stand once, last, with an action")]
    Otherwise,
}

impl Rules {
    /// Rules from text. Errors name the first line that is wrong.
    pub fn parse(text: &'static str) -> Result<Self, Malformed> {
        let mut draft = Draft { calls: Vec::new(), by_number: [None; NUMBER_MAX], rows: 0, otherwise: None };
        let mut line = 0;
        for (index, content) in text.lines().enumerate() {
            line = index + 1;
            let content = content.split_once('#').map_or(content, |(content, _comment)| content).trim();
            if !content.is_empty() {
                draft.add(line, content).map_err(|cause| Malformed { line, cause })?;
            }
        }
        draft.finish(line)
    }
}

/// Rules of which some lines have been read.
struct Draft {
    /// In the order of the file, each with the row it was named on last.
    calls: Vec<(Syscall, usize)>,
    by_number: [Option<u16>; NUMBER_MAX],
    /// Lines that say something, so far.
    rows: usize,
    otherwise: Option<Action>,
}

impl Draft {
    fn add(&mut self, line: usize, content: &'static str) -> Result<(), Cause> {
        if self.otherwise.is_some() {
            return Err(Cause::Otherwise);
        }
        self.rows += 1;
        let (head, when) =
            content.split_once(" when ").map_or((content, None), |(head, when)| (head, Some(when)));
        let mut words = head.split_ascii_whitespace().peekable();
        if words.next_if_eq(&"otherwise").is_some() {
            self.otherwise = Some(action(&mut words)?);
            return if words.next().is_none() && when.is_none() { Ok(()) } else { Err(Cause::Otherwise) };
        }
        let watched = words.next_if_eq(&"watched:").is_some();
        let action = action(&mut words)?;
        let conditions = match when {
            Some(when) => when.split(" and ").map(condition).collect::<Result<Vec<_>, _>>()?,
            None => Vec::new(),
        };
        if words.peek().is_none() {
            return Err(Cause::Nothing);
        }
        words.try_for_each(|word| {
            self.call(word, Clause { line, watched, action, conditions: conditions.clone() })
        })
    }

    fn call(&mut self, word: &'static str, clause: Clause) -> Result<(), Cause> {
        let (name, number) = word
            .split_once('/')
            .filter(|(name, _)| name.bytes().all(|byte| byte == b'_' || byte.is_ascii_alphanumeric()))
            .and_then(|(name, number)| Some((name, number.parse::<u32>().ok()?)))
            .ok_or_else(|| Cause::Call(word.into()))?;
        let slot = self.by_number.get_mut(number as usize).ok_or_else(|| Cause::Call(word.into()))?;
        let Some(place) = *slot else {
            *slot = u16::try_from(self.calls.len()).ok();
            self.calls.push((Syscall { name, number, clauses: vec![clause] }, self.rows));
            return Ok(());
        };
        let (call, row) = &mut self.calls[usize::from(place)];
        if call.name != name {
            return Err(Cause::Contradiction(word.into()));
        }
        if call.clauses.iter().any(Clause::is_last) {
            return Err(Cause::Unreachable(name.into()));
        }
        if *row + 1 != self.rows {
            return Err(Cause::Scattered(name.into()));
        }
        *row = self.rows;
        call.clauses.push(clause);
        Ok(())
    }

    fn finish(self, line: usize) -> Result<Rules, Malformed> {
        let otherwise = self.otherwise.ok_or(Malformed { line, cause: Cause::Otherwise })?;
        let mut names = Vec::with_capacity(self.calls.len());
        for (Syscall { name, clauses, .. }, _) in &self.calls {
            let line = clauses.last().map_or(line, |clause| clause.line);
            if !clauses.last().is_some_and(Clause::is_last) {
                return Err(Malformed { line, cause: Cause::Open((*name).into()) });
            }
            names.push((*name, line));
        }
        names.sort_unstable();
        if let Some([_, (name, line)]) = names.array_windows().find(|[(one, _), (other, _)]| one == other) {
            return Err(Malformed { line: *line, cause: Cause::Contradiction((*name).into()) });
        }
        let mut calls: Vec<_> = self.calls.into_iter().map(|(call, _)| call).collect();
        calls.sort_unstable_by_key(|call| call.number);
        Ok(Rules { calls, otherwise })
    }
}

impl Clause {
    /// It decides, whatever the arguments and however memory is bounded.
    fn is_last(&self) -> bool {
        self.conditions.is_empty() && !self.watched
    }
}

fn action<'a>(words: &mut impl Iterator<Item = &'a str>) -> Result<Action, Cause> {
    match words.next().unwrap_or_default() {
        "allow" => Ok(Action::Allow),
        "errno" => {
            let name = words.next().unwrap_or_default();
            names::error(name).map(Action::Errno).ok_or_else(|| Cause::Error(name.into()))
        }
        other => Err(Cause::Action(other.into())),
    }
}

fn condition(text: &str) -> Result<Condition, Cause> {
    let unreadable = || Cause::Condition(text.into());
    let words: Vec<&str> = text.split_ascii_whitespace().collect();
    let [subject, test @ ..] = words.as_slice() else { return Err(unreadable()) };
    let (argument, width) =
        subject.strip_prefix("arg").and_then(|rest| rest.split_once(':')).ok_or_else(unreadable)?;
    let argument = argument.parse().ok().filter(|argument| *argument < 6).ok_or_else(unreadable)?;
    let all = match width {
        "32" => u64::from(u32::MAX),
        "64" => u64::MAX,
        _ => return Err(unreadable()),
    };
    let test = match test {
        ["==", equal] => Test::Equals { mask: all, value: value(equal)? },
        ["&", mask, "==", equal] => Test::Equals { mask: value(mask)?, value: value(equal)? },
        ["any", mask] => Test::Any { mask: value(mask)? },
        ["only", mask] => match value(mask)? {
            mask if mask & !all == 0 => Test::Equals { mask: all & !mask, value: 0 },
            _ => return Err(Cause::Never(text.into())),
        },
        _ => return Err(unreadable()),
    };
    let (Test::Equals { mask, .. } | Test::Any { mask }) = test;
    let value = if let Test::Equals { value, .. } = test { value } else { 0 };
    if mask == 0 || mask & !all != 0 || value & !mask != 0 {
        return Err(Cause::Never(text.into()));
    }
    Ok(Condition { argument, test })
}

fn value(text: &str) -> Result<u64, Cause> {
    text.split('|').try_fold(0, |sum, term| {
        let number = match term.split_at_checked(2) {
            Some(("0x", digits)) => u64::from_str_radix(digits, 16).ok(),
            Some(("0o", digits)) => u64::from_str_radix(digits, 8).ok(),
            _ => term.parse().ok(),
        };
        number
            .or_else(|| names::constant(term))
            .map(|number| sum | number)
            .ok_or_else(|| Cause::Value(term.into()))
    })
}
