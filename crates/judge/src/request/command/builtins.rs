//! Builtins that run text, change the shell, or evaluate the names they are given (`test -v 'a[$(x)]'`).
//! None is taken for harmless because it starts no program.

use super::account::{Carried, dynamic, literals, option_unknown};
use super::environment::{changes_programs, is_name};
use super::reader::{Found, Read};
use super::{Command, Opaque, Place, Word};

/// `eval` joins its words with blanks and reads the result; its only option is the end of options.
pub(super) fn eval(command: &Command) -> Read<Carried> {
    let words = literals(command)?;
    let words = match words.first().map(String::as_str) {
        Some("--") => &words[1..],
        Some(option) if option.starts_with('-') => return Err(option_unknown(command, option)),
        _ => &words[..],
    };
    Ok(Carried::Script(words.join(" "), Place::Carried, None))
}

pub(super) fn trap(command: &Command) -> Read<Carried> {
    let mut words = command.words.as_slice();
    if words.first().and_then(Word::literal) == Some("--") {
        words = &words[1..];
    }
    match words {
        [] => Ok(Carried::Nothing),
        [Word::Literal(text), ..] if matches!(text.as_str(), "" | "-" | "-p" | "-l") => Ok(Carried::Nothing),
        [Word::Literal(text), ..] => Ok(Carried::Script(text.clone(), Place::Trap, None)),
        _ => Err(dynamic(command)),
    }
}

pub(super) fn set(command: &Command) -> Read<Carried> {
    let change = || Opaque::ChangesShell { program: "set".to_owned() };
    let words = literals(command)?;
    let mut at = 0;
    while let Some(word) = words.get(at) {
        at += 1;
        if word == "--" || !word.starts_with(['-', '+']) {
            break;
        }
        for letter in word.chars().skip(1) {
            match letter {
                'e' | 'u' | 'x' | 'v' | 'f' | 'C' | 'n' | 'a' | 'm' | 'b' | '-' => {}
                'o' => {
                    let option = words.get(at).map(String::as_str);
                    at += 1;
                    if !matches!(
                        option,
                        None | Some(
                            "pipefail"
                                | "errexit"
                                | "nounset"
                                | "xtrace"
                                | "verbose"
                                | "noglob"
                                | "noclobber"
                                | "errtrace"
                        )
                    ) {
                        return Err(change());
                    }
                }
                _ => return Err(change()),
            }
        }
    }
    Ok(Carried::Nothing)
}

/// Builtins that take variable names, whose subscripts they evaluate.
pub(super) fn evaluates_names(found: &mut Found, command: &Command) -> Read<Carried> {
    let program = command.program.as_str();
    let expands = |text: &str| Opaque::Expansion(format!("{program} {text}"));
    let words = &command.words;
    let first_is =
        |option: &str| words.first().and_then(Word::literal).is_some_and(|text| text.starts_with(option));
    match program {
        "let" => return Err(expands("")),
        "test" | "[" => {
            let close = usize::from(program == "[");
            let operands = words.len().checked_sub(close).and_then(|n| words.get(..n)).unwrap_or_default();
            return if test_is_plain(operands) { Ok(Carried::Nothing) } else { Err(expands("-v")) };
        }
        // A first word that may turn out to be `-v` makes the next one a name.
        "printf" if !first_is("-v") => {
            return match words.first() {
                Some(Word::Dynamic(text))
                    if !text.starts_with('"') || text[1..].starts_with(['-', '$', '`', '"', '\\']) =>
                {
                    Err(expands(text))
                }
                _ => Ok(Carried::Nothing),
            };
        }
        "jobs" => {
            let runs = words
                .iter()
                .any(|word| word.literal().is_none_or(|text| text.starts_with('-') && text.contains('x')));
            return if runs {
                Err(Opaque::Starts { program: program.to_owned() })
            } else {
                Ok(Carried::Nothing)
            };
        }
        "wait" => {
            let names = words.iter().any(|word| match word {
                Word::Literal(text) => text.starts_with('-') && text.contains('p'),
                Word::Home(_) => false,
                Word::Dynamic(text) => !matches!(text.as_str(), "$!" | "\"$!\""),
            });
            return if names { Err(expands("-p")) } else { Ok(Carried::Nothing) };
        }
        "mapfile" | "readarray"
            if words
                .iter()
                .any(|word| word.literal().is_some_and(|t| t.starts_with("-C") || t.starts_with("-c"))) =>
        {
            return Err(Opaque::Starts { program: program.to_owned() });
        }
        _ => {}
    }
    for word in words {
        let text = word.literal().ok_or_else(|| dynamic(command))?;
        let bare = text.trim_start_matches('-');
        if text.contains(['[', '$', '`']) && is_name(text.split('[').next().unwrap_or_default()) {
            return Err(expands(text));
        }
        for name in [text, bare, bare.get(1..).unwrap_or_default()] {
            if changes_programs(name) {
                return Err(Opaque::Variable(name.to_owned()));
            }
            if is_name(name) {
                found.assigned(name, false);
            }
        }
    }
    Ok(Carried::Nothing)
}

/// Whether `test` surely does not reach its `-v NAME`, which evaluates the name's subscript (POSIX rules by word count).
fn test_is_plain(operands: &[Word]) -> bool {
    // Exactly one word: a literal, or one pair of double quotes around anything but a list.
    let one = |word: &Word| match word {
        Word::Literal(_) | Word::Home(_) => true,
        Word::Dynamic(text) => {
            text.len() > 2
                && text
                    .strip_prefix('"')
                    .and_then(|t| t.strip_suffix('"'))
                    .is_some_and(|inner| !inner.contains(['"', '@']))
        }
    };
    if !operands.iter().all(one) {
        return false;
    }
    let plain = |word: &Word| {
        word.literal().is_some_and(|text| !matches!(text, "-v" | "-R" | "-a" | "-o" | "(" | "!"))
    };
    match operands {
        [] | [_] => true,
        [not, rest @ ..] if not.literal() == Some("!") => test_is_plain(rest),
        [operator, _] => plain(operator),
        [_, operator, _] => {
            plain(operator)
                && operator
                    .literal()
                    .is_some_and(|o| matches!(o, "=" | "==" | "!=" | "<" | ">") || o.starts_with('-'))
        }
        all => all.iter().all(|word| matches!(word, Word::Literal(text) if text != "-v" && text != "-R")),
    }
}

pub(super) fn declare(found: &mut Found, command: &Command) -> Read<Carried> {
    let words: Vec<&str> = command
        .words
        .iter()
        .map(|word| word.literal().ok_or_else(|| dynamic(command)))
        .collect::<Read<_>>()?;
    for text in words {
        if let Some(flags) = text.strip_prefix('-').or_else(|| text.strip_prefix('+')) {
            // -n makes a reference, -i evaluates every later value, -f exports functions.
            if flags.chars().any(|flag| matches!(flag, 'n' | 'i' | 'f'))
                && !(command.program == "export" && flags == "n")
            {
                return Err(option_unknown(command, text));
            }
            continue;
        }
        if text.contains(['[', '=']) {
            return Err(Opaque::Expansion(text.to_owned()));
        }
        if changes_programs(text) && command.program != "local" {
            return Err(Opaque::Variable(text.to_owned()));
        }
        if command.program == "local" {
            found.assigned(text, true);
        }
    }
    Ok(Carried::Nothing)
}
