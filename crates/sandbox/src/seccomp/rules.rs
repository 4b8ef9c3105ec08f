//! The rules as values, and their plain meaning: which answer a call gets, by reading its lines in order.
//! The kernel never sees this; [`Rules::program`] must say the same in its language, and the tests hold it to that.

use std::sync::LazyLock;

/// What is said about every system call of one architecture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Ascending by number.
    pub(super) calls: Vec<Syscall>,
    /// The answer to every number that is not named.
    pub(super) otherwise: Action,
}

/// One system call and its lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Syscall {
    /// As in the kernel's table, e.g. `openat`.
    pub name: &'static str,
    /// In the kernel's table.
    pub number: u32,
    /// In the order of the file; the first that fits decides, and the last always fits.
    pub clauses: Vec<Clause>,
}

/// What one line says about one system call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Clause {
    /// Where it stands in the file, from 1.
    pub line: usize,
    /// It counts only where memory is bounded by watching processes.
    pub watched: bool,
    /// The answer.
    pub action: Action,
    /// All must hold.
    pub conditions: Vec<Condition>,
}

/// The answer to a system call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// The kernel does it.
    Allow,
    /// The kernel returns this error instead.
    Errno(u16),
}

/// A statement about one argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Condition {
    /// Which, from 0 to 5.
    pub argument: u8,
    /// What must hold.
    pub test: Test,
}

/// What must hold of an argument. A 32-bit test is one whose mask leaves the upper half alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Test {
    /// `argument & mask == value`; `value` lies within `mask`.
    Equals {
        /// The bits that are looked at.
        mask: u64,
        /// What they must be.
        value: u64,
    },
    /// `argument & mask != 0`.
    Any {
        /// The bits that are looked at.
        mask: u64,
    },
}

impl Rules {
    /// The rules this program is built with, parsed once.
    pub fn builtin() -> &'static Self {
        static BUILTIN: LazyLock<Rules> = LazyLock::new(|| {
            Rules::parse(include_str!("x86_64.rules"))
                .expect("the built-in rules parse: a unit test reads them")
        });
        &BUILTIN
    }

    /// Every system call that is named, ascending by number.
    pub fn syscalls(&self) -> &[Syscall] {
        &self.calls
    }

    /// The answer to a call with these arguments, `number` being one of the native table.
    pub fn answer(&self, number: u32, arguments: &[u64; 6], memory_watched: bool) -> Action {
        match self.calls.binary_search_by_key(&number, |call| call.number) {
            Ok(place) => self.calls[place]
                .clause(arguments, memory_watched)
                .map_or(self.otherwise, |clause| clause.action),
            Err(_) => self.otherwise,
        }
    }
}

impl Syscall {
    /// The line that decides about these arguments; there always is one in rules that were parsed.
    pub fn clause(&self, arguments: &[u64; 6], memory_watched: bool) -> Option<&Clause> {
        self.in_force(memory_watched)
            .find(|clause| clause.conditions.iter().all(|condition| condition.holds(arguments)))
    }

    /// The answer, where the number alone decides.
    pub fn constant(&self, memory_watched: bool) -> Option<Action> {
        self.in_force(memory_watched)
            .next()
            .filter(|clause| clause.conditions.is_empty())
            .map(|clause| clause.action)
    }

    /// The lines that count.
    pub(super) fn in_force(&self, memory_watched: bool) -> impl Iterator<Item = &Clause> {
        self.clauses.iter().filter(move |clause| memory_watched || !clause.watched)
    }
}

impl Condition {
    /// Whether it holds of these arguments.
    pub fn holds(&self, arguments: &[u64; 6]) -> bool {
        let argument = arguments[usize::from(self.argument)];
        match self.test {
            Test::Equals { mask, value } => argument & mask == value,
            Test::Any { mask } => argument & mask != 0,
        }
    }
}
