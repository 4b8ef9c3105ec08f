//! Printing for people and for programs. The only place of this binary that writes to its own streams.

use std::io::{IsTerminal, Write};

/// Prints one line to standard output; a reader that went away ends nothing.
pub(crate) fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    drop(writeln!(out, "{line}").and_then(|()| out.flush()));
}

/// Prints one line to standard error.
pub(crate) fn complain(line: &str) {
    drop(writeln!(std::io::stderr().lock(), "{line}"));
}

/// Prints a value as one line of JSON.
pub(crate) fn say_json(value: &impl serde::Serialize) {
    say(&serde_json::to_string(value).unwrap_or_default());
}

/// Whether standard output is a terminal that wants colours.
pub(crate) fn wants_colour() -> bool {
    std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none()
}

/// `text` in an ANSI colour where that is wanted: 31 red, 32 green, 33 yellow, 1 bold, 2 dim.
pub(crate) fn coloured(text: &str, code: u8) -> String {
    if wants_colour() { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
}

/// A decision or state word in its colour.
pub(crate) fn word(text: &str) -> String {
    let code = match text {
        "allow" | "granted" | "ok" | "used" => 32,
        "ask" | "pending" => 33,
        "deny" | "refused" | "expired" | "void" | "alert" => 31,
        _ => return text.to_owned(),
    };
    coloured(text, code)
}

/// Text from elsewhere, with everything that could move a terminal's cursor spelled out.
pub(crate) fn safe(text: &str) -> String {
    gateway::visible::spelled(text)
}
