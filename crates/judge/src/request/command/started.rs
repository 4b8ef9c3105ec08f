//! Shells, interpreters and the programs that take a command line as text: `sh -c`, `su -c`, `flock`, `watch`.
//! Code in another language is named and never read.

use super::account::{Carried, carry_words, dynamic, literals, option_unknown};
use super::carriers::{Carrier, INTERPRETERS};
use super::reader::{Dialect, Read};
use super::{Command, Opaque, Place, Word};

/// A shell: `-c` code is read as a command line of its own.
pub(super) fn shell(command: &mut Command, dialect: Dialect) -> Read<Carried> {
    let words = command.words.clone();
    let mut at = 0;
    let mut inline = false;
    while let Some(word) = words.get(at) {
        let text = word.literal().ok_or_else(|| dynamic(command))?;
        if text == "--" || text == "-" {
            at += 1;
            break;
        }
        if let Some(long) = text.strip_prefix("--") {
            match long {
                "help" | "version" => return Ok(Carried::Nothing),
                "login" | "norc" | "noprofile" | "posix" | "verbose" | "noediting" => at += 1,
                _ => return Err(option_unknown(command, text)),
            }
            continue;
        }
        let Some(letters) = text.strip_prefix('-').or_else(|| text.strip_prefix('+')) else { break };
        for letter in letters.chars() {
            match letter {
                'c' if text.starts_with('-') => inline = true,
                'e' | 'u' | 'x' | 'v' | 'l' | 'p' | 'f' | 'n' => {}
                'o' => {
                    at += 1;
                    let value = words.get(at).and_then(Word::literal);
                    if !value.is_some_and(|v| {
                        matches!(v, "pipefail" | "errexit" | "nounset" | "xtrace" | "noglob" | "noclobber")
                    }) {
                        return Err(option_unknown(command, text));
                    }
                }
                _ => return Err(option_unknown(command, text)),
            }
        }
        at += 1;
    }
    match words.get(at) {
        None => Err(Opaque::RunsInput { program: command.program.clone() }),
        Some(Word::Literal(text)) if inline => {
            Ok(Carried::Script(text.clone(), Place::Carried, Some(dialect)))
        }
        Some(_) if inline => Err(Opaque::InlineCode { program: command.program.clone() }),
        Some(Word::Dynamic(_)) => Err(dynamic(command)),
        Some(file) => {
            if matches!(file.literal(), Some("/dev/stdin" | "/proc/self/fd/0" | "/dev/fd/0")) {
                return Err(Opaque::RunsInput { program: command.program.clone() });
            }
            command.interprets = Some(file.clone());
            Ok(Carried::Nothing)
        }
    }
}

pub(super) fn interpreter(command: &mut Command) -> Read<Carried> {
    let stem = command.program.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.');
    let Some(known) = INTERPRETERS.iter().find(|known| known.stem == stem) else {
        return Ok(Carried::Nothing);
    };
    if matches!(stem, "deno" | "bun") {
        return match command.words.first().and_then(Word::literal) {
            Some("--version" | "--help" | "-v" | "-h" | "install" | "fmt" | "lint" | "check") => {
                Ok(Carried::Nothing)
            }
            _ => Err(Opaque::InlineCode { program: command.program.clone() }),
        };
    }
    let words = command.words.clone();
    let mut at = 0;
    while let Some(word) = words.get(at) {
        let text = match word {
            Word::Literal(text) => text,
            Word::Home(_) => break,
            Word::Dynamic(_) => return Err(dynamic(command)),
        };
        if matches!(text.as_str(), "--version" | "--help" | "-V" | "-h") || (text == "-v" && stem != "python")
        {
            return Ok(Carried::Nothing);
        }
        if text == "--" {
            at += 1;
            break;
        }
        let Some(letters) = text.strip_prefix('-') else { break };
        if letters.is_empty() {
            return Err(Opaque::RunsInput { program: command.program.clone() });
        }
        if letters == "m" && stem == "python" {
            command.interprets = words.get(at + 1).cloned();
            return match words.get(at + 1) {
                // These modules run what they are given.
                Some(Word::Literal(module))
                    if !matches!(
                        module.as_str(),
                        "code" | "timeit" | "pdb" | "trace" | "cProfile" | "profile" | "runpy"
                    ) =>
                {
                    Ok(Carried::Nothing)
                }
                _ => Err(Opaque::InlineCode { program: command.program.clone() }),
            };
        }
        let mut letters = letters.chars();
        while let Some(letter) = letters.next() {
            if known.values.contains(letter) {
                if letters.as_str().is_empty() {
                    at += 1;
                }
                break;
            }
            if known.code.contains(letter) {
                return Err(Opaque::InlineCode { program: command.program.clone() });
            }
            if !known.plain.contains(letter) {
                return Err(option_unknown(command, text));
            }
        }
        at += 1;
    }
    match words.get(at) {
        None => Err(Opaque::RunsInput { program: command.program.clone() }),
        Some(Word::Dynamic(_)) => Err(dynamic(command)),
        Some(file) => {
            command.interprets = Some(file.clone());
            if file.literal().is_some_and(|f| f.starts_with("/dev/") || f.starts_with("/proc/")) {
                return Err(Opaque::RunsInput { program: command.program.clone() });
            }
            Ok(Carried::Nothing)
        }
    }
}

/// `su -c 'text'` and `script -c 'text'`; without it they start a shell that reads its input.
pub(super) fn option_script(command: &Command, options: &[&str]) -> Read<Carried> {
    let words = literals(command)?;
    let at = words.iter().position(|word| options.contains(&word.as_str()));
    let Some(text) = at.and_then(|at| words.get(at + 1)) else {
        return Err(Opaque::RunsInput { program: command.program.clone() });
    };
    let others = words
        .iter()
        .enumerate()
        .filter(|(index, _)| Some(*index) != at && Some(*index) != at.map(|at| at + 1));
    for (_, word) in others {
        let plain = !word.starts_with('-')
            || matches!(word.as_str(), "-" | "-l" | "-q" | "-e" | "-f" | "-a" | "--login" | "--");
        if !plain || (command.program == "su" && word.contains(' ')) {
            return Err(option_unknown(command, word));
        }
    }
    Ok(Carried::Script(text.clone(), Place::Carried, Some(Dialect::Posix)))
}

pub(super) fn flock(command: &Command) -> Read<Carried> {
    let carrier = Carrier {
        name: "flock",
        flags: "sxneuFo",
        values: "wE",
        longs: &[
            "shared",
            "exclusive",
            "nonblock",
            "nb",
            "unlock",
            "close",
            "no-fork",
            "timeout=",
            "wait=",
            "conflict-exit-code=",
        ],
        positionals: 1,
        assigns: false,
    };
    match carry_words(&carrier, command)? {
        Carried::Words(words, _) => match words.as_slice() {
            [Word::Literal(option), Word::Literal(text)] if matches!(option.as_str(), "-c" | "--command") => {
                Ok(Carried::Script(text.clone(), Place::Carried, Some(Dialect::Posix)))
            }
            [Word::Literal(option), ..] if option.starts_with('-') => Err(option_unknown(command, option)),
            _ => Ok(Carried::Words(words, Vec::new())),
        },
        other => Ok(other),
    }
}

pub(super) fn watch(command: &Command) -> Read<Carried> {
    let carrier = Carrier {
        name: "watch",
        flags: "dtbecgpx",
        values: "n",
        longs: &[
            "differences",
            "no-title",
            "beep",
            "errexit",
            "color",
            "chgexit",
            "precise",
            "exec",
            "interval=",
        ],
        positionals: 0,
        assigns: false,
    };
    match carry_words(&carrier, command)? {
        Carried::Words(words, _) => {
            // Whether -x is given or not, the words are also read as a shell would: strictest of both.
            let texts: Option<Vec<&str>> = words.iter().map(Word::literal).collect();
            let text = texts.ok_or_else(|| dynamic(command))?.join(" ");
            Ok(Carried::Script(text, Place::Carried, Some(Dialect::Posix)))
        }
        other => Ok(other),
    }
}
