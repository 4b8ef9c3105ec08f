//! Puts each command on the list, and after it what that command carries: `env rm` is `env` and then `rm`.
//! A carrier that cannot be seen through leaves a doubt; it is never taken for an ordinary program.

use super::builtins::{declare, eval, evaluates_names, set, trap};
use super::carriers::{CARRIERS, Carrier, DECLARING, SHELL_CHANGERS, STARTERS};
use super::environment::{changes_programs, is_number};
use super::reader::{Dialect, Found, Read, read_script};
use super::started::{flock, interpreter, option_script, shell, watch};
use super::tools::{awk, find, git, sed, starting_options, uniq};
use super::{COMMANDS_MAX, Command, DEPTH_MAX, Opaque, Place, Word};

/// Puts a command on the list at `slot`, and after it what it carries.
pub(super) fn account(
    found: &mut Found,
    slot: usize,
    mut command: Command,
    dialect: Dialect,
    depth: usize,
) -> Read<()> {
    if found.commands.len() >= COMMANDS_MAX {
        return Err(Opaque::TooMany);
    }
    if depth > DEPTH_MAX {
        return Err(Opaque::TooDeep);
    }
    for (name, value) in &command.assignments {
        found.assigned(name, is_number(value));
    }
    if let Some((name, _)) = command.assignments.iter().find(|(name, _)| changes_programs(name)) {
        command.opaque.get_or_insert(Opaque::Variable(name.clone()));
    }
    let carried = carries(found, &mut command);
    if let Some(why) = &command.opaque {
        found.doubt(why.clone());
    }
    let mut places = command.places.clone();
    found.commands.insert(slot.min(found.commands.len()), command);
    match carried {
        Carried::Nothing => Ok(()),
        Carried::Words(words, assignments) => {
            places.push(Place::Carried);
            let mut words = words.into_iter();
            let Some(first) = words.next() else { return Ok(()) };
            let (given, opaque) = match first {
                Word::Literal(text) if !text.is_empty() => (text, None),
                Word::Literal(text) | Word::Home(text) | Word::Dynamic(text) => {
                    (text.clone(), Some(Opaque::DynamicProgram(text)))
                }
            };
            let program = match opaque {
                None => last_component(&given),
                Some(_) => String::new(),
            };
            let command = Command {
                program,
                given,
                words: words.collect(),
                assignments,
                opaque,
                ..Command::at(&places)
            };
            let slot = found.commands.len();
            account(found, slot, command, dialect, depth + 1)
        }
        Carried::Several(list) => {
            places.push(Place::Carried);
            for words in list {
                let mut words = words.into_iter();
                let Some(Word::Literal(given)) = words.next() else {
                    return Err(Opaque::DynamicProgram("{}".to_owned()));
                };
                let program = last_component(&given);
                let command = Command { program, given, words: words.collect(), ..Command::at(&places) };
                let slot = found.commands.len();
                account(found, slot, command, dialect, depth + 1)?;
            }
            Ok(())
        }
        Carried::Script(text, place, inner) => {
            places.push(place);
            // `eval` and `trap` stay in the shell that reads them.
            read_script(found, &text, inner.unwrap_or(dialect), &places, depth + 1);
            Ok(())
        }
    }
}

/// What a command carries.
pub(super) enum Carried {
    Nothing,
    Words(Vec<Word>, Vec<(String, Word)>),
    Several(Vec<Vec<Word>>),
    Script(String, Place, Option<Dialect>),
}

/// What `command` starts besides itself; marks it opaque where that cannot be told.
fn carries(found: &mut Found, command: &mut Command) -> Carried {
    let program = command.program.clone();
    let name = program.as_str();
    if let Some(carrier) = CARRIERS.iter().find(|carrier| carrier.name == name) {
        return match carry_words(carrier, command) {
            Ok(carried) => carried,
            Err(why) => {
                command.opaque.get_or_insert(why);
                Carried::Nothing
            }
        };
    }
    let outcome = match name {
        "bash" | "rbash" => shell(command, Dialect::Bash),
        "sh" | "dash" | "ash" | "ksh" | "ksh93" | "mksh" | "oksh" | "posh" | "yash" => {
            shell(command, Dialect::Posix)
        }
        "eval" => eval(command),
        "." | "source" => Err(Opaque::RunsInput { program: program.clone() }),
        "trap" => trap(command),
        "find" => find(command),
        "su" => option_script(command, &["-c", "--command", "-lc"]),
        "script" => option_script(command, &["-c", "--command", "-qc", "-qec", "-qefc", "-ec"]),
        "flock" => flock(command),
        "watch" => watch(command),
        "git" => git(command),
        "awk" | "gawk" | "mawk" | "nawk" => awk(command),
        "sed" | "gsed" => sed(command),
        "tar" | "bsdtar" | "rsync" | "zip" | "cpio" | "sort" | "rg" | "fd" | "fdfind" | "curl" | "wget"
        | "scp" | "sftp" => starting_options(command),
        "uniq" => uniq(command),
        "set" => set(command),
        "mapfile" | "readarray" | "read" | "getopts" | "printf" | "let" | "unset" | "wait" | "jobs"
        | "test" | "[" => evaluates_names(found, command),
        name if DECLARING.contains(&name) => declare(found, command),
        name if SHELL_CHANGERS.contains(&name) => Err(Opaque::ChangesShell { program: program.clone() }),
        name if STARTERS.contains(&name) || name.starts_with("ld-linux") || name.starts_with("ld-musl") => {
            Err(Opaque::Starts { program: program.clone() })
        }
        _ => interpreter(command),
    };
    outcome.unwrap_or_else(|why| {
        command.opaque.get_or_insert(why);
        Carried::Nothing
    })
}

pub(super) fn dynamic(command: &Command) -> Opaque {
    Opaque::DynamicCarrier { program: command.program.clone() }
}

pub(super) fn option_unknown(command: &Command, option: &str) -> Opaque {
    Opaque::CarrierOption { program: command.program.clone(), option: option.to_owned() }
}

pub(super) fn literals(command: &Command) -> Read<Vec<String>> {
    command
        .words
        .iter()
        .map(|word| word.literal().map(str::to_owned).ok_or_else(|| dynamic(command)))
        .collect()
}

pub(super) fn carry_words(carrier: &Carrier, command: &Command) -> Read<Carried> {
    let words = &command.words;
    let mut at = 0;
    let mut replaced: Option<String> = None;
    while let Some(word) = words.get(at) {
        let text = word.literal().ok_or_else(|| dynamic(command))?;
        if text == "--" {
            at += 1;
            break;
        }
        if text == "-" && carrier.name == "env" {
            at += 1;
            continue;
        }
        let Some(option) = text.strip_prefix('-').filter(|option| !option.is_empty()) else { break };
        if carrier.name == "command" && matches!(option, "v" | "V") {
            return Ok(Carried::Nothing);
        }
        if let Some(long) = option.strip_prefix('-') {
            let (key, value) = long.split_once('=').map_or((long, None), |(key, value)| (key, Some(value)));
            if matches!(key, "help" | "version") {
                return Ok(Carried::Nothing);
            }
            let takes = carrier.longs.contains(&format!("{key}=").as_str());
            if !takes && (value.is_some() || !carrier.longs.contains(&key)) {
                return Err(option_unknown(command, text));
            }
            at += if takes && value.is_none() { 2 } else { 1 };
            continue;
        }
        let mut letters = option.chars();
        while let Some(letter) = letters.next() {
            if carrier.values.contains(letter) {
                let mut value = letters.as_str().to_owned();
                if value.is_empty() {
                    at += 1;
                    value = words.get(at).and_then(Word::literal).ok_or_else(|| dynamic(command))?.to_owned();
                }
                if carrier.name == "xargs" && letter == 'I' {
                    replaced = Some(value);
                }
                break;
            }
            if !carrier.flags.contains(letter) {
                return Err(option_unknown(command, text));
            }
        }
        at += 1;
    }
    let mut assignments = Vec::new();
    while let Some((name, value)) =
        words.get(at).and_then(Word::literal).and_then(|text| text.split_once('='))
        && carrier.assigns
    {
        assignments.push((name.to_owned(), Word::Literal(value.to_owned())));
        at += 1;
    }
    for _ in 0..carrier.positionals {
        match words.get(at) {
            None => return Ok(Carried::Nothing),
            Some(Word::Literal(text)) if !text.starts_with('-') => at += 1,
            Some(Word::Literal(text)) => return Err(option_unknown(command, text)),
            Some(_) => return Err(dynamic(command)),
        }
    }
    let mut rest: Vec<Word> = words.get(at..).unwrap_or_default().to_vec();
    if carrier.name == "xargs" && !rest.is_empty() {
        match replaced.filter(|mark| !mark.is_empty()) {
            Some(mark) => {
                for word in &mut rest {
                    if let Word::Literal(text) = word
                        && text.contains(&mark)
                    {
                        *word = Word::Dynamic(text.clone());
                    }
                }
            }
            None => rest.push(Word::Dynamic("<input of xargs>".to_owned())),
        }
    }
    if rest.is_empty() && assignments.iter().any(|(name, _)| changes_programs(name)) {
        return Ok(Carried::Nothing);
    }
    Ok(Carried::Words(rest, assignments))
}

/// The name a program goes by: `rm` for `/bin/rm`.
pub(super) fn last_component(given: &str) -> String {
    given.rsplit('/').next().unwrap_or_default().to_owned()
}
