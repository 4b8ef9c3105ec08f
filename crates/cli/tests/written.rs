//! Files that an agent reads, edits and writes with its client's own tools while the gate takes secrets out of what it sees. The
//! client is played by this test, its disk and the gate are real; what a file must hold is worked out here, by another way.

mod common;

use common::{Gate, Project};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

const POLICY: &str = "permit (principal, action, resource);";
/// A handle of nobody's, as a manual would quote it.
const QUOTED: &str = "BW-email-aaaaaaaaaaaa-WB";

fn project(more: &str) -> Project {
    let project = Project::bare();
    let init = project.run(&["init", "--yes", "--write-project"]);
    assert_eq!(init.code, 0, "{init:?}");
    project.only_policy(POLICY);
    let config = project.config().join("bailiwick.toml");
    let text = std::fs::read_to_string(&config).expect("a configuration");
    let filter = "\n[filter]\npersonal = [\"email\"]\nsecrets = \"possible\"\n[shell]\nenabled = false\n";
    std::fs::write(&config, text + filter + more).expect("the configuration");
    project
}

/// The client: its tools do what the real ones do, in their order, and every event goes to the gate.
struct Client {
    socket: PathBuf,
    cwd: PathBuf,
    calls: usize,
    /// Whether Edit looks for its text before the gate is asked, as the measured client does.
    looks_first: bool,
}

/// How a call ended.
#[derive(Debug)]
enum Ended {
    /// It ran; what the model sees of it.
    Ran(Value),
    /// The gate said no, and why.
    Refused(String),
    /// The tool itself failed.
    Failed,
}

impl Client {
    fn event(&self, name: &str, more: Value) -> Value {
        let mut event = json!({ "hook_event_name": name, "session_id": "0ff1ce", "cwd": self.cwd });
        event.as_object_mut().expect("members").extend(more.as_object().expect("members").clone());
        let mut stream = UnixStream::connect(&self.socket).expect("a gate");
        writeln!(stream, "{}", json!({ "hook": { "event": event } })).expect("it reads");
        let mut line = String::new();
        BufReader::new(stream).read_line(&mut line).expect("it answers");
        serde_json::from_str(&line).expect("JSON")
    }

    fn call(&mut self, tool: &str, input: Value) -> Ended {
        let text = |input: &Value, name: &str| input[name].as_str().unwrap_or_default().to_owned();
        self.calls += 1;
        let path = PathBuf::from(text(&input, "file_path"));
        let before = std::fs::read_to_string(&path).unwrap_or_default();
        if tool == "Edit" && self.looks_first && !before.contains(&text(&input, "old_string")) {
            return Ended::Failed;
        }
        let more =
            json!({ "tool_name": tool, "tool_use_id": format!("t{}", self.calls), "tool_input": input });
        let answer = self.event("PreToolUse", more.clone());
        let answer = &answer["hookSpecificOutput"];
        if answer["permissionDecision"] != "allow" {
            return Ended::Refused(text(answer, "permissionDecisionReason"));
        }
        let mut more = more;
        if !answer["updatedInput"].is_null() {
            more["tool_input"] = answer["updatedInput"].clone();
        }
        let input = &more["tool_input"];
        let response = match tool {
            "Read" => {
                json!({ "type": "text", "file": { "filePath": path, "content": before, "numLines": 1 } })
            }
            "Edit" => {
                let (old, new) = (text(input, "old_string"), text(input, "new_string"));
                if old.is_empty() || before.matches(&old).count() != 1 {
                    more["error"] = json!(format!("String to replace not found: {old}"));
                    self.event("PostToolUseFailure", more);
                    return Ended::Failed;
                }
                std::fs::write(&path, before.replacen(&old, &new, 1)).expect("a file");
                json!({ "filePath": path, "oldString": old, "newString": new, "originalFile": before })
            }
            _ => {
                std::fs::write(&path, text(input, "content")).expect("a file");
                json!({ "type": "update", "filePath": path, "content": input["content"], "originalFile": before })
            }
        };
        more["tool_response"] = response.clone();
        let answer = self.event("PostToolUse", more);
        assert_ne!(answer["continue"], false, "{answer}");
        let instead = &answer["hookSpecificOutput"]["updatedToolOutput"];
        Ended::Ran(if instead.is_null() { response } else { instead.clone() })
    }

    fn read(&mut self, path: &Path) -> String {
        match self.call("Read", json!({ "file_path": path })) {
            Ended::Ran(shown) => shown["file"]["content"].as_str().expect("a text").to_owned(),
            other => panic!("{}: {other:?}", path.display()),
        }
    }
}

/// Numbers that look random and are the same each time.
struct Dice(u64);

impl Dice {
    fn below(&mut self, most: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) as usize) % most
    }

    fn text(&mut self, alphabet: &[u8], length: usize) -> String {
        (0..length).map(|_| char::from(alphabet[self.below(alphabet.len())])).collect()
    }
}

const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

fn secret(dice: &mut Dice) -> String {
    match dice.below(5) {
        0 => format!("gh{}{}", "p_", dice.text(LETTERS, 36)),
        1 => format!("{}.{}@mail.example.org", dice.text(b"abcdefghij", 6), dice.text(b"klmnopqr", 5)),
        2 => format!(
            "-----BEGIN {} KEY-----\n{}\n{}\n-----END {0} KEY-----",
            "PRIVATE",
            dice.text(LETTERS, 64),
            dice.text(LETTERS, 64)
        ),
        3 => format!("sk{}{}", "_live_", dice.text(LETTERS, 24)),
        _ => format!("AK{}{}", "IA", dice.text(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", 16)),
    }
}

/// A file of numbered lines, some with a secret. Between two secrets there is always a text of its own.
fn file(dice: &mut Dice, number: usize, shared: &str) -> String {
    let end = if dice.below(3) == 0 { "\r\n" } else { "\n" };
    let mut text = String::new();
    for line in 0..3 + dice.below(9) {
        let secret = if dice.below(4) == 0 { shared.to_owned() } else { secret(dice) };
        let line = format!("n{number}.{line}");
        text += &match dice.below(7) {
            0 => format!("# {line} ünïcode \"quoted\" \\ and\ttabs"),
            1 => format!("{line}: plain"),
            2 => format!("{line} key = {secret} # {line}"),
            3 => format!("{{\"{line}\": \"{secret}\"}}"),
            4 => format!("{line} <{secret}>"),
            5 => format!("{line} quotes {QUOTED} in a manual"),
            _ => format!("export {line}='{secret}'; # 日本"),
        };
        text += end;
    }
    text
}

/// The handles in a text.
fn handles(text: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some(start) = rest.find("BW-") {
        let Some(length) = rest[start..].find("-WB") else { break };
        found.push(&rest[start..start + length + 3]);
        rest = &rest[start + length + 3..];
    }
    found
}

/// What each handle of a view stands for, by laying the view over the file.
fn laid(view: &str, file: &str, known: &mut BTreeMap<String, String>) {
    let (mut seen, mut real) = (view, file);
    for handle in handles(view).into_iter().filter(|handle| *handle != QUOTED) {
        let (before, after) = seen.split_once(handle).expect("it is there");
        real = real
            .strip_prefix(before)
            .unwrap_or_else(|| panic!("a view differs outside of its handles: {before:?} {real:?}"));
        let next = handles(after).into_iter().find(|handle| *handle != QUOTED);
        let until = next.map_or(after, |next| after.split_once(next).expect("it is there").0);
        let again = known.get(handle).filter(|value| real.starts_with(value.as_str())).map(String::len);
        let length = if again.is_some() {
            again
        } else if next.is_none() {
            real.strip_suffix(until).map(str::len)
        } else {
            real.find(until)
        };
        let (value, rest) = real.split_at(length.unwrap_or_else(|| panic!("{until:?} is not in {real:?}")));
        let before = known.insert(handle.to_owned(), value.to_owned());
        assert!(
            before.as_deref().is_none_or(|before| before == value),
            "{handle}: {before:?} and {value:?}\n{view}\n{file}"
        );
        (seen, real) = (after, rest);
    }
    assert_eq!(seen, real, "a view differs outside of its handles");
}

fn real(text: &str, known: &BTreeMap<String, String>) -> String {
    known.iter().fold(text.to_owned(), |text, (handle, value)| text.replace(handle, value))
}

#[test]
fn no_file_is_ever_saved_with_a_handle_where_its_text_was() {
    let project = project("");
    let _gate = Gate::start(&project);
    let folder = project.path();
    let mut client = Client {
        socket: project.state().join("gate.sock"),
        cwd: folder.clone(),
        calls: 0,
        looks_first: true,
    };
    let (mut saved, mut refused, mut failed) = (0, 0, 0);
    for seed in 0..30 {
        let mut dice = Dice(seed);
        client.looks_first = seed % 3 != 0;
        let shared = secret(&mut dice);
        let paths: Vec<PathBuf> = (0..3).map(|number| folder.join(format!("f{seed}-{number}.txt"))).collect();
        let mut views: Vec<(String, BTreeMap<String, String>)> = Vec::new();
        for (number, path) in paths.iter().enumerate() {
            std::fs::write(path, file(&mut dice, number, &shared)).expect("a file");
            views.push((String::new(), BTreeMap::new()));
        }
        for _ in 0..24 {
            let at = dice.below(3);
            let path = &paths[at];
            let before = std::fs::read_to_string(path).expect("a file");
            let view = client.read(path);
            let (_, known) = &mut views[at];
            laid(&view, &before, known);
            for value in known.values() {
                assert!(!view.contains(value.as_str()), "{value} in {view}");
            }
            views[at].0.clone_from(&view);
            // What the model makes of what it saw.
            let lines: Vec<&str> = view.split_inclusive('\n').collect();
            let from = dice.below(lines.len());
            let to = (from + 1 + dice.below(3)).min(lines.len());
            let old = lines[from..to].concat();
            let elsewhere = views[dice.below(3)].0.clone();
            let new = match dice.below(8) {
                0 => format!("{old}# added\n"),
                1 => old.replace(':', " ="),
                2 => lines[from..to].iter().rev().copied().collect(),
                3 => handles(&old).first().map_or(String::new(), |handle| old.replace(handle, "removed")),
                4 => handles(&elsewhere)
                    .first()
                    .map_or(old.clone(), |handle| format!("{old}brought {handle}\n")),
                5 => handles(&old)
                    .first()
                    .map_or(old.clone(), |handle| old.replace(handle, &handle.to_lowercase())),
                6 => format!("{old}{old}"),
                _ => format!("{old}made up BW-card-zzzzzzzzzzzz-WB\n"),
            };
            let (tool, input, wanted) = if dice.below(2) == 0 {
                let input = json!({ "file_path": path, "old_string": old, "new_string": new });
                ("Edit", input, view.replacen(&old, &new, 1))
            } else {
                let whole = [&lines[..from].concat(), new.as_str(), &lines[to..].concat()].concat();
                ("Write", json!({ "file_path": path, "content": whole }), whole)
            };
            let known = &views[at].1;
            let ended = client.call(tool, input.clone());
            let after = std::fs::read_to_string(path).expect("a file");
            let strange =
                handles(&wanted).into_iter().any(|handle| !known.contains_key(handle) && handle != QUOTED);
            match ended {
                Ended::Ran(shown) => {
                    assert!(!strange, "seed {seed}: {tool} brought in what is not of this file: {input}");
                    assert_eq!(after, real(&wanted, known), "seed {seed}: {tool} {input}");
                    let shown = shown.to_string();
                    assert!(known.values().all(|value| !shown.contains(value.as_str())), "{shown}");
                    saved += 1;
                }
                Ended::Refused(why) => {
                    assert_eq!(after, before, "seed {seed}: {tool} {input}");
                    assert!(why.contains("BW-") || why.contains("bw-"), "{why}");
                    refused += 1;
                }
                Ended::Failed => {
                    assert_eq!(after, before, "seed {seed}: {tool} {input}");
                    failed += 1;
                }
            }
            let ours = handles(&after).into_iter().any(|handle| handle != QUOTED);
            assert!(!ours && !after.contains("bw-"), "seed {seed}: {after}");
        }
    }
    assert!(saved > 200 && refused > 50 && failed > 50, "{saved} saved, {refused} refused, {failed} failed");
}

#[test]
fn what_tools_return_is_searched_and_a_value_of_the_vault_goes_back_nowhere() {
    let value = "correct-horse-battery-staple-9";
    let project = project("");
    let added = project.run_with(&["secret", "set", "horse"], value.as_bytes());
    assert_eq!(added.code, 0, "{added:?}");
    let _gate = Gate::start(&project);
    let folder = project.path();
    let mut client = Client {
        socket: project.state().join("gate.sock"),
        cwd: folder.clone(),
        calls: 0,
        looks_first: true,
    };
    let path = folder.join("app.env");
    let text = format!("MODE=dev\nHORSE={value}\nEND=1\n");
    std::fs::write(&path, &text).expect("a file");
    let view = client.read(&path);
    assert_eq!(view, text.replace(value, "BW-HIDDEN-horse-WB"));
    let refused = client.call("Write", json!({ "file_path": path, "content": view }));
    assert!(
        matches!(&refused, Ended::Refused(why) if why.contains("only where its secret is bound")),
        "{refused:?}"
    );
    let edit = client
        .call("Edit", json!({ "file_path": path, "old_string": "MODE=dev", "new_string": "MODE=live" }));
    let Ended::Ran(shown) = edit else { panic!("{edit:?}") };
    assert!(!shown.to_string().contains(value), "{shown}");
    assert_eq!(std::fs::read_to_string(&path).expect("a file"), text.replace("dev", "live"));

    // A failure cannot be rewritten, so the turn ends before the model sees it; so does a prompt that holds the value.
    let more = json!({ "tool_name": "Read", "tool_use_id": "f", "tool_input": { "file_path": path } });
    client.event("PreToolUse", more.clone());
    let mut failure = more.clone();
    failure["error"] = json!(format!("cannot open {value}"));
    assert_eq!(client.event("PostToolUseFailure", failure), json!({}));
    let calls = |text: &str| json!({ "tool_calls": [{ "tool_name": "Bash", "tool_use_id": "f", "tool_response": text }] });
    assert_eq!(client.event("PostToolBatch", calls("fine"))["decision"], "block", "the one that failed");
    assert_eq!(client.event("PostToolBatch", calls("fine")), json!({}), "only that one");
    let base64 = "Y29ycmVjdC1ob3JzZS1iYXR0ZXJ5LXN0YXBsZS05";
    for text in [value, base64] {
        assert_eq!(client.event("PostToolBatch", calls(&format!("it was {text}")))["decision"], "block");
        assert_eq!(
            client.event("UserPromptSubmit", json!({ "prompt": format!("use {text}") }))["decision"],
            "block"
        );
    }
    assert_eq!(client.event("UserPromptSubmit", json!({ "prompt": "hello" })), json!({}));
    let journal = Value::from(project.journal()).to_string();
    assert!(!journal.contains(value) && journal.contains("taken out of it: the value of horse"), "{journal}");
}
