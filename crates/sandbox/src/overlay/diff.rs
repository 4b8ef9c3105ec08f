//! A change as a person reads it: a unified diff for text, sizes for the rest, every deceiving character escaped.
//! It reads both sides within bounds and writes nothing but the text.

use super::changes::{Change, Kind};
use super::shown::{shown, shown_line};
use super::tree::{Entry, Node, Tree};
use super::{Overlay, OverlayError};
use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Length up to which a file is compared line by line, in bytes; beyond, only sizes are shown.
pub const DIFF_BYTES_MAX: u64 = 1 << 20;
/// Lines removed plus added up to which the shortest diff is searched; beyond, all removed lines come before all added.
pub const DIFF_EDITS_MAX: usize = 2_000;
/// Unchanged lines around a change.
const CONTEXT_LINES: usize = 3;

impl Overlay {
    /// Writes a change for reading: headers in the manner of `git diff`, then a unified diff where both sides are text.
    ///
    /// # Errors
    /// [`OverlayError::Io`] when a side cannot be read or `out` refuses.
    pub fn diff(&self, change: &Change, out: &mut impl Write) -> Result<(), OverlayError> {
        self.write_diff(change, out)
            .map_err(|source| OverlayError::io("show the change of", &change.path, source))
    }

    fn write_diff(&self, change: &Change, out: &mut impl Write) -> io::Result<()> {
        let name = shown(change.path.as_os_str().as_bytes());
        writeln!(out, "{} {name}", verb(change.kind))?;
        for risk in &change.risks {
            writeln!(out, "! it {}", risk.note())?;
        }
        if change.host_changed {
            writeln!(out, "! it was changed in the workspace, too, since the overlay began")?;
        }
        if let Some((old, new)) = change.mode_change() {
            writeln!(out, "mode {old:04o} -> {new:04o}")?;
        }
        if matches!(change.kind, Kind::Mode(_)) {
            return Ok(());
        }
        let (old, new) = (
            Side::read(&self.workspace, &change.path, change.before.as_ref())?,
            Side::read(&self.upper, &change.path, change.after.as_ref())?,
        );
        if let (Some(old), Some(new)) = (old.lines(), new.lines()) {
            writeln!(
                out,
                "--- {}",
                if old.is_empty() && change.before.is_none() { "nothing" } else { "workspace" }
            )?;
            writeln!(
                out,
                "+++ {}",
                if new.is_empty() && change.after.is_none() { "nothing" } else { "overlay" }
            )?;
            return unified(&old, &new, out);
        }
        for (sign, side) in [('-', &old), ('+', &new)] {
            match side {
                Side::Nothing => {}
                Side::Text(text) => writeln!(out, "{sign} file, {} bytes", text.len())?,
                Side::Link(target) => writeln!(out, "{sign} link to {}", shown(target))?,
                Side::Sizes(what, bytes) => writeln!(out, "{sign} {what}, {bytes} bytes")?,
                Side::Other(what) => writeln!(out, "{sign} {what}")?,
            }
        }
        Ok(())
    }
}

fn verb(kind: Kind) -> &'static str {
    match kind {
        Kind::Added(_) => "added",
        Kind::Modified => "modified",
        Kind::Deleted(_) => "deleted",
        Kind::Replaced { .. } => "replaced",
        Kind::Mode(_) => "mode of",
    }
}

enum Side {
    Nothing,
    Text(Vec<u8>),
    Link(Vec<u8>),
    Sizes(&'static str, u64),
    Other(&'static str),
}

impl Side {
    fn read(tree: &Tree, path: &Path, entry: Option<&Entry>) -> io::Result<Self> {
        let Some(entry) = entry else { return Ok(Self::Nothing) };
        match entry.node {
            Node::Folder => Ok(Self::Other("folder")),
            Node::Other => Ok(Self::Other("fifo, socket or device")),
            Node::Symlink => Ok(Self::Link(tree.target(path)?)),
            Node::File if entry.size_bytes > DIFF_BYTES_MAX => {
                Ok(Self::Sizes("large file", entry.size_bytes))
            }
            Node::File => {
                let mut text = Vec::new();
                match tree.file(path) {
                    Ok(file) => file.take(DIFF_BYTES_MAX + 1).read_to_end(&mut text)?,
                    // Its modes are not opened for a look: that would make another version of it.
                    Err(rustix::io::Errno::ACCESS) => {
                        return Ok(Self::Sizes("unreadable file", entry.size_bytes));
                    }
                    Err(other) => return Err(other.into()),
                };
                if text.len() as u64 > DIFF_BYTES_MAX || text.contains(&0) {
                    return Ok(Self::Sizes("binary file", entry.size_bytes));
                }
                Ok(Self::Text(text))
            }
        }
    }

    fn lines(&self) -> Option<Vec<&[u8]>> {
        match self {
            Self::Nothing => Some(Vec::new()),
            Self::Text(text) => Some(text.split_inclusive(|&byte| byte == b'\n').collect()),
            Self::Link(_) | Self::Sizes(..) | Self::Other(_) => None,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Edit {
    Keep,
    Remove,
    Add,
}

/// Hunks with context.
fn unified(old: &[&[u8]], new: &[&[u8]], out: &mut impl Write) -> io::Result<()> {
    let edits = edits(old, new);
    let (mut at, mut left, mut right) = (0, 0, 0);
    while let Some(next) = edits[at..].iter().position(|edit| *edit != Edit::Keep) {
        let lead = next.min(CONTEXT_LINES);
        let start = at + next - lead;
        (left, right) = (left + next - lead, right + next - lead);
        // The hunk ends where more unchanged lines follow than two contexts take.
        let (mut end, mut kept) = (start + lead, 0);
        while end < edits.len() && kept <= 2 * CONTEXT_LINES {
            kept = if edits[end] == Edit::Keep { kept + 1 } else { 0 };
            end += 1;
        }
        let end = end - kept.saturating_sub(CONTEXT_LINES);
        let hunk = &edits[start..end];
        let span = |side: Edit| hunk.iter().filter(|edit| **edit == Edit::Keep || **edit == side).count();
        let (removed, added) = (span(Edit::Remove), span(Edit::Add));
        let first = |line: usize, span: usize| if span == 0 { line } else { line + 1 };
        writeln!(out, "@@ -{},{removed} +{},{added} @@", first(left, removed), first(right, added))?;
        for edit in hunk {
            let (sign, line) = match edit {
                Edit::Keep => (' ', old[left]),
                Edit::Remove => ('-', old[left]),
                Edit::Add => ('+', new[right]),
            };
            left += usize::from(*edit != Edit::Add);
            right += usize::from(*edit != Edit::Remove);
            match line.strip_suffix(b"\n") {
                Some(line) => writeln!(out, "{sign}{}", shown_line(line))?,
                None => writeln!(out, "{sign}{}\n\\ no newline at the end", shown_line(line))?,
            }
        }
        at = end;
    }
    Ok(())
}

/// Turns `old` into `new`: Myers' greedy search (1986) between the common beginning and the common end.
fn edits(old: &[&[u8]], new: &[&[u8]]) -> Vec<Edit> {
    let head = old.iter().zip(new).take_while(|(a, b)| a == b).count();
    let (old_rest, new_rest) = (&old[head..], &new[head..]);
    let tail = old_rest.iter().rev().zip(new_rest.iter().rev()).take_while(|(a, b)| a == b).count();
    let (old_rest, new_rest) = (&old_rest[..old_rest.len() - tail], &new_rest[..new_rest.len() - tail]);

    // Lines as numbers: comparing is then one instruction, however long they are.
    let mut known = HashMap::new();
    let mut number = |lines: &[&[u8]]| -> Vec<usize> {
        let numbers = lines.iter().map(|line| {
            let fresh = known.len();
            *known.entry(line.to_vec()).or_insert(fresh)
        });
        numbers.collect()
    };
    let middle = shortest(&number(old_rest), &number(new_rest)).unwrap_or_else(|| {
        let mut all = vec![Edit::Remove; old_rest.len()];
        all.resize(old_rest.len() + new_rest.len(), Edit::Add);
        all
    });
    let mut edits = vec![Edit::Keep; head];
    edits.extend(middle);
    edits.resize(edits.len() + tail, Edit::Keep);
    edits
}

/// `None` when more than [`DIFF_EDITS_MAX`] edits are needed.
fn shortest(old: &[usize], new: &[usize]) -> Option<Vec<Edit>> {
    let (rows, columns) = (old.len(), new.len());
    // reach[i] after `d` edits: the furthest row on diagonal k = row - column, with k = 2 * i - d.
    let mut history: Vec<Vec<usize>> = Vec::new();
    // The furthest row before a snake, and whether the step there was a removal.
    let step = |last: &[usize], d: usize, i: usize| -> (usize, bool) {
        if d == 0 {
            return (0, false);
        }
        let removing = (i > 0).then(|| last[i - 1] + 1);
        let adding = last.get(i).copied();
        match (removing, adding) {
            (Some(removed), Some(added)) if removed > added => (removed, true),
            (_, Some(added)) => (added, false),
            (Some(removed), None) => (removed, true),
            (None, None) => (0, false),
        }
    };
    // A row's column, where both lie inside.
    let column = |row: usize, d: usize, i: usize| {
        (row + d).checked_sub(2 * i).filter(|c| *c <= columns && row <= rows)
    };
    for d in 0..=(rows + columns).min(DIFF_EDITS_MAX) {
        let last = history.last().map_or(&[][..], Vec::as_slice);
        let mut reach = Vec::with_capacity(d + 1);
        for i in 0..=d {
            let (mut row, _) = step(last, d, i);
            if let Some(mut column) = column(row, d, i) {
                while row < rows && column < columns && old[row] == new[column] {
                    (row, column) = (row + 1, column + 1);
                }
                if (row, column) == (rows, columns) {
                    return Some(backtrack(&history, d, i, row, step));
                }
            }
            reach.push(row);
        }
        history.push(reach);
    }
    None
}

fn backtrack(
    history: &[Vec<usize>],
    mut d: usize,
    mut i: usize,
    mut row: usize,
    step: impl Fn(&[usize], usize, usize) -> (usize, bool),
) -> Vec<Edit> {
    let mut edits = Vec::new();
    loop {
        let last = d.checked_sub(1).map_or(&[][..], |before| history[before].as_slice());
        let (start, is_removal) = step(last, d, i);
        edits.resize(edits.len() + row - start, Edit::Keep);
        if d == 0 {
            edits.reverse();
            return edits;
        }
        edits.push(if is_removal { Edit::Remove } else { Edit::Add });
        (row, i) = if is_removal { (start - 1, i - 1) } else { (start, i) };
        d -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn text(old: &str, new: &str) -> String {
        let mut out = Vec::new();
        let lines = |text: &'static str| -> Vec<&'static [u8]> {
            text.as_bytes().split_inclusive(|&byte| byte == b'\n').collect()
        };
        let (old, new) = (old.to_owned().leak(), new.to_owned().leak());
        unified(&lines(old), &lines(new), &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn hunks() {
        for (old, new, expected) in [
            ("a\n", "a\n", ""),
            ("", "a\n", "@@ -0,0 +1,1 @@\n+a\n"),
            ("a\n", "", "@@ -1,1 +0,0 @@\n-a\n"),
            ("a\nb\nc\n", "a\nx\nc\n", "@@ -1,3 +1,3 @@\n a\n-b\n+x\n c\n"),
            ("a", "a\n", "@@ -1,1 +1,1 @@\n-a\n\\ no newline at the end\n+a\n"),
            ("1\n2\n3\n4\n5\n", "1\n2\n3\n4\n5\n6\n", "@@ -3,3 +3,4 @@\n 3\n 4\n 5\n+6\n"),
            (
                "1\n2\n3\n4\n5\n6\n7\n8\n9\n",
                "x\n2\n3\n4\n5\n6\n7\n8\ny\n",
                "@@ -1,4 +1,4 @@\n-1\n+x\n 2\n 3\n 4\n@@ -6,4 +6,4 @@\n 6\n 7\n 8\n-9\n+y\n",
            ),
            ("a\n", "\u{1b}[2Ja\n", "@@ -1,1 +1,1 @@\n-a\n+\\x1b[2Ja\n"),
        ] {
            assert_eq!(text(old, new), expected, "{old:?} {new:?}");
        }
    }

    #[test]
    fn beyond_the_bound_it_still_replaces() {
        let lines: Vec<String> = (0..2 * DIFF_EDITS_MAX).map(|line| format!("{line}\n")).collect();
        let old: Vec<&[u8]> = lines[..DIFF_EDITS_MAX].iter().map(String::as_bytes).collect();
        let new: Vec<&[u8]> = lines[DIFF_EDITS_MAX..].iter().map(String::as_bytes).collect();
        assert_eq!(replayed(&old, &new), new);
    }

    fn replayed<'a>(old: &[&'a [u8]], new: &[&'a [u8]]) -> Vec<&'a [u8]> {
        let (mut left, mut right) = (old.iter(), new.iter());
        let mut result = Vec::new();
        for edit in edits(old, new) {
            match edit {
                Edit::Keep => {
                    let line = left.next().unwrap();
                    assert_eq!(Some(line), right.next());
                    result.push(*line);
                }
                Edit::Remove => drop(left.next().unwrap()),
                Edit::Add => result.push(*right.next().unwrap()),
            }
        }
        assert!(left.next().is_none());
        result
    }

    /// Length of the shortest edit script, by the textbook table.
    fn distance(old: &[&[u8]], new: &[&[u8]]) -> usize {
        let mut common = vec![vec![0; new.len() + 1]; old.len() + 1];
        for (i, a) in old.iter().enumerate() {
            for (j, b) in new.iter().enumerate() {
                common[i + 1][j + 1] =
                    if a == b { common[i][j] + 1 } else { common[i][j + 1].max(common[i + 1][j]) };
            }
        }
        old.len() + new.len() - 2 * common[old.len()][new.len()]
    }

    proptest! {
        #[test]
        fn edits_turn_old_into_new_by_the_shortest_way(
            old in proptest::collection::vec(0_u8..4, 0..24),
            new in proptest::collection::vec(0_u8..4, 0..24),
        ) {
            let lines = |of: &'static [u8]| -> Vec<&'static [u8]> { of.chunks(1).collect() };
            let (old, new) = (lines(old.leak()), lines(new.leak()));
            prop_assert_eq!(replayed(&old, &new), new.clone());
            let count = edits(&old, &new).iter().filter(|edit| **edit != Edit::Keep).count();
            prop_assert_eq!(count, distance(&old, &new));
        }
    }
}
