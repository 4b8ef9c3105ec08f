//! Turns the path an agent wrote into the one place it names, and says which zone that place is in.
//! Never opens, reads or asks the file system: what is a link and what is absent comes in as facts.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::fmt;

use thiserror::Error;
use unicode_normalization::UnicodeNormalization;

/// Longest path accepted, in bytes: Linux `PATH_MAX` without its NUL.
pub const PATH_BYTES_MAX: usize = 4095;
/// Longest single component, in bytes: Linux `NAME_MAX`.
pub const COMPONENT_BYTES_MAX: usize = 255;
/// Links followed before giving up, as the kernel does (`ELOOP`, path_resolution(7)).
pub const LINKS_FOLLOWED_MAX: usize = 40;

/// An absolute path without `.`, `..`, `//`, trailing slash, NUL or control character.
///
/// Bytes are kept as given: no Unicode normalization, because to Linux two normal forms are two files.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AbsPath(String);

/// Why a text is not a path we can judge.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum PathError {
    /// No text at all.
    #[error("the path is empty; name a file or folder")]
    Empty,
    /// A relative path where a fixed place is named.
    #[error("the path {0:?} is not absolute; a fixed place must start with '/'")]
    NotAbsolute(String),
    /// Past [`PATH_BYTES_MAX`].
    #[error("the path is {bytes} bytes, more than {PATH_BYTES_MAX}; shorten it")]
    TooLong {
        /// Its length in bytes.
        bytes: usize,
    },
    /// One name past [`COMPONENT_BYTES_MAX`].
    #[error("the path component {0:?} is longer than {COMPONENT_BYTES_MAX} bytes; shorten it")]
    ComponentTooLong(String),
    /// A control character, NUL included.
    #[error("the path holds the control character {0:?}; write it without")]
    Control(char),
    /// A `file:` URL.
    #[error("{0:?} is a file: URL, not a path; write the plain path")]
    FileUrl(String),
    /// `~name`, `~+` or `~-`, which only a shell can expand.
    #[error("{0:?} names another user's home or a shell's folder stack; write the absolute path")]
    OtherHome(String),
    /// Past [`LINKS_FOLLOWED_MAX`]; where it was given up.
    #[error("more than {LINKS_FOLLOWED_MAX} symbolic links at {0}; write the path they lead to")]
    LinkLoop(AbsPath),
    /// `..` below a folder that does not exist; the folder.
    #[error("{0} does not exist, so '..' below it leads nowhere; write the path without '..'")]
    ParentOfAbsent(AbsPath),
    /// What lies there cannot be told; where.
    #[error("{0} cannot be looked at, so what lies behind it is unknown; use a readable path")]
    Unreadable(AbsPath),
    /// A link with an unusable target; the link.
    #[error("the link {0} has an empty target or one that is not a path; repair or avoid it")]
    BadLink(AbsPath),
}

/// What the file system says about one path, without following it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LinkFact {
    /// Nothing is there.
    Absent,
    /// Present and not a symbolic link.
    Plain,
    /// A symbolic link and its target text, as `readlink(2)` gives it.
    Link(String),
    /// Permission denied, not text, or any other error.
    Unreadable,
}

/// Where facts about links come from: the real file system in the gateway, a map in tests.
pub trait Links {
    /// What stands at `path`, its last component not followed.
    fn read_link(&self, path: &AbsPath) -> LinkFact;
}

/// One path, as written and as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolved {
    /// As the agent wrote it.
    pub given: String,
    /// After `~`, `.`, `..` and `//`, links not followed.
    pub lexical: AbsPath,
    /// The directory entry itself: its folder resolved, its last component not followed. What `rm` and `rename` act on.
    pub entry: AbsPath,
    /// After every link. What `open` acts on.
    pub real: AbsPath,
    /// Whether `real` was there when the facts were taken.
    pub exists: bool,
}

/// Where a path lies. Ordered: the more protected, the greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Zone {
    /// Everything else.
    System,
    /// The user's home.
    Home,
    /// Folders for temporary files.
    Temp,
    /// Where the agent works.
    Workspace,
    /// Bailiwick's own files, sockets and configuration.
    Gate,
}

/// The folders that zones are made of, all resolved (`real`) beforehand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Zones {
    /// Where the agent works.
    pub workspace: AbsPath,
    /// The user's home.
    pub home: AbsPath,
    /// Folders for temporary files.
    pub temp: Vec<AbsPath>,
    /// Bailiwick's own files, sockets and configuration.
    pub gate: Vec<AbsPath>,
}

/// Makes `given` absolute and free of `.`, `..`, `//`, without following links.
///
/// `~` and `~/…` are `home`. `..` above the root stays at the root, as in the kernel.
///
/// # Errors
/// [`PathError`] for a text that is empty, too long, a URL, another user's home, or holds control characters.
pub fn lexical(given: &str, cwd: &AbsPath, home: &AbsPath) -> Result<AbsPath, PathError> {
    let mut parts: Vec<&str> = Vec::new();
    let (base, rest) = split_base(given, cwd, home)?;
    parts.extend(base.components());
    for part in rest.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            name => parts.push(name),
        }
    }
    AbsPath::from_components(&parts)
}

/// Follows `given` as the kernel would: component by component, `..` applied after links.
///
/// An absent leaf is allowed, and so is a chain of absent folders (tools create them), but not `..` below one.
///
/// # Errors
/// What [`lexical`] refuses, and links that loop, lead nowhere or cannot be read.
pub fn resolve(given: &str, cwd: &AbsPath, home: &AbsPath, links: &dyn Links) -> Result<Resolved, PathError> {
    let lexical = lexical(given, cwd, home)?;
    let (base, rest) = split_base(given, cwd, home)?;
    let mut todo: VecDeque<Step> = base.components().chain(rest.split('/')).map(Step::of).collect();
    // `link/` and `link/.` name what the link points at, so the entry is the folder and not the link.
    let leaf_is_name = !matches!(todo.back(), Some(Step::Stay | Step::Up) | None);
    let mut leaf_at = leaf_is_name.then_some(todo.len());

    let mut done: Vec<String> = Vec::new();
    let mut entry: Option<AbsPath> = None;
    let mut absent: Option<AbsPath> = None;
    let mut followed = 0;

    while let Some(step) = todo.pop_front() {
        let at_leaf = leaf_at.is_some() && todo.is_empty();
        let name = match step {
            Step::Stay => continue,
            Step::Up => {
                if let Some(missing) = absent {
                    return Err(PathError::ParentOfAbsent(missing));
                }
                done.pop();
                continue;
            }
            Step::Name(name) => name,
        };
        done.push(name);
        let here = AbsPath::from_components(&done)?;
        if at_leaf {
            entry.get_or_insert_with(|| here.clone());
            leaf_at = None;
        }
        if absent.is_some() {
            continue;
        }
        match links.read_link(&here) {
            LinkFact::Plain => {}
            LinkFact::Absent => absent = Some(here),
            LinkFact::Unreadable => return Err(PathError::Unreadable(here)),
            LinkFact::Link(target) => {
                followed += 1;
                if followed > LINKS_FOLLOWED_MAX {
                    return Err(PathError::LinkLoop(here));
                }
                if target.is_empty() || target.len() > PATH_BYTES_MAX || target.contains(char::is_control) {
                    return Err(PathError::BadLink(here));
                }
                done.pop();
                if target.starts_with('/') {
                    done.clear();
                }
                for part in target.rsplit('/') {
                    todo.push_front(Step::of(part));
                }
            }
        }
    }
    let real = AbsPath::from_components(&done)?;
    Ok(Resolved {
        given: given.to_owned(),
        lexical,
        entry: entry.unwrap_or_else(|| real.clone()),
        real,
        exists: absent.is_none(),
    })
}

impl AbsPath {
    /// The root folder.
    pub fn root() -> Self {
        AbsPath("/".to_owned())
    }

    /// An absolute path from configuration or the operating system, made lexically normal.
    ///
    /// # Errors
    /// [`PathError`] for a relative path, and for what [`lexical`] refuses.
    pub fn parse(text: &str) -> Result<Self, PathError> {
        if text.is_empty() {
            return Err(PathError::Empty);
        }
        if !text.starts_with('/') {
            return Err(PathError::NotAbsolute(text.to_owned()));
        }
        let root = AbsPath::root();
        lexical(text, &root, &root)
    }

    /// The text, starting with `/`.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The names from the root down; none for the root itself.
    pub fn components(&self) -> impl DoubleEndedIterator<Item = &str> {
        self.0.split('/').filter(|part| !part.is_empty())
    }

    /// The last name, `None` for the root.
    pub fn name(&self) -> Option<&str> {
        self.components().next_back()
    }

    /// The folder it lies in, `None` for the root.
    pub fn parent(&self) -> Option<AbsPath> {
        let cut = self.0.rfind('/')?;
        match (self.0.as_str(), cut) {
            ("/", _) => None,
            (_, 0) => Some(AbsPath::root()),
            (text, cut) => Some(AbsPath(text[..cut].to_owned())),
        }
    }

    /// Whether it is `folder` or lies below it, by whole components and exact bytes.
    pub fn is_within(&self, folder: &AbsPath) -> bool {
        within(self.components().map(Cow::Borrowed), folder.components().map(Cow::Borrowed))
    }

    /// As [`Self::is_within`], but names that a case-folding or normalizing file system takes for one are one.
    pub fn is_within_folded(&self, folder: &AbsPath) -> bool {
        within(
            self.components().map(|c| Cow::Owned(fold(c))),
            folder.components().map(|c| Cow::Owned(fold(c))),
        )
    }

    /// Whether the text may read as another path than it is: invisible or direction characters, look-alikes of `/`
    /// and `.`, compatibility forms, decomposed letters, or Latin mixed with Cyrillic or Greek in one name.
    pub fn confusable(&self) -> bool {
        !self.0.is_ascii() && self.components().any(confusable_name)
    }

    fn from_components<S: AsRef<str>>(parts: &[S]) -> Result<Self, PathError> {
        let mut text = String::new();
        for part in parts {
            let part = part.as_ref();
            if part.len() > COMPONENT_BYTES_MAX {
                return Err(PathError::ComponentTooLong(part.to_owned()));
            }
            text.push('/');
            text.push_str(part);
        }
        if text.len() > PATH_BYTES_MAX {
            return Err(PathError::TooLong { bytes: text.len() });
        }
        if text.is_empty() {
            text.push('/');
        }
        Ok(AbsPath(text))
    }
}

impl Zones {
    /// The zone of a resolved path. Where zones overlap the most protected wins, Gate first.
    pub fn zone(&self, path: &AbsPath) -> Zone {
        // The gate is compared folded: on a case-folding disk `.Bailiwick` is the gate's own folder (CVE-2014-9390).
        if self.gate.iter().any(|gate| path.is_within_folded(gate)) {
            Zone::Gate
        } else if path.is_within(&self.workspace) {
            Zone::Workspace
        } else if self.is_temp(path) {
            Zone::Temp
        } else if path.is_within(&self.home) {
            Zone::Home
        } else {
            Zone::System
        }
    }

    /// A home among temporary files, as build hosts have them, is a home.
    fn is_temp(&self, path: &AbsPath) -> bool {
        let is_home = |temp: &AbsPath| path.is_within(&self.home) && self.home.is_within(temp);
        self.temp.iter().any(|temp| path.is_within(temp) && !is_home(temp))
    }

    /// Whether the gate's own files lie at or below `path`, so that moving or deleting it would reach them.
    pub fn encloses_gate(&self, path: &AbsPath) -> bool {
        self.gate.iter().any(|gate| gate.is_within_folded(path))
    }
}

impl fmt::Display for AbsPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for AbsPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

enum Step {
    Stay,
    Up,
    Name(String),
}

impl Step {
    fn of(part: &str) -> Self {
        match part {
            "" | "." => Step::Stay,
            ".." => Step::Up,
            name => Step::Name(name.to_owned()),
        }
    }
}

/// Checks the text and splits it into the folder it starts from and what follows.
fn split_base<'a>(
    given: &'a str,
    cwd: &'a AbsPath,
    home: &'a AbsPath,
) -> Result<(Cow<'a, AbsPath>, &'a str), PathError> {
    if given.is_empty() {
        return Err(PathError::Empty);
    }
    if given.len() > PATH_BYTES_MAX {
        return Err(PathError::TooLong { bytes: given.len() });
    }
    if let Some(c) = given.chars().find(|c| c.is_control()) {
        return Err(PathError::Control(c));
    }
    if given.get(..5).is_some_and(|scheme| scheme.eq_ignore_ascii_case("file:")) {
        return Err(PathError::FileUrl(given.to_owned()));
    }
    if given.starts_with('/') {
        return Ok((Cow::Owned(AbsPath::root()), given));
    }
    match given.strip_prefix('~') {
        Some(rest) if rest.is_empty() || rest.starts_with('/') => Ok((Cow::Borrowed(home), rest)),
        Some(_) => Err(PathError::OtherHome(given.to_owned())),
        None => Ok((Cow::Borrowed(cwd), given)),
    }
}

fn within<'a>(
    mut path: impl Iterator<Item = Cow<'a, str>>,
    folder: impl Iterator<Item = Cow<'a, str>>,
) -> bool {
    for name in folder {
        if path.next().as_ref() != Some(&name) {
            return false;
        }
    }
    true
}

/// One spelling for all names some file system takes as equal: NFC, case folded through upper case (so `ſ` is `s`),
/// without the code points HFS+ ignores.
fn fold(name: &str) -> String {
    let upper: String = name.nfd().filter(|c| !ignored_by_hfs(*c)).flat_map(char::to_uppercase).collect();
    upper.nfd().flat_map(char::to_lowercase).nfc().collect()
}

fn ignored_by_hfs(c: char) -> bool {
    matches!(c, '\u{200c}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{206a}'..='\u{206f}' | '\u{feff}')
}

fn confusable_name(name: &str) -> bool {
    let unseen = |c: char| {
        matches!(c,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180e}'
            | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}'
            | '\u{feff}' | '\u{ffa0}' | '\u{e0000}'..='\u{e0fff}')
    };
    let like_ascii = |c: char| {
        matches!(
            c,
            '\u{2044}'
                | '\u{2215}'
                | '\u{29f8}'
                | '\u{2571}'
                | '\u{3002}'
                | '\u{2024}'
                | '\u{a4f8}'
                | '\u{223c}'
        )
    };
    let latin = name.chars().any(|c| c.is_ascii_alphabetic());
    let foreign = name.chars().any(|c| matches!(c, '\u{370}'..='\u{3ff}' | '\u{400}'..='\u{52f}'));
    name.chars().any(|c| unseen(c) || like_ascii(c)) || (latin && foreign) || !name.nfkc().eq(name.chars())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn abs(text: &str) -> AbsPath {
        AbsPath::parse(text).unwrap()
    }

    #[test]
    fn lexical_normal_form() {
        for (given, want) in [
            ("a", "/w/p/a"),
            (".", "/w/p"),
            ("./a/./b//c/", "/w/p/a/b/c"),
            ("..", "/w"),
            ("../../../../etc", "/etc"),
            ("/..", "/"),
            ("//x///y", "/x/y"),
            ("/a/b/../../..", "/"),
            ("~", "/home/u"),
            ("~/", "/home/u"),
            ("~/../v", "/home/v"),
            ("./~", "/w/p/~"),
            ("a~", "/w/p/a~"),
            ("...", "/w/p/..."),
            ("a\\b", "/w/p/a\\b"),
            ("%2e%2e/x", "/w/p/%2e%2e/x"),
            ("filer:x", "/w/p/filer:x"),
            ("cafe\u{301}", "/w/p/cafe\u{301}"),
            ("\u{ff0e}\u{ff0e}/x", "/w/p/\u{ff0e}\u{ff0e}/x"),
            (" a ", "/w/p/ a "),
        ] {
            assert_eq!(
                lexical(given, &abs("/w/p"), &abs("/home/u")),
                Ok(AbsPath(want.to_owned())),
                "{given:?}"
            );
        }
    }

    #[test]
    fn what_is_no_path() {
        let long = "x".repeat(COMPONENT_BYTES_MAX + 1);
        let cases = [
            ("", PathError::Empty),
            ("a\0b", PathError::Control('\0')),
            ("a\nb", PathError::Control('\n')),
            ("a\u{85}b", PathError::Control('\u{85}')),
            ("\u{1b}[2J", PathError::Control('\u{1b}')),
            ("file:///etc/passwd", PathError::FileUrl("file:///etc/passwd".into())),
            ("FILE:x", PathError::FileUrl("FILE:x".into())),
            ("~root", PathError::OtherHome("~root".into())),
            ("~+/x", PathError::OtherHome("~+/x".into())),
            (long.as_str(), PathError::ComponentTooLong(long.clone())),
        ];
        for (given, want) in cases {
            assert_eq!(lexical(given, &abs("/w"), &abs("/h")), Err(want), "{given:?}");
        }
        assert_eq!(
            lexical(&"a/".repeat(2048), &abs("/w"), &abs("/h")),
            Err(PathError::TooLong { bytes: 4096 })
        );
        assert!(lexical(&"x".repeat(COMPONENT_BYTES_MAX), &abs("/w"), &abs("/h")).is_ok());
        assert_eq!(AbsPath::parse("a"), Err(PathError::NotAbsolute("a".into())));
    }

    struct Disk(BTreeMap<&'static str, LinkFact>);

    impl Links for Disk {
        fn read_link(&self, path: &AbsPath) -> LinkFact {
            self.0.get(path.as_str()).cloned().unwrap_or(LinkFact::Absent)
        }
    }

    fn disk() -> Disk {
        let link = |target: &str| LinkFact::Link(target.to_owned());
        Disk(BTreeMap::from([
            ("/w", LinkFact::Plain),
            ("/w/dir", LinkFact::Plain),
            ("/w/dir/f", LinkFact::Plain),
            ("/w/etc", link("/etc")),
            ("/w/up", link("dir/../..")),
            ("/w/rel", link("dir/f")),
            ("/w/chain", link("rel")),
            ("/w/self", link("self")),
            ("/w/ping", link("pong")),
            ("/w/pong", link("ping")),
            ("/w/dangling", link("/nowhere/x")),
            ("/w/slashes", link("//etc///passwd")),
            ("/w/nul", link("a\0b")),
            ("/w/void", link("")),
            ("/w/deep", link("/data/inner")),
            ("/w/locked", LinkFact::Plain),
            ("/w/locked/x", LinkFact::Unreadable),
            ("/etc", LinkFact::Plain),
            ("/etc/passwd", LinkFact::Plain),
            ("/data", LinkFact::Plain),
            ("/data/inner", LinkFact::Plain),
            ("/data/secret", LinkFact::Plain),
        ]))
    }

    #[test]
    fn links_are_followed_as_the_kernel_does() {
        // given, lexical, entry, real, exists
        for (given, lexical, entry, real, exists) in [
            ("dir/f", "/w/dir/f", "/w/dir/f", "/w/dir/f", true),
            ("new", "/w/new", "/w/new", "/w/new", false),
            ("new/er/f", "/w/new/er/f", "/w/new/er/f", "/w/new/er/f", false),
            ("etc", "/w/etc", "/w/etc", "/etc", true),
            ("etc/", "/w/etc", "/etc", "/etc", true),
            ("etc/.", "/w/etc", "/etc", "/etc", true),
            ("etc/passwd", "/w/etc/passwd", "/etc/passwd", "/etc/passwd", true),
            ("rel", "/w/rel", "/w/rel", "/w/dir/f", true),
            ("chain", "/w/chain", "/w/chain", "/w/dir/f", true),
            ("dangling", "/w/dangling", "/w/dangling", "/nowhere/x", false),
            ("slashes", "/w/slashes", "/w/slashes", "/etc/passwd", true),
            ("up", "/w/up", "/w/up", "/", true),
            // The attack: lexically inside /w, really in /data.
            ("deep/../secret", "/w/secret", "/data/secret", "/data/secret", true),
            ("etc/../dir", "/w/dir", "/dir", "/dir", false),
            ("dir/../dir/f", "/w/dir/f", "/w/dir/f", "/w/dir/f", true),
        ] {
            let got = resolve(given, &abs("/w"), &abs("/home"), &disk()).unwrap();
            let want = Resolved {
                given: given.into(),
                lexical: abs(lexical),
                entry: abs(entry),
                real: abs(real),
                exists,
            };
            assert_eq!(got, want, "{given}");
        }
    }

    #[test]
    fn what_cannot_be_followed() {
        for (given, want) in [
            ("self", PathError::LinkLoop(abs("/w/self"))),
            ("ping/x", PathError::LinkLoop(abs("/w/ping"))),
            ("nul", PathError::BadLink(abs("/w/nul"))),
            ("void", PathError::BadLink(abs("/w/void"))),
            ("locked/x", PathError::Unreadable(abs("/w/locked/x"))),
            ("none/../dir", PathError::ParentOfAbsent(abs("/w/none"))),
            ("dangling/../x", PathError::ParentOfAbsent(abs("/nowhere"))),
        ] {
            assert_eq!(resolve(given, &abs("/w"), &abs("/h"), &disk()), Err(want), "{given}");
        }
    }

    #[test]
    fn forty_links_pass_and_forty_one_do_not() {
        struct Chain(usize);
        impl Links for Chain {
            fn read_link(&self, path: &AbsPath) -> LinkFact {
                match path.as_str().strip_prefix("/l").and_then(|n| n.parse::<usize>().ok()) {
                    Some(n) if n < self.0 => LinkFact::Link(format!("l{}", n + 1)),
                    _ => LinkFact::Plain,
                }
            }
        }
        let root = AbsPath::root();
        assert_eq!(resolve("l0", &root, &root, &Chain(40)).map(|r| r.real), Ok(abs("/l40")));
        assert_eq!(resolve("l0", &root, &root, &Chain(41)), Err(PathError::LinkLoop(abs("/l40"))));
    }

    #[test]
    fn zones_by_component_most_protective_first() {
        let zones = Zones {
            workspace: abs("/home/u/work"),
            home: abs("/home/u"),
            temp: vec![abs("/tmp"), abs("/var/tmp")],
            gate: vec![abs("/home/u/work/.bailiwick"), abs("/run/caf\u{e9}")],
        };
        for (path, want) in [
            ("/home/u/work", Zone::Workspace),
            ("/home/u/work/a", Zone::Workspace),
            ("/home/u/work2/a", Zone::Home),
            ("/home/u/Work/a", Zone::Home),
            ("/home/u", Zone::Home),
            ("/home/u2", Zone::System),
            ("/home", Zone::System),
            ("/tmp/x", Zone::Temp),
            ("/tmpx", Zone::System),
            ("/", Zone::System),
            ("/home/u/work/.bailiwick", Zone::Gate),
            ("/home/u/work/.bailiwick/policy/a", Zone::Gate),
            ("/home/u/work/.bailiwick2", Zone::Workspace),
            ("/home/u/work/.BAILIWICK/x", Zone::Gate),
            ("/home/u/work/.bai\u{200c}liwick/x", Zone::Gate),
            ("/home/u/work/.bailiwic\u{212a}/x", Zone::Gate),
            ("/HOME/U/WORK/.bailiwick", Zone::Gate),
            ("/run/caf\u{e9}", Zone::Gate),
            ("/run/cafe\u{301}/s", Zone::Gate),
            ("/run/cafe", Zone::System),
        ] {
            assert_eq!(zones.zone(&abs(path)), want, "{path}");
        }
        let among = Zones {
            home: abs("/tmp/u"),
            temp: vec![abs("/tmp"), abs("/tmp/u/tmp")],
            workspace: abs("/tmp/u/work"),
            gate: vec![],
        };
        for (path, want) in [
            ("/tmp/u/.ssh/k", Zone::Home),
            ("/tmp/u2", Zone::Temp),
            ("/tmp/u/tmp/x", Zone::Temp),
            ("/tmp/u/work/a", Zone::Workspace),
        ] {
            assert_eq!(among.zone(&abs(path)), want, "{path}");
        }
        for (path, want) in
            [("/home/u", true), ("/Home", true), ("/home/u/work", true), ("/", true), ("/tmp", false)]
        {
            assert_eq!(zones.encloses_gate(&abs(path)), want, "{path}");
        }
    }

    #[test]
    fn confusable_names_are_told() {
        for (path, want) in [
            ("/a/b.txt", false),
            ("/caf\u{e9}", false),
            ("/cafe\u{301}", true),
            ("/\u{43f}\u{440}\u{438}\u{432}\u{435}\u{442}", false),
            ("/p\u{430}ss", true),
            ("/a\u{200b}b", true),
            ("/a\u{202e}gpj.exe", true),
            ("/a\u{2215}b", true),
            ("/\u{ff0e}\u{ff0e}", true),
            ("/\u{65e5}\u{672c}", false),
        ] {
            assert_eq!(abs(path).confusable(), want, "{path:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn lexical_is_normal_and_stable(given in "[a-z~./\\\\:é\u{301} ]{0,40}") {
            let (cwd, home) = (abs("/w/p"), abs("/h"));
            if let Ok(path) = lexical(&given, &cwd, &home) {
                proptest::prop_assert!(path.as_str().starts_with('/'));
                proptest::prop_assert!(path.components().all(|c| c != "." && c != ".."));
                proptest::prop_assert!(path.as_str() == "/" || !path.as_str().ends_with('/'));
                proptest::prop_assert_eq!(lexical(path.as_str(), &cwd, &home), Ok(path));
            }
        }

        #[test]
        fn without_links_real_is_lexical(given in "[a-c./]{1,30}") {
            struct Plain;
            impl Links for Plain {
                fn read_link(&self, _: &AbsPath) -> LinkFact { LinkFact::Plain }
            }
            let (cwd, home) = (abs("/w/p"), abs("/h"));
            let got = resolve(&given, &cwd, &home, &Plain).unwrap();
            proptest::prop_assert_eq!(got.real, got.lexical);
        }
    }
}
