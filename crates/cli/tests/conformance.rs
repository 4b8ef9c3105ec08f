//! Runs every page of `conformance/` through `bailiwick decide` and through a running gate in front of real servers.
//! The pages are the truth: an allowed call reaches its server exactly once, every other call never does.

mod common;

use common::{Client, Gate, ran, words};
use gateway::config::{Config, Confinement, Server};
use gateway::inventory::lock::{Lock, Reviewed, Word};
use gateway::inventory::{Definition, ReviewedServer};
use judge::case::{Case, CaseFile, Scene};
use judge::policy::Decision;
use judge::shape::Kind;
use judge::tool::{Effect, Impact};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::process::Command;

// Rows need these, and nobody outside can set them.
const CLOCK: &str = "the row sets the clock";
const RATE: &str = "the row sets the rate, and nothing was called before";
const OPERATION: &str = "a protocol operation, not a tool";

/// One entry of a page's `json tools` block.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Listed {
    server: String,
    name: String,
    effect: Word<Effect>,
    reversible: bool,
    impact: Word<Impact>,
    #[serde(default)]
    kinds: BTreeMap<String, Word<Kind>>,
    flow: Option<Value>,
    input_schema: Value,
}

/// A page's world on this machine: its `/w/project` and `/home/u` stand below a folder of their own, outside of `/tmp`.
/// As the pages say, the folders they walk through exist and nothing is a link.
struct World {
    root: tempfile::TempDir,
    name: String,
    text: String,
    page: CaseFile,
}

impl World {
    fn of(path: &Path) -> Self {
        let name = path.file_name().expect("a page").to_string_lossy().into_owned();
        let root = tempfile::Builder::new().prefix("c").tempdir_in(outside_temp()).expect("a folder");
        let at = |place: &str| root.path().join(place).display().to_string();
        let text = std::fs::read_to_string(path).expect("a page");
        let text = text
            .replace("/w/./project", &at("w/./project"))
            .replace("/w/project", &at("w/project"))
            .replace("/home/u", &at("home/u"));
        let page = CaseFile::parse(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
        let world = Self { root, name, text, page };
        world.furnish();
        world
    }

    fn project(&self) -> PathBuf {
        self.root.path().join("w/project")
    }
    fn config(&self) -> PathBuf {
        self.project().join(".bailiwick")
    }
    fn home(&self) -> PathBuf {
        self.root.path().join("home/u")
    }
    fn servers(&self) -> PathBuf {
        self.root.path().join("servers")
    }

    /// Writes the page's tools as reviewed, its policies, and a server for each of its servers.
    fn furnish(&self) {
        std::fs::create_dir_all(self.config().join("policy")).expect("the project");
        std::fs::create_dir_all(self.project().join("src")).expect("the project");
        std::fs::create_dir_all(self.home().join(".local/share")).expect("a home");
        let source = self.page.source(&self.name);
        std::fs::write(self.config().join("policy/page.cedar"), source.text).expect("the policies");
        let mut lock = Lock::empty();
        let mut offered: HashMap<String, Vec<Value>> = HashMap::new();
        for block in &self.page.tools {
            for listed in serde_json::from_str::<Vec<Listed>>(&block.text).expect("the page was read before")
            {
                let Listed { server, name, effect, reversible, impact, kinds, flow, input_schema } = listed;
                let definition = json!({ "name": name, "inputSchema": input_schema });
                let raw = RawValue::from_string(definition.to_string()).expect("JSON");
                let digest =
                    Definition::read(&raw).unwrap_or_else(|why| panic!("{}: {why}", self.name)).digest;
                let reason = "said by the page".to_owned();
                let reviewed = Reviewed {
                    effect,
                    reversible,
                    impact,
                    reason,
                    kinds,
                    flow,
                    digest,
                    definition: definition.clone(),
                };
                let known: &mut ReviewedServer = lock.servers.entry(server.clone()).or_default();
                known.tools.insert(name, reviewed);
                offered.entry(server).or_default().push(definition);
            }
        }
        lock.save(&self.config()).expect("the lock");
        let mut config = Config::default();
        config.gate.claude_code = false;
        for (server, tools) in offered {
            let folder = self.servers().join(&server);
            std::fs::create_dir_all(&folder).expect("a folder for the server");
            std::fs::write(folder.join("tools.json"), json!(tools).to_string()).expect("its tools");
            common::fixture::install(&folder);
            let command = vec!["/bin/sh".to_owned(), folder.join("serve.sh").display().to_string()];
            let sandbox = Confinement {
                read: vec![common::fixture::program()],
                write: vec![folder],
                ..Confinement::default()
            };
            config.server.insert(server, Server { command, sandbox, ..Server::default() });
        }
        self.configure(config, &Scene::default());
    }

    /// Sets the scene of the rows to come.
    fn configure(&self, mut config: Config, scene: &Scene) {
        let (user, groups) = scene.user.clone().unwrap_or_else(|| ("user".to_owned(), Vec::new()));
        config.gate.agent = scene.agent.clone().unwrap_or_else(|| "agent".to_owned());
        config.gate.user = Some(user);
        config.gate.groups = groups;
        config.gate.phase = scene.phase.clone().unwrap_or_default();
        config.gate.ask_wait_seconds = 0;
        let known = scene.known.as_deref().unwrap_or_default();
        config.flow.known = known.split_whitespace().map(str::to_owned).collect();
        let text = toml::to_string_pretty(&config).expect("a configuration is TOML");
        std::fs::write(self.config().join("bailiwick.toml"), text).expect("the configuration");
    }

    fn point(&self, command: &mut Command) {
        command
            .current_dir(self.project())
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.home())
            .env("BAILIWICK_DIR", self.config())
            .env("BAILIWICK_STATE", self.home().join(".local/share/bailiwick"));
    }

    fn bailiwick(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bailiwick"));
        self.point(&mut command);
        command
    }

    /// The arguments as the page writes them, also where they are no usable JSON.
    fn arguments(&self, case: &Case) -> String {
        let line = self.text.lines().nth(case.line - 1).expect("the case has a line");
        let cell = line.trim_start_matches(['|', ' ']).trim_start_matches('`');
        let call = cell.replace("\\|", "|");
        let Some((_, rest)) = call.split_once(' ').filter(|(_, rest)| rest.starts_with(['{', '[', '"']))
        else {
            return "{}".to_owned();
        };
        let canonical = case.arguments.canonical();
        if canonical == "null" { rest.split("` |").next().unwrap_or_default().to_owned() } else { canonical }
    }

    /// Calls that reached each server.
    fn effects(&self) -> Vec<Value> {
        let mut effects = Vec::new();
        for server in std::fs::read_dir(self.servers()).into_iter().flatten() {
            let server = server.expect("an entry");
            let text = std::fs::read_to_string(server.path().join("effects")).unwrap_or_default();
            for line in text.lines() {
                let effect: Value = serde_json::from_str(line).expect("the fixture writes whole lines");
                effects.push(json!({
                    "name": format!("{}/{}", server.file_name().display(), effect["tool"].as_str().unwrap_or_default()),
                    "arguments": effect["arguments"],
                }));
            }
        }
        effects
    }

    /// Every row through `bailiwick decide`.
    fn decide(&self, tally: &mut Tally) {
        let config = Config::load(&self.config()).expect("the configuration written above");
        for case in &self.page.cases {
            self.configure(config.clone(), &Scene { known: case.scene.known.clone(), ..Scene::default() });
            if let Some(why) = self.undecidable(case) {
                tally.skip(self, case, why);
                continue;
            }
            let mut call = format!(
                r#"{{"server":{},"tool":{},"arguments":{}"#,
                json!(case.name.server),
                json!(case.name.tool),
                self.arguments(case)
            );
            if let Some((user, groups)) = &case.scene.user {
                call.push_str(&format!(r#","user":{},"groups":{}"#, json!(user), json!(groups)));
            }
            if let Some((name, text)) = &case.scene.read {
                let answer = json!([{ "server": name.server, "tool": name.tool, "text": text }]);
                call.push_str(&format!(r#","read":{answer}"#));
            }
            let members =
                [("agent", &case.scene.agent), ("phase", &case.scene.phase), ("said", &case.scene.said)];
            for (name, value) in members {
                if let Some(value) = value {
                    call.push_str(&format!(r#","{name}":{}"#, json!(value)));
                }
            }
            call.push('}');
            let decided = common::finish(self.bailiwick().args(["decide", "--json", "-"]), call.as_bytes());
            let answer: Value = serde_json::from_str(&decided.out).unwrap_or_default();
            let (decision, why) = match answer["decision"].as_str() {
                Some(decision) => {
                    (decision.to_owned(), answer["why"].as_str().unwrap_or_default().to_owned())
                }
                // A call that is no JSON is refused before anyone decides.
                None => ("deny".to_owned(), decided.err.clone()),
            };
            let code = i32::from(decision != "allow");
            let holds = decision == case.decision.to_string()
                && why.contains(&case.because)
                && (decided.code == code || (answer.is_null() && decided.code == 2));
            tally.note(self, case, holds, || format!("decide: {call}: {decided:?}"));
        }
    }

    /// What `decide` cannot be told.
    fn undecidable(&self, case: &Case) -> Option<&'static str> {
        if case.scene.now.is_some() {
            Some(CLOCK)
        } else if case.scene.calls_last_minute.is_some() {
            Some(RATE)
        } else {
            None
        }
    }

    /// A client whose user has said, and who has read, what the row says.
    fn converse(&self, case: &Case) -> Client {
        let conversation = format!("row-{}", case.line);
        if let Some(said) = &case.scene.said {
            let told = common::finish(self.bailiwick().args(["said", &conversation]), said.as_bytes());
            assert_eq!(told.code, 0, "{told:?}");
        }
        let mut client = Client::connect_by(self.bailiwick(), &["--conversation", &conversation]);
        if let Some((name, answer)) = &case.scene.read {
            common::fixture::answers(&self.servers().join(&name.server), &name.tool, answer);
            let answered = client.call_raw(&format!("{}__{}", name.server, name.tool), "{}");
            assert!(words(&answered).contains(answer.as_str()), "{}: {answered}", case.line);
        }
        client
    }

    /// Every row through a running gate.
    fn serve(&self, tally: &mut Tally) {
        let mut scenes: Vec<(Scene, Vec<&Case>)> = Vec::new();
        for case in &self.page.cases {
            if case.scene.now.is_some() {
                tally.skip(self, case, CLOCK);
            } else if case.name.tool.starts_with("mcp:") {
                tally.skip(self, case, OPERATION);
            } else {
                let scene = Scene { calls_last_minute: None, said: None, read: None, ..case.scene.clone() };
                match scenes.iter_mut().find(|(known, _)| *known == scene) {
                    Some((_, cases)) => cases.push(case),
                    None => scenes.push((scene, vec![case])),
                }
            }
        }
        let config = Config::load(&self.config()).expect("the configuration written above");
        let counts_calls = self.text.contains("context.rate");
        for (scene, cases) in scenes {
            self.configure(config.clone(), &scene);
            let mut gate = Gate::start_at(self.root.path(), self.bailiwick());
            let mut client = Client::connect_by(self.bailiwick(), &[]);
            for (number, case) in cases.into_iter().enumerate() {
                if counts_calls && number > 0 {
                    // Calls are counted over all sessions of one gate.
                    gate.kill9();
                    gate = Gate::start_at(self.root.path(), self.bailiwick());
                    client = Client::connect_by(self.bailiwick(), &[]);
                }
                if case.scene.said.is_some() || case.scene.read.is_some() {
                    client = self.converse(case);
                }
                let name = format!("{}__{}", case.name.server, case.name.tool);
                let arguments = self.arguments(case);
                // The row is about the last of so many calls in a minute.
                for _ in 1..case.scene.calls_last_minute.unwrap_or(1) {
                    client.call_raw(&name, &arguments);
                }
                let before = self.effects();
                let answer = client.call_raw(&name, &arguments);
                let after = self.effects();
                let mut new = after;
                for effect in &before {
                    let at = new.iter().position(|found| found == effect).expect("what happened stays");
                    new.remove(at);
                }
                let holds = if case.decision == Decision::Allow {
                    let sent: Value = serde_json::from_str(&arguments).unwrap_or_default();
                    ran(&answer) && new == [json!({ "name": case.name.to_string(), "arguments": sent })]
                } else {
                    !ran(&answer)
                        && new.is_empty()
                        && (case.decision == Decision::Ask) == words(&answer).contains("nobody answered")
                };
                tally.note(self, case, holds, || {
                    format!("gate: {name} {arguments}: {answer}, effects {new:?}")
                });
            }
        }
    }
}

#[derive(Default)]
struct Tally {
    held: usize,
    skipped: Vec<String>,
    failed: Vec<String>,
}

impl Tally {
    fn note(&mut self, world: &World, case: &Case, holds: bool, what: impl Fn() -> String) {
        if holds {
            self.held += 1;
        } else {
            self.failed.push(format!(
                "{}:{}: should be {} {}; {}",
                world.name,
                case.line,
                case.decision,
                case.because,
                what()
            ));
        }
    }

    fn skip(&mut self, world: &World, case: &Case, why: &str) {
        self.skipped.push(format!("{}:{}: {why}", world.name, case.line));
    }

    /// Says what was done and fails for what does not hold.
    fn end(self, what: &str) {
        for line in &self.skipped {
            eprintln!("skipped {line}");
        }
        eprintln!(
            "{what}: {} rows hold, {} skipped, {} do not hold",
            self.held,
            self.skipped.len(),
            self.failed.len()
        );
        assert!(self.failed.is_empty(), "\n{}", self.failed.join("\n"));
        assert!(
            self.held > 100 && self.skipped.len() * 10 < self.held,
            "what cannot be run here is the exception"
        );
    }
}

/// A folder for worlds in which nothing is a temporary file.
fn outside_temp() -> PathBuf {
    let real = |path: &Path| path.canonicalize().expect("a folder");
    let temp = [real(Path::new("/tmp")), real(&std::env::temp_dir())];
    let places = [Path::new(env!("CARGO_TARGET_TMPDIR")), Path::new("/var/tmp")].map(real);
    let found = places.into_iter().find(|place| !temp.iter().any(|temp| place.starts_with(temp)));
    found.expect("the build's folder or /var/tmp is no place for temporary files")
}

fn pages() -> Vec<World> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../conformance");
    let mut pages: Vec<_> = std::fs::read_dir(folder)
        .expect("the conformance folder")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|kind| kind == "md"))
        .collect();
    pages.sort();
    pages.iter().map(|path| World::of(path)).collect()
}

#[test]
fn every_page_holds_on_the_command_line() {
    let mut tally = Tally::default();
    for world in pages() {
        world.decide(&mut tally);
    }
    tally.end("decide");
}

#[test]
fn every_page_holds_at_the_gate() {
    let mut tally = Tally::default();
    for world in pages() {
        world.serve(&mut tally);
    }
    tally.end("gate");
}
