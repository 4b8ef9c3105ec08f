//! Tools that start programs through some of their options or scripts: find, git, awk, sed, tar and their kin.
//! An option not known to be harmless is a doubt.

use super::account::{Carried, dynamic, option_unknown};
use super::carriers::GIT_COMMANDS;
use super::reader::Read;
use super::{Command, Opaque, Word};

pub(super) fn find(command: &mut Command) -> Read<Carried> {
    let words: Vec<String> = command
        .words
        .iter()
        .map(|word| match word {
            Word::Literal(text) | Word::Home(text) => Ok(text.clone()),
            Word::Dynamic(_) => Err(dynamic(command)),
        })
        .collect::<Read<_>>()?;
    let mut carried = Vec::new();
    let mut at = 0;
    while let Some(word) = words.get(at) {
        at += 1;
        match word.as_str() {
            "-exec" | "-execdir" | "-ok" | "-okdir" => {
                let mut inner = Vec::new();
                loop {
                    let Some(word) = words.get(at) else { return Err(option_unknown(command, "-exec")) };
                    at += 1;
                    let after_braces = inner.last() == Some(&Word::Dynamic("{}".to_owned()));
                    if word == ";" || (word == "+" && after_braces) {
                        break;
                    }
                    inner.push(if word.contains("{}") {
                        Word::Dynamic(word.clone())
                    } else {
                        Word::Literal(word.clone())
                    });
                }
                if !matches!(inner.first(), Some(Word::Literal(_))) {
                    return Err(Opaque::DynamicProgram("{}".to_owned()));
                }
                carried.push(inner);
            }
            "-fprint" | "-fprint0" | "-fls" | "-fprintf" => {
                let file = words.get(at).cloned().unwrap_or_default();
                command.writes.push(Word::Literal(file));
                at += 1;
            }
            "-files0-from" => return Err(option_unknown(command, "-files0-from")),
            _ => {}
        }
    }
    Ok(Carried::Several(carried))
}

pub(super) fn git(command: &Command) -> Read<Carried> {
    let mut words = command.words.iter();
    let sub = loop {
        let Some(word) = words.next() else { return Ok(Carried::Nothing) };
        let text = word.literal().ok_or_else(|| dynamic(command))?;
        match text {
            "--version" | "--help" | "-v" | "-h" | "--html-path" | "--man-path" | "--exec-path" => {
                return Ok(Carried::Nothing);
            }
            "-C" => {
                // One quoted word or several: with several, a later one could be an option.
                if !matches!(words.next(), Some(Word::Literal(_) | Word::Home(_))) {
                    return Err(dynamic(command));
                }
            }
            "-P"
            | "--no-pager"
            | "--bare"
            | "--no-replace-objects"
            | "--literal-pathspecs"
            | "--no-optional-locks" => {}
            "-c" => {
                let setting = words
                    .next()
                    .and_then(Word::literal)
                    .ok_or_else(|| dynamic(command))?
                    .to_ascii_lowercase();
                let harmless = [
                    "user.name=",
                    "user.email=",
                    "color.",
                    "advice.",
                    "init.defaultbranch=",
                    "commit.gpgsign=false",
                    "core.quotepath=",
                    "core.pager=cat",
                    "log.",
                ];
                if !harmless.iter().any(|prefix| setting.starts_with(prefix)) || setting.contains('!') {
                    return Err(option_unknown(command, "-c"));
                }
                if setting.starts_with("core.pager=") && setting != "core.pager=cat" {
                    return Err(option_unknown(command, "-c"));
                }
            }
            option if option.starts_with('-') => return Err(option_unknown(command, option)),
            sub => break sub,
        }
    };
    if !GIT_COMMANDS.contains(&sub) {
        return Err(option_unknown(command, sub));
    }
    let rest: Vec<&Word> = words.collect();
    let first = rest.first().and_then(|word| word.literal()).unwrap_or_default();
    if (sub == "submodule" && first == "foreach") || (sub == "bisect" && first == "run") {
        return Err(Opaque::Starts { program: "git".to_owned() });
    }
    for text in rest.iter().filter_map(|word| word.literal()) {
        let starts = [
            "--exec",
            "--upload-pack",
            "--receive-pack",
            "--open-files-in-pager",
            "--extcmd",
            "--ext-diff",
            "--textconv",
            "--config",
            "--template",
            "--hooks",
            "--remote-command",
            "ext::",
        ]
        .iter()
        .any(|prefix| {
            text.starts_with(prefix)
                || (prefix.len() > 5 && text.len() > 4 && text.starts_with("--") && prefix.starts_with(text))
        }) || (text.starts_with("-x") && sub == "rebase")
            || (text.starts_with("-O") && sub == "grep")
            || ((text == "-c" || text.starts_with("-u")) && sub == "clone");
        if starts {
            return Err(option_unknown(command, text));
        }
    }
    Ok(Carried::Nothing)
}

pub(super) fn awk(command: &Command) -> Read<Carried> {
    for word in &command.words {
        match word {
            Word::Dynamic(_) => return Err(dynamic(command)),
            Word::Home(_) => {}
            Word::Literal(text) => {
                let option = text.starts_with('-')
                    && !matches!(text.as_str(), "-F" | "-v" | "--" | "-")
                    && !text.starts_with("-F")
                    && !text.starts_with("-v");
                if option || ["system", "|", "getline", "@", ">"].iter().any(|what| text.contains(what)) {
                    return Err(Opaque::InlineCode { program: command.program.clone() });
                }
            }
        }
    }
    Ok(Carried::Nothing)
}

/// GNU sed's `e` command and `s///e` run commands, `w` writes files: only plain scripts are read.
pub(super) fn sed(command: &Command) -> Read<Carried> {
    let code = || Opaque::InlineCode { program: command.program.clone() };
    let mut script_seen = false;
    let mut at = 0;
    while let Some(word) = command.words.get(at) {
        at += 1;
        let text = match word {
            Word::Literal(text) => text.as_str(),
            Word::Home(_) if script_seen => continue,
            Word::Dynamic(_) if script_seen => return Err(dynamic(command)),
            _ => return Err(code()),
        };
        match text {
            "-n" | "-E" | "-r" | "-i" | "-z" | "-u" | "-ni" | "-nE" | "-nr" | "-Ei" | "-ri" | "--quiet"
            | "--regexp-extended" | "--in-place" | "--" => {}
            "-e" | "--expression" => {
                let script = command.words.get(at).and_then(Word::literal).ok_or_else(code)?;
                if !sed_is_plain(script) {
                    return Err(code());
                }
                script_seen = true;
                at += 1;
            }
            option if option.starts_with('-') && option.len() > 1 => {
                return Err(option_unknown(command, option));
            }
            script if !script_seen => {
                if !sed_is_plain(script) {
                    return Err(code());
                }
                script_seen = true;
            }
            _ => {}
        }
    }
    Ok(Carried::Nothing)
}

/// `[address]p`, `d`, `q`, `=` or one `s` with harmless flags; several joined by `;` only without `s`.
fn sed_is_plain(script: &str) -> bool {
    let address = |c: char| c.is_ascii_digit() || matches!(c, ',' | '$' | '+' | '~' | '!' | ' ');
    let mut command = script.trim().trim_start_matches(address);
    while let Some((pattern, rest)) = command.strip_prefix('/').and_then(|rest| rest.split_once('/')) {
        if pattern.contains(['\\', '[', '\n']) {
            return false;
        }
        command = rest.trim_start_matches(address);
    }
    let mut rest = command.chars();
    match rest.next() {
        Some('p' | 'd' | 'q' | '=' | 'P' | 'D') => match rest.as_str().trim_start() {
            "" => true,
            more => more.strip_prefix(';').is_some_and(sed_is_plain),
        },
        Some('s') => {
            let Some(delimiter) = rest.next().filter(|c| c.is_ascii_punctuation() && *c != '\\') else {
                return false;
            };
            // Implementations differ on whether a delimiter between brackets counts.
            if rest.as_str().split('[').skip(1).any(|tail| {
                tail.split(']').next().unwrap_or_default().contains(delimiter) && tail.contains(']')
            }) {
                return false;
            }
            let (mut parts, mut escaped, mut flags) = (0, false, String::new());
            for c in rest {
                match c {
                    '\n' => return false,
                    _ if parts == 2 => flags.push(c),
                    _ if escaped => escaped = false,
                    '\\' => escaped = true,
                    c if c == delimiter => parts += 1,
                    _ => {}
                }
            }
            parts == 2 && flags.chars().all(|c| matches!(c, 'g' | 'p' | 'i' | 'I' | 'm' | 'M' | '0'..='9'))
        }
        _ => false,
    }
}

/// `uniq IN OUT` writes its second operand.
pub(super) fn uniq(command: &mut Command) -> Read<Carried> {
    let operands: Vec<Word> = command
        .words
        .iter()
        .filter(|word| !matches!(word, Word::Literal(text) if text.starts_with('-')))
        .cloned()
        .collect();
    if operands.len() > 1 {
        command.writes.extend(operands.into_iter().skip(1));
    }
    Ok(Carried::Nothing)
}

/// Programs of which a few options start a command, write a file, or read options from one.
pub(super) fn starting_options(command: &Command) -> Read<Carried> {
    let (longs, shorts): (&[&str], &str) = match command.program.as_str() {
        "tar" | "bsdtar" => (
            &[
                "--to-command",
                "--checkpoint-action",
                "--use-compress-program",
                "--info-script",
                "--new-volume-script",
                "--rsh-command",
                "--rmt-command",
            ],
            "IF",
        ),
        "rsync" => (&["--rsh", "--rsync-path"], "e"),
        "zip" => (&["--unzip-command"], "T"),
        "cpio" => (&["--rsh-command"], ""),
        "sort" => (&["--compress-program", "--output"], "o"),
        "rg" => (&["--pre", "--hostname-bin"], ""),
        "fd" | "fdfind" => (&["--exec", "--exec-batch"], "xX"),
        "curl" => (&["--config"], "K"),
        "wget" => (&["--use-askpass", "--execute", "--config"], "e"),
        _ => (&["--"], "oSF"),
    };
    for word in &command.words {
        match word {
            Word::Dynamic(text)
                if !text.starts_with(['"', '\''])
                    && !matches!(command.program.as_str(), "curl" | "wget" | "rg") =>
            {
                return Err(dynamic(command));
            }
            Word::Literal(text) if text.starts_with("--") => {
                let key = text.split('=').next().unwrap_or_default();
                // Unambiguous abbreviations count.
                if key.len() > 2 && longs.iter().any(|long| long.starts_with(key)) {
                    return Err(option_unknown(command, text));
                }
            }
            Word::Literal(text) if text.starts_with('-') && text.contains(|c| shorts.contains(c)) => {
                return Err(option_unknown(command, text));
            }
            _ => {}
        }
    }
    if matches!(command.program.as_str(), "tar" | "bsdtar")
        && command
            .words
            .first()
            .and_then(Word::literal)
            .is_some_and(|first| !first.starts_with('-') && first.contains(['I', 'F']))
    {
        return Err(option_unknown(command, "I"));
    }
    Ok(Carried::Nothing)
}
