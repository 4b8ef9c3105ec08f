//! Claude Code's file tools: which file a call reads or writes, and in which of its arguments text of that file stands. What was
//! taken out of a file goes back into that file, and nowhere else.

use crate::inventory::CLAUDE;
use judge::request::tree::Tree;
use judge::tool::ToolName;

/// A tool, the argument that names its file, and the arguments that are text of it.
const TOOLS: [(&str, &str, &[&str]); 7] = [
    ("Read", "file_path", &[]),
    ("Grep", "path", &[]),
    ("NotebookRead", "notebook_path", &[]),
    ("Write", "file_path", &["content"]),
    // What is replaced must come from the file as well: the client quotes it when it does not find it.
    ("Edit", "file_path", &["old_string", "new_string"]),
    ("MultiEdit", "file_path", &["edits"]),
    ("NotebookEdit", "notebook_path", &["new_source"]),
];

/// The file that a call reads or writes, as an origin of handles; nothing where it is about no single file.
pub(crate) fn origin(tool: &ToolName, arguments: &Tree) -> Option<String> {
    let (_, named, _) = known(tool)?;
    let path = arguments.member(named)?.as_text().filter(|path| path.starts_with('/'))?;
    // Two names of one file are one origin. A file that is not there yet has given nothing away.
    let real = std::fs::canonicalize(path).ok().filter(|real| real.is_file())?;
    Some(format!("file:{}", real.display()))
}

/// Whether `argument` is text of the file that the call is about.
pub(crate) fn is_text(tool: &ToolName, argument: &str) -> bool {
    known(tool).is_some_and(|(_, _, texts)| texts.contains(&argument))
}

/// Whether it writes files.
pub(crate) fn writes(tool: &ToolName) -> bool {
    known(tool).is_some_and(|(_, _, texts)| !texts.is_empty())
}

fn known(tool: &ToolName) -> Option<&'static (&'static str, &'static str, &'static [&'static str])> {
    TOOLS.iter().find(|(name, ..)| tool.server == CLAUDE && tool.tool == *name)
}
