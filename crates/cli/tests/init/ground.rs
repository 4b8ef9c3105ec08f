//! A project and a home in a folder of their own, of several shapes, with keys lying about; and a digest of everything in them.

use crate::common::{Gate, Ran, finish};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::SystemTime;

/// Values that look like keys, and open nothing.
pub(crate) const KEYS: [&str; 3] = [
    "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",
    "kX9fQ2mLw8Zr4tYb6NcVd1Hs3Jg5Pk7UaBxEyR",
    "Tr0ub4dor3-xyz-9Q",
];
/// The consent to move keys.
pub(crate) const MOVE: [&str; 3] = ["--yes", "--keys", "move"];
/// A server that says how long its key is.
pub(crate) const SERVER: &str = r#"
import sys, json, os
for line in sys.stdin:
    m = json.loads(line)
    if m.get("method") == "initialize":
        name = "key-%d" % len(os.environ.get("GITHUB_TOKEN", ""))
        r = {"protocolVersion": m["params"]["protocolVersion"], "capabilities": {"tools": {}}, "serverInfo": {"name": name, "version": "1"}}
    elif m.get("method") == "tools/list":
        r = {"tools": [{"name": "whoami", "description": "says", "inputSchema": {"type": "object"}}]}
    else:
        continue
    print(json.dumps({"jsonrpc": "2.0", "id": m["id"], "result": r}), flush=True)
"#;

/// Fills a project.
pub(crate) type Build = fn(&Ground);
/// Projects of several shapes.
pub(crate) const SHAPES: [(&str, Build); 5] = [
    ("node", node),
    ("python", python),
    ("rust", rust),
    ("monorepo", monorepo),
    ("ten servers", ten_servers),
];

/// What one file is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Entry {
    Folder(u32),
    Link(PathBuf),
    File { mode: u32, modified: SystemTime, content: Vec<u8> },
    Other(u32),
}

pub(crate) struct Ground(tempfile::TempDir);

impl Ground {
    pub(crate) fn new() -> Self {
        let ground = Self(tempfile::Builder::new().prefix("bw").tempdir().expect("a folder for the test"));
        for folder in [ground.project(), ground.home(), ground.programs()] {
            fs::create_dir(folder).expect("a fresh folder");
        }
        ground
    }

    pub(crate) fn project(&self) -> PathBuf {
        self.0.path().join("project")
    }
    pub(crate) fn home(&self) -> PathBuf {
        self.0.path().join("home")
    }
    fn programs(&self) -> PathBuf {
        self.0.path().join("bin")
    }
    fn data(&self) -> PathBuf {
        self.home().join(".local/share/bailiwick")
    }
    pub(crate) fn secrets(&self) -> PathBuf {
        self.data().join("secrets")
    }

    /// This project's state folder, once there is one.
    fn state(&self) -> Option<PathBuf> {
        let found = fs::read_dir(self.data()).ok()?.flatten();
        found
            .map(|entry| entry.path())
            .find(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("project-")))
    }

    /// Where the record of an init is.
    pub(crate) fn record(&self) -> Option<PathBuf> {
        Some(self.state()?.join("init/record.json"))
    }

    /// What uninstall kept of others' changes.
    pub(crate) fn kept(&self) -> Vec<String> {
        let mut texts = Vec::new();
        let folders = fs::read_dir(self.state().expect("a state")).expect("the state").flatten();
        for folder in folders.filter(|entry| entry.file_name().to_string_lossy().starts_with("kept-")) {
            let mut all = BTreeMap::new();
            gather(&folder.path(), &folder.path(), &[], &mut all);
            texts.extend(all.into_values().filter_map(|entry| match entry {
                Entry::File { content, mode, .. } => {
                    assert_eq!(mode & 0o077, 0, "nobody else reads it");
                    String::from_utf8(content).ok()
                }
                _ => None,
            }));
        }
        texts
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        let path = self.project().join(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        fs::write(path, text).expect("a file");
    }

    /// A program on the path of what is started here.
    pub(crate) fn program(&self, name: &str, text: &str) {
        let path = self.programs().join(name);
        fs::write(&path, text).expect("a program");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("its mode");
    }

    pub(crate) fn pipe(&self, path: &Path) {
        assert!(Command::new("mkfifo").arg(path).status().expect("mkfifo").success());
    }

    pub(crate) fn json(&self, name: &str) -> Value {
        let text = fs::read(self.project().join(name)).expect("a file");
        serde_json::from_slice(&text).expect("JSON")
    }

    pub(crate) fn configuration(&self) -> String {
        fs::read_to_string(self.project().join(".bailiwick/bailiwick.toml")).expect("a configuration")
    }

    pub(crate) fn command_of(&self, program: &str, args: &[&str]) -> Command {
        let mut command = Command::new(program);
        let path = std::env::var("PATH").unwrap_or_default();
        command
            .args(args)
            .current_dir(self.project())
            .env_clear()
            .env("PATH", format!("{}:{path}", self.programs().display()))
            .env("HOME", self.home())
            .env("USER", "tester");
        command
    }

    pub(crate) fn command(&self, args: &[&str]) -> Command {
        self.command_of(env!("CARGO_BIN_EXE_bailiwick"), args)
    }

    pub(crate) fn run(&self, args: &[&str]) -> Ran {
        finish(&mut self.command(args), b"")
    }

    pub(crate) fn run_with(&self, args: &[&str], input: &[u8]) -> Ran {
        finish(&mut self.command(args), input)
    }

    pub(crate) fn init(&self, args: &[&str]) -> Ran {
        self.run(&[&["init"], args].concat())
    }

    /// The gate of this project.
    pub(crate) fn gate(&self) -> Gate {
        Gate::start_at(self.0.path(), self.command(&[]))
    }

    /// Everything in the project and in the home, but for what is the gate's own.
    pub(crate) fn digest(&self) -> BTreeMap<PathBuf, Entry> {
        let mut all = BTreeMap::new();
        gather(self.0.path(), &self.project(), &[], &mut all);
        gather(self.0.path(), &self.home(), &[&self.data()], &mut all);
        // Folders on the way to the data folder, which is made in a home that has none.
        all.retain(|path, _| !path.starts_with("home/.local") || path.components().count() > 3);
        all
    }

    pub(crate) fn digest_without_configuration(&self) -> BTreeMap<PathBuf, Entry> {
        let mut all = self.digest();
        all.retain(|path, _| !path.starts_with("project/.bailiwick"));
        all
    }

    /// Files of the project, its configuration included, and of the home that hold one of [`KEYS`].
    pub(crate) fn holding_keys(&self) -> Vec<String> {
        let holds = |entry: &Entry| match entry {
            Entry::File { content, .. } => {
                KEYS.iter().any(|key| content.windows(key.len()).any(|part| part == key.as_bytes()))
            }
            _ => false,
        };
        let all = self.digest().into_iter().filter(|(_, entry)| holds(entry));
        all.map(|(path, _)| path.display().to_string()).collect()
    }
}

fn gather(root: &Path, folder: &Path, without: &[&Path], all: &mut BTreeMap<PathBuf, Entry>) {
    for entry in fs::read_dir(folder).expect("a folder").flatten() {
        let path = entry.path();
        if without.contains(&path.as_path()) {
            continue;
        }
        let meta = path.symlink_metadata().expect("an entry");
        let found = if meta.is_symlink() {
            Entry::Link(fs::read_link(&path).expect("a link"))
        } else if meta.is_dir() {
            gather(root, &path, without, all);
            Entry::Folder(meta.mode())
        } else if meta.is_file() {
            Entry::File {
                mode: meta.mode(),
                modified: meta.modified().expect("a time"),
                content: fs::read(&path).unwrap_or_default(),
            }
        } else {
            Entry::Other(meta.mode())
        };
        all.insert(path.strip_prefix(root).expect("below").to_owned(), found);
    }
}

/// A server that needs `key`.
pub(crate) fn server(key: &str) -> Value {
    json!({ "command": "/usr/bin/python3", "args": ["server.py"], "env": { "GITHUB_TOKEN": key, "MODE": "x" } })
}

/// A clients' file with such servers.
pub(crate) fn servers(named: &[(&str, &str)]) -> String {
    let servers: serde_json::Map<String, Value> =
        named.iter().map(|(name, key)| ((*name).to_owned(), server(key))).collect();
    serde_json::to_string_pretty(&json!({ "mcpServers": servers })).expect("JSON") + "\n"
}

fn node(ground: &Ground) {
    ground.write("server.py", SERVER);
    ground.write("package.json", "{ \"name\": \"shop\", \"dependencies\": { \"express\": \"5\" } }\n");
    ground.write("src/index.js", "require('dotenv').config()\n");
    ground.write("node_modules/express/.env", &format!("TOKEN={}\n", KEYS[1]));
    ground.write(".gitignore", ".env\nnode_modules\n");
    ground.write(
        ".env",
        &format!("PORT=3000\nSESSION_SECRET={}\nDB_URL=postgres://app:{}@db/app\n", KEYS[1], KEYS[2]),
    );
    ground.write(".env.example", "PORT=3000\nSESSION_SECRET=your-secret-here\n");
    ground.write(
        ".mcp.json",
        &format!(
            "{{\n\t\"mcpServers\": {{\n\t\t\"github\":   {},\n\t\t\"plain\": {{ \"command\": \"/usr/bin/python3\", \"args\": [\"server.py\"] }}\n\t}}, \"other\": [1,  2]\n}}\n",
            server(KEYS[0])
        ),
    );
}

fn python(ground: &Ground) {
    ground.write("server.py", SERVER);
    ground.write("pyproject.toml", "[project]\nname = \"report\"\nversion = \"1\"\n");
    ground.write("report/__init__.py", "");
    ground.write(".envrc", &format!("export API_TOKEN='{}'\nlayout python\n", KEYS[1]));
    ground.write(".cursor/mcp.json", &servers(&[("github", KEYS[0])]));
    ground.write(".claude/settings.json", "{ \"permissions\": { \"allow\": [] } }\n");
    let settings = json!({ "env": { "ANTHROPIC_API_KEY": KEYS[1], "EDITOR": "vi" } });
    ground.write(".claude/settings.local.json", &settings.to_string());
}

fn rust(ground: &Ground) {
    ground.write("server.py", SERVER);
    ground.write("Cargo.toml", "[package]\nname = \"tool\"\nversion = \"0.1.0\"\nedition = \"2024\"\n");
    ground.write("src/main.rs", "fn main() {}\n");
    ground.write(".vscode/mcp.json", &json!({ "servers": { "github": server(KEYS[0]) } }).to_string());
    // A server of this project that the home's file has.
    let projects: serde_json::Map<String, Value> =
        [(ground.project().display().to_string(), json!({ "mcpServers": { "home": server(KEYS[0]) } }))]
            .into_iter()
            .collect();
    let home = json!({ "numStartups": 3, "projects": projects, "mcpServers": { "all": server(KEYS[0]) } });
    fs::write(ground.home().join(".claude.json"), home.to_string()).expect("a file");
}

fn monorepo(ground: &Ground) {
    ground.write("server.py", SERVER);
    ground.write("package.json", "{ \"private\": true, \"workspaces\": [\"packages/*\"] }\n");
    ground.write(".env", &format!("ROOT_TOKEN={}\n", KEYS[1]));
    for package in ["api", "web", "jobs"] {
        ground.write(&format!("packages/{package}/package.json"), "{}\n");
        ground.write(&format!("packages/{package}/.env.local"), &format!("DB_PASSWORD={}\r\n", KEYS[2]));
    }
    ground.write(".mcp.json", &servers(&[("github", KEYS[0])]));
}

fn ten_servers(ground: &Ground) {
    ground.write("server.py", SERVER);
    let names: Vec<String> = (0..10).map(|number| format!("server-{number}")).collect();
    let named: Vec<(&str, &str)> = names
        .iter()
        .enumerate()
        .map(|(at, name)| (name.as_str(), if at % 2 == 0 { KEYS[0] } else { "x" }))
        .collect();
    ground.write(".mcp.json", &servers(&named));
    fs::create_dir(ground.project().join("empty")).expect("a folder");
}
