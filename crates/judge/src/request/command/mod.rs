//! Turns a shell command line into the list of commands it would run, with their words and redirections.
//! Never runs, expands or looks up anything: what cannot be known from the text alone is `opaque`, with the reason.
//!
//! The promise, for bash as the shell: every program that bash itself would start is listed, or the result is opaque.
//! The reader accepts a strict subset of bash's grammar and calls the rest opaque; it walks the text once, without
//! backtracking, so time is linear and depth is bounded. What a listed program starts by itself is not seen, apart from
//! the carriers below; the sandbox, not this reader, is the boundary.

mod account;
mod builtins;
mod carriers;
mod environment;
mod expansion;
mod grammar;
mod reader;
mod simple;
mod started;
mod tools;
mod words;

#[cfg(test)]
mod tests;

use reader::{Dialect, Found, read_script};
use thiserror::Error;

/// Longest command line read, in bytes.
pub const COMMAND_BYTES_MAX: usize = 64 * 1024;
/// Deepest nesting of groups, substitutions and carried command lines.
pub const DEPTH_MAX: usize = 16;
/// Most commands listed for one line.
pub const COMMANDS_MAX: usize = 512;

/// Every command a line would run, in reading order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Commands {
    /// The commands, in reading order.
    pub commands: Vec<Command>,
    /// The first reason why the list may be incomplete or not what will run; `None` when it is the whole truth.
    pub opaque: Option<Opaque>,
}

/// One command: a program or builtin with its words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    /// The last component of `given`: `rm` for `/bin/rm`. Empty for assignments or redirections alone, and when unknown.
    pub program: String,
    /// The program's text as the shell would look it up; its source text when it is not literal.
    pub given: String,
    /// The arguments, without the program.
    pub words: Vec<Word>,
    /// `NAME=value` before the program, or after a declaring builtin.
    pub assignments: Vec<(String, Word)>,
    /// Files opened for reading by redirection.
    pub reads: Vec<Word>,
    /// Files opened for writing by redirection.
    pub writes: Vec<Word>,
    /// The script file that an interpreter is told to run, or the module with its `-m`.
    pub interprets: Option<Word>,
    /// Why this command may do other than it says.
    pub opaque: Option<Opaque>,
    /// Where it stands, outermost first; empty for a command at the top.
    pub places: Vec<Place>,
}

/// One argument.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Word {
    /// Exactly this one argument, quoting removed.
    Literal(String),
    /// The home folder followed by this text: `~/x` unquoted is `Home("/x")`.
    Home(String),
    /// Known only when run; any number of arguments. The source text, to show.
    Dynamic(String),
}

/// What a command stands in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Place {
    /// One of several in `;`, `&&`, `||` or line after line.
    List,
    /// One of several joined by `|`.
    Pipeline,
    /// Followed by `&`.
    Background,
    /// Inside `( … )`.
    Subshell,
    /// Inside `{ …; }`.
    Group,
    /// Inside `if`, conditions included.
    Branch,
    /// Inside `for`, `while`, `until` or `select`.
    Loop,
    /// Inside `case`.
    Case,
    /// Inside a function's body.
    Function,
    /// After `coproc`.
    Coprocess,
    /// Inside `$( … )` or backticks.
    CommandSubstitution,
    /// Inside `<( … )` or `>( … )`.
    ProcessSubstitution,
    /// Inside the body of an unquoted here-document.
    HereDocument,
    /// Started by the command listed before it: `env`, `xargs`, `sh -c`, `eval`, …
    Carried,
    /// In the text given to `trap`.
    Trap,
}

/// Why a line or command is opaque.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Opaque {
    /// Past [`COMMAND_BYTES_MAX`].
    #[error("the command line is longer than {COMMAND_BYTES_MAX} bytes")]
    TooLong,
    /// Past [`DEPTH_MAX`].
    #[error("the command line nests deeper than {DEPTH_MAX}")]
    TooDeep,
    /// Past [`COMMANDS_MAX`].
    #[error("the command line holds more than {COMMANDS_MAX} commands")]
    TooMany,
    /// A control character other than tab and newline.
    #[error("the control character {0:?} stands in the command line")]
    Control(char),
    /// Outside the grammar that is read.
    #[error("the shell syntax at byte {at} is not understood: {what}")]
    Syntax {
        /// Where, in bytes from the start of the text being read.
        at: usize,
        /// What is wrong.
        what: &'static str,
    },
    /// The program comes from an expansion; its source text.
    #[error("the program name {0:?} is only known when run")]
    DynamicProgram(String),
    /// A carrier's own words come from an expansion.
    #[error("{program} is given words only known when run, which may change what it starts")]
    DynamicCarrier {
        /// The carrier.
        program: String,
    },
    /// A carrier's option is not known to be harmless.
    #[error("{program} has the option {option:?}, whose effect on what it starts is not known")]
    CarrierOption {
        /// The carrier.
        program: String,
        /// Its option, as written.
        option: String,
    },
    /// It starts others by rules of its own: `ssh`, `docker`, `strace`, …
    #[error("{program} starts other commands in a way that is not read")]
    Starts {
        /// The program.
        program: String,
    },
    /// Code in another language stands in the arguments: `python -c`.
    #[error("{program} runs code given in its arguments")]
    InlineCode {
        /// The interpreter.
        program: String,
    },
    /// It reads commands from standard input or a terminal: `sh` alone.
    #[error("{program} runs commands from its input or from a prompt")]
    RunsInput {
        /// The program.
        program: String,
    },
    /// It changes how the shell reads or finds what follows: `alias`, `set -o posix`.
    #[error("{program} changes how later commands are read or found")]
    ChangesShell {
        /// The builtin.
        program: String,
    },
    /// An assignment to a variable such as `PATH` or `LD_PRELOAD`; its name.
    #[error("the variable {0} changes what programs do or which are found")]
    Variable(String),
    /// Bash evaluates values in arithmetic again, command substitutions included; the source text.
    #[error("arithmetic over {0:?} may run commands hidden in its value")]
    Arithmetic(String),
    /// Bash evaluates a value again in this expansion; the source text.
    #[error("the expansion {0:?} may run commands hidden in a value")]
    Expansion(String),
    /// Bash opens a socket for `/dev/tcp` and `/dev/udp`; the target.
    #[error("the redirection to {0:?} opens a network connection")]
    Network(String),
    /// The shell that will read it, and the construct.
    #[error("the shell {0} reads this text otherwise than bash: {1}")]
    Dialect(&'static str, &'static str),
}

/// Reads a command line as `bash -c` would.
pub fn parse(line: &str) -> Commands {
    let mut found = Found::default();
    read_script(&mut found, line, Dialect::Bash, &[], 0);
    found.finish()
}

impl Commands {
    /// The programs in order, without the empty names of bare assignments and redirections.
    pub fn programs(&self) -> impl Iterator<Item = &str> {
        self.commands.iter().map(|command| command.program.as_str()).filter(|program| !program.is_empty())
    }
}

impl Command {
    /// A command without words, standing at `places`.
    fn at(places: &[Place]) -> Self {
        Command {
            program: String::new(),
            given: String::new(),
            words: Vec::new(),
            assignments: Vec::new(),
            reads: Vec::new(),
            writes: Vec::new(),
            interprets: None,
            opaque: None,
            places: places.to_vec(),
        }
    }
}

impl Word {
    /// The argument's text if it is exactly known.
    pub fn literal(&self) -> Option<&str> {
        match self {
            Word::Literal(text) => Some(text),
            Word::Home(_) | Word::Dynamic(_) => None,
        }
    }
}
