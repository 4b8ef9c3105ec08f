//! Reads Markdown truth tables of calls and decisions, so that documentation, tests and policy examples are one file.
//! A page says what should happen; what does happen is asked of the judge, and nothing here decides.
//!
//! A table whose header starts with `call` and `decision` holds cases; every other line is prose:
//!
//! ```text
//! | call                                     | decision | because  | phase | user         |
//! |------------------------------------------|----------|----------|-------|--------------|
//! | `desk/refund_create {"amount_cents":50}` | allow    | small    |       |              |
//! | `desk/refund_create {"amount_cents":51}` | ask      |          | work  | ann (agents) |
//! ```
//!
//! `because` must stand in the explanation. Further columns set the scene, and an empty cell leaves it as the reader of the
//! page has it: `phase`, `user` (`ann` or `ann (group, group)`), `agent`, `minute` (calls in the last 60 seconds) and
//! `time` (`Mon 14:05`, UTC), `said` (the user's words), `known` (what is configured, separated by spaces), `read` (what a tool
//! answered before the call, as `server/tool: TEXT`). Fenced blocks tagged `cedar` and `json tools` give a page its own policies and tools.

use crate::flow::{Flow, Known, Provenance, Read};
use crate::policy::{Decision, Policy, Source};
use crate::request::tree::Tree;
use crate::request::{Facts, Principal, RawCall, normalize};
use crate::shape::{Kind, Shape};
use crate::tool::{Effect, Impact, Inventory, Tool, ToolName};
use serde::Deserialize;
use std::collections::BTreeMap;

/// One row: a call and what must happen to it.
#[derive(Clone, Debug)]
pub struct Case {
    /// Line in the file, from 1.
    pub line: usize,
    /// What is called.
    pub name: ToolName,
    /// With which arguments; `Null` where the JSON is refused, and `because` says why.
    pub arguments: Tree,
    /// The decision it must get.
    pub decision: Decision,
    /// Text that the explanation must contain; may be empty.
    pub because: String,
    /// What this row says of the circumstances.
    pub scene: Scene,
    /// Why the arguments are not usable JSON, where the row is about that.
    refused: Option<String>,
}

/// Circumstances that a row names; `None` leaves them to whoever runs the page.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scene {
    /// The phase in force.
    pub phase: Option<String>,
    /// The user and its groups.
    pub user: Option<(String, Vec<String>)>,
    /// The agent.
    pub agent: Option<String>,
    /// Calls in the last 60 seconds.
    pub calls_last_minute: Option<i64>,
    /// Seconds since 1970.
    pub now: Option<i64>,
    /// The user's words.
    pub said: Option<String>,
    /// What the operator configured as known.
    pub known: Option<String>,
    /// A tool, and what it answered before the call.
    pub read: Option<(ToolName, String)>,
}

/// A fenced block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// Line of its first content, from 1.
    pub line: usize,
    /// Its content.
    pub text: String,
}

/// A parsed page.
#[derive(Clone, Debug, Default)]
pub struct CaseFile {
    /// The `cedar` blocks, in order.
    pub policies: Vec<Block>,
    /// The `json tools` blocks, in order.
    pub tools: Vec<Block>,
    /// The cases, in order.
    pub cases: Vec<Case>,
}

/// A part of a page that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum CaseError {
    /// A row of a case table.
    #[error("line {line}: {why}; write | `server/tool {{json}}` | allow, ask or deny | text |")]
    Row {
        /// Line in the file, from 1.
        line: usize,
        /// What is wrong.
        why: String,
    },
    /// A column of a case table.
    #[error("line {line}: no case has a column `{column}`; the columns are call, decision, because, {}", COLUMNS.join(", "))]
    Column {
        /// Line in the file, from 1.
        line: usize,
        /// Its header.
        column: String,
    },
    /// A `json tools` block.
    #[error(
        "line {line}: {why}; write a JSON array of \
         {{\"server\", \"name\", \"effect\", \"reversible\", \"impact\", \"kinds\", \"inputSchema\"}}"
    )]
    Tools {
        /// Line in the file, from 1.
        line: usize,
        /// What is wrong.
        why: String,
    },
}

/// A case that does not hold.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{line}: `{name}` should be {wanted}{}, is {got}: {why}", reason(.because))]
pub struct Broken {
    /// Line in the file, from 1.
    pub line: usize,
    /// What is called.
    pub name: ToolName,
    /// What the page says.
    pub wanted: Decision,
    /// What the explanation should contain.
    pub because: String,
    /// What the judge says.
    pub got: Decision,
    /// The judge's explanation.
    pub why: String,
}

fn reason(text: &str) -> String {
    if text.is_empty() { String::new() } else { format!(" because of `{text}`") }
}

/// The columns that set the scene.
const COLUMNS: [&str; 8] = ["phase", "user", "agent", "minute", "time", "said", "known", "read"];

impl CaseFile {
    /// Reads a Markdown file.
    ///
    /// # Errors
    /// The first row of a case table that is not a call and a decision, or whose scene cannot be read.
    pub fn parse(text: &str) -> Result<Self, CaseError> {
        let mut file = Self::default();
        let mut lines = text.lines().enumerate();
        let mut columns: Option<Vec<String>> = None;
        while let Some((index, line)) = lines.next() {
            let trimmed = line.trim();
            if let Some(tag) = trimmed.strip_prefix("```") {
                let content: Vec<&str> =
                    lines.by_ref().map(|(_, line)| line).take_while(|line| line.trim() != "```").collect();
                let block = Block { line: index + 2, text: content.join("\n") };
                match tag.trim() {
                    "cedar" => file.policies.push(block),
                    "json tools" => file.tools.push(block),
                    _ => {}
                }
                columns = None;
                continue;
            }
            if !trimmed.starts_with('|') || line.starts_with("    ") {
                columns = None;
                continue;
            }
            let cells = cells(trimmed);
            match &columns {
                None => columns = Some(header(index + 1, cells)?),
                // A table of something else.
                Some(columns) if columns.is_empty() => {}
                Some(_) if cells.iter().all(|cell| cell.chars().all(|c| matches!(c, '-' | ':'))) => {}
                Some(columns) => file.cases.push(case(index + 1, columns, &cells)?),
            }
        }
        Ok(file)
    }

    /// The page's policies as one source called `name`, each line where it stands in the page.
    pub fn source(&self, name: &str) -> Source {
        let mut text = String::new();
        let mut line = 1;
        for block in &self.policies {
            text.push_str(&"\n".repeat(block.line.saturating_sub(line)));
            text.push_str(&block.text);
            line = block.line + block.text.matches('\n').count();
        }
        Source { name: name.to_owned(), text }
    }

    /// The tools of the page's `json tools` blocks.
    ///
    /// # Errors
    /// A block that is not an array of tools.
    pub fn inventory(&self) -> Result<Inventory, CaseError> {
        let mut tools = Vec::new();
        for Block { line, text } in &self.tools {
            let listed: Vec<Listed> = serde_json::from_str(text).map_err(|error| CaseError::Tools {
                line: line + error.line().saturating_sub(1),
                why: error.to_string(),
            })?;
            for tool in listed {
                let tool = tool.reviewed().map_err(|why| CaseError::Tools { line: *line, why })?;
                tools.push(tool);
            }
        }
        Ok(Inventory::new(tools))
    }
}

impl Scene {
    /// The conversation that the row describes, where it describes one.
    fn provenance(&self, inventory: &Inventory) -> Option<Provenance> {
        let Self { said, known, read, .. } = self;
        if said.is_none() && known.is_none() && read.is_none() {
            return None;
        }
        let known = known.as_deref().map(|text| Known::new(text.split_whitespace()).unwrap_or_default());
        let mut provenance = Provenance::new(known.unwrap_or_default().into());
        if let Some(said) = said {
            provenance.hear(said);
        }
        if let Some((name, answer)) = read {
            provenance.read(name, inventory.tool(name), &[Read::Text(answer.clone())]);
        }
        Some(provenance)
    }
}

impl Case {
    /// Puts the case before the judge, as `principal` and with `facts` except for what the row itself says.
    ///
    /// # Errors
    /// [`Broken`] when the decision is another, or its explanation does not contain the row's reason.
    pub fn check(
        &self,
        inventory: &Inventory,
        policy: &Policy,
        mut principal: Principal,
        facts: Facts<'_>,
    ) -> Result<(), Broken> {
        let Scene { phase, user, agent, calls_last_minute, now, .. } = &self.scene;
        let provenance = self.scene.provenance(inventory);
        let facts = Facts {
            provenance: provenance.as_ref().unwrap_or(facts.provenance),
            phase: phase.as_deref().unwrap_or(facts.phase),
            calls_last_minute: calls_last_minute.unwrap_or(facts.calls_last_minute),
            now: now.unwrap_or(facts.now),
            ..facts
        };
        if let Some((user, groups)) = user {
            principal.user.clone_from(user);
            principal.groups.clone_from(groups);
        }
        if let Some(agent) = agent {
            principal.agent.clone_from(agent);
        }
        let raw = RawCall {
            principal,
            name: self.name.clone(),
            arguments: self.arguments.clone(),
            beside: Tree::Null,
        };
        let (got, why) = match (&self.refused, normalize(raw, inventory, &facts)) {
            (Some(why), _) => (Decision::Deny, why.clone()),
            (None, Err(malformed)) => (Decision::Deny, malformed.to_string()),
            (None, Ok(request)) => {
                let verdict = policy.explained(&request, policy.decide(&request));
                (verdict.decision(), verdict.to_string())
            }
        };
        if got == self.decision && why.contains(&self.because) {
            return Ok(());
        }
        Err(Broken {
            line: self.line,
            name: self.name.clone(),
            wanted: self.decision,
            because: self.because.clone(),
            got,
            why,
        })
    }
}

/// The columns of a table after its header; none when it holds no cases.
fn header(line: usize, cells: Vec<String>) -> Result<Vec<String>, CaseError> {
    if cells.first().is_none_or(|cell| cell != "call") || cells.get(1).is_none_or(|cell| cell != "decision") {
        return Ok(Vec::new());
    }
    match cells.iter().skip(2).find(|cell| *cell != "because" && !COLUMNS.contains(&cell.as_str())) {
        Some(column) => Err(CaseError::Column { line, column: column.clone() }),
        None => Ok(cells),
    }
}

/// The cells of a row; a `|` inside backticks or after a backslash belongs to its cell.
fn cells(row: &str) -> Vec<String> {
    let mut cells = vec![String::new()];
    let (mut quoted, mut escaped) = (false, false);
    for c in row.trim_matches('|').chars() {
        match c {
            '|' if escaped => {
                let cell = cells.last_mut().expect("there is always a cell");
                cell.pop();
                cell.push('|');
            }
            '|' if !quoted => cells.push(String::new()),
            c => {
                quoted ^= c == '`';
                cells.last_mut().expect("there is always a cell").push(c);
            }
        }
        escaped = c == '\\';
    }
    cells.into_iter().map(|cell| cell.trim().to_owned()).collect()
}

fn case(line: usize, columns: &[String], cells: &[String]) -> Result<Case, CaseError> {
    let wrong = |why: String| CaseError::Row { line, why };
    let cell = |column: &str| {
        let at = columns.iter().position(|name| name == column)?;
        cells.get(at).map(|cell| cell.trim_matches('`').trim()).filter(|cell| !cell.is_empty())
    };
    if cells.len() > columns.len() {
        return Err(wrong("the row has more cells than its table has columns".to_owned()));
    }
    let call = cell("call").unwrap_or_default();
    let (name, arguments) = call.split_once(' ').unwrap_or((call, "{}"));
    let (server, tool) =
        name.split_once('/').ok_or_else(|| wrong("the call names no `server/tool`".to_owned()))?;
    let decision = match cell("decision") {
        Some("allow") => Decision::Allow,
        Some("ask") => Decision::Ask,
        Some("deny") => Decision::Deny,
        _ => return Err(wrong("the decision is not allow, ask or deny".to_owned())),
    };
    // Kept with its back quotes: explanations have them too.
    let because = columns.iter().position(|name| name == "because").and_then(|at| cells.get(at)).cloned();
    let because = because.unwrap_or_default();
    let (arguments, refused) = match Tree::parse(arguments.as_bytes()) {
        Ok(tree) => (tree, None),
        // A row may be about JSON that is refused, but then it must say why, or every typing error would hold.
        Err(error) => {
            let why = error.to_string();
            if decision != Decision::Deny || because.is_empty() || !why.contains(&because) {
                return Err(wrong(why));
            }
            (Tree::Null, Some(why))
        }
    };
    let scene = Scene {
        phase: cell("phase").map(str::to_owned),
        user: cell("user").map(user),
        agent: cell("agent").map(str::to_owned),
        calls_last_minute: match cell("minute") {
            None => None,
            Some(text) => {
                Some(text.parse().map_err(|_| wrong(format!("`{text}` is not a number of calls")))?)
            }
        },
        now: match cell("time") {
            None => None,
            Some(text) => {
                Some(time(text).ok_or_else(|| wrong(format!("`{text}` is not a time like `Mon 14:05`")))?)
            }
        },
        said: cell("said").map(str::to_owned),
        known: match cell("known") {
            None => None,
            Some(text) => {
                Known::new(text.split_whitespace()).map_err(wrong)?;
                Some(text.to_owned())
            }
        },
        read: match cell("read") {
            None => None,
            Some(text) => Some(read(text).ok_or_else(|| {
                wrong(format!("`{text}` is not what a tool answered, as `server/tool: TEXT`"))
            })?),
        },
    };
    let name = ToolName { server: server.into(), tool: tool.into() };
    Ok(Case { line, name, arguments, decision, because, scene, refused })
}

/// `ann` or `ann (group, group)`.
fn user(text: &str) -> (String, Vec<String>) {
    match text.strip_suffix(')').and_then(|text| text.split_once('(')) {
        Some((user, groups)) => {
            (user.trim().to_owned(), groups.split(',').map(|group| group.trim().to_owned()).collect())
        }
        None => (text.to_owned(), Vec::new()),
    }
}

/// `server/tool: TEXT`.
fn read(text: &str) -> Option<(ToolName, String)> {
    let (name, answer) = text.split_once(": ")?;
    let (server, tool) = name.split_once('/')?;
    Some((ToolName { server: server.to_owned(), tool: tool.to_owned() }, answer.trim().to_owned()))
}

/// `Mon 14:05` in the first full week of 1970, in seconds since 1970.
fn time(text: &str) -> Option<i64> {
    const FIRST_MONDAY: i64 = 4 * 86_400;
    let (day, clock) = text.split_once(' ')?;
    let (hours, minutes) = clock.split_once(':')?;
    let day = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"].iter().position(|name| *name == day)?;
    let hours: i64 = hours.parse().ok().filter(|hours| (0..24).contains(hours))?;
    let minutes: i64 = minutes.parse().ok().filter(|minutes| (0..60).contains(minutes))?;
    Some(FIRST_MONDAY + i64::try_from(day).ok()? * 86_400 + hours * 3_600 + minutes * 60)
}

/// One entry of a `json tools` block.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Listed {
    server: String,
    name: String,
    effect: ListedEffect,
    reversible: bool,
    impact: ListedImpact,
    #[serde(default)]
    kinds: BTreeMap<String, ListedKind>,
    #[serde(default)]
    flow: Option<serde_json::Value>,
    input_schema: serde_json::Value,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum ListedEffect {
    Read,
    Write,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum ListedImpact {
    Low,
    High,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum ListedKind {
    Plain,
    Path,
    Url,
    Host,
    Command,
}

impl Listed {
    fn reviewed(self) -> Result<Tool, String> {
        let kind = |kind| match kind {
            ListedKind::Plain => Kind::Plain,
            ListedKind::Path => Kind::Path,
            ListedKind::Url => Kind::Url,
            ListedKind::Host => Kind::Host,
            ListedKind::Command => Kind::Command,
        };
        let Listed { server, name, effect, reversible, impact, kinds, flow, input_schema } = self;
        let kinds = kinds.into_iter().map(|(path, word)| (path, kind(word))).collect();
        Ok(Tool {
            flow: flow.as_ref().map_or_else(|| Ok(Flow::default()), Flow::read)?,
            name: ToolName { server, tool: name },
            shape: Shape::of_schema(&input_schema, &kinds),
            effect: match effect {
                ListedEffect::Read => Effect::Read,
                ListedEffect::Write => Effect::Write,
            },
            reversible,
            impact: match impact {
                ListedImpact::Low => Impact::Low,
                ListedImpact::High => Impact::High,
            },
            digest: crate::digest::hex(input_schema.to_string().as_bytes()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_cases_and_prose_is_not() {
        let file = CaseFile::parse(
            "# T\n```cedar\npermit(principal, action, resource);\n```\n| a | b |\n|---|---|\n| x | y |\n\n\
             | call | decision | because |\n|---|---|---|\n| `s/t {\"a\":\"x|y\"}` | ask | big |\n| `s/u` | deny |\n",
        )
        .expect("a readable file");
        assert_eq!(file.policies.len(), 1);
        assert_eq!(file.cases.len(), 2);
        assert_eq!(file.cases[0].arguments.canonical(), r#"{"a":"x|y"}"#);
        assert_eq!((file.cases[0].decision, file.cases[0].because.as_str()), (Decision::Ask, "big"));
        assert_eq!(file.cases[1].name.tool, "u");
        for bad in ["| `st` | deny |", "| `s/t {` | deny |", "| `s/t` | maybe |", "| `s/t` | deny | |"] {
            assert!(CaseFile::parse(&format!("| call | decision |\n|---|---|\n{bad}\n")).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_row_may_set_the_scene_and_a_column_without_meaning_is_an_error() {
        let table = |columns: &str, row: &str| {
            CaseFile::parse(&format!("| call | decision | {columns} |\n| `s/t` | deny | {row} |\n"))
        };
        let scene =
            |columns: &str, row: &str| table(columns, row).expect("a readable row").cases[0].scene.clone();
        assert_eq!(
            scene("phase | minute", "draft | 30"),
            Scene { phase: Some("draft".into()), calls_last_minute: Some(30), ..Scene::default() }
        );
        assert_eq!(scene("user", "ann (a, b)").user, Some(("ann".into(), vec!["a".into(), "b".into()])));
        assert_eq!(scene("user", "ann").user, Some(("ann".into(), vec![])));
        assert_eq!(scene("user | phase", " | "), Scene::default());
        assert_eq!(scene("time", "Mon 00:00").now, Some(345_600));
        assert_eq!(scene("time", "Sun 23:59").now, Some(345_600 + 7 * 86_400 - 60));
        for (columns, row) in
            [("weather", "fine"), ("minute", "many"), ("time", "Mon 24:00"), ("time", "noon")]
        {
            assert!(table(columns, row).is_err(), "{columns}: {row}");
        }
    }

    #[test]
    fn refused_json_is_a_case_only_where_the_row_says_why() {
        let row =
            |row: &str| CaseFile::parse(&format!("| call | decision | because |\n|---|---|---|\n{row}\n"));
        assert!(row(r#"| `s/t {"a":9007199254740992}` | deny | past 2^53 |"#).is_ok());
        for bad in [
            r#"| `s/t {"a":9007199254740992}` | deny | |"#,
            r#"| `s/t {"a":9007199254740992}` | deny | twice |"#,
            r#"| `s/t {"a":9007199254740992}` | allow | past 2^53 |"#,
        ] {
            assert!(row(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn blocks_keep_their_lines() {
        let page = "# T\n\n```cedar\na\nb\n```\ntext\n```cedar\nc\n```\n```json tools\n[\n{}]\n```\n";
        let file = CaseFile::parse(page).expect("a readable file");
        assert_eq!(file.source("t.md").text, "\n\n\na\nb\n\n\n\nc");
        let error = file.inventory().expect_err("a tool without a name").to_string();
        assert!(error.starts_with("line 13: missing field"), "{error}");
    }
}
