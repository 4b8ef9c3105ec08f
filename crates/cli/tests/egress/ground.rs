//! A project with a secret, a hostile upstream, and commands behind the wall that may reach it. Nothing here judges.

use crate::common::{Ran, finish};
use crate::upstream::Upstream;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

/// What must never be seen inside. Lowercase, so that no protocol's folding of case hides it.
pub(crate) const CANARY: &str = "ghp_canary7f3a9c0d5e8b2146af90";

/// The interpreter itself, not what a version manager puts before it, and the folders that it needs to see.
pub(crate) struct Python {
    pub(crate) program: String,
    pub(crate) folders: Vec<PathBuf>,
}

pub(crate) static PYTHON: LazyLock<Python> = LazyLock::new(|| {
    let ask = "import sys; print(sys.executable, sys.prefix, sys.base_prefix, sep='\\n')";
    let found = Command::new("python3").args(["-c", ask]).output();
    let said = found.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    let mut lines = said.lines().map(str::to_owned);
    let program = lines.next().unwrap_or_default();
    Python {
        program,
        folders: lines.map(PathBuf::from).filter(|folder| folder != Path::new("/usr")).collect(),
    }
});

/// An ordinary user of this machine, without a name.
const ORDINARY: u32 = 64_123;

pub(crate) struct Ground {
    folder: tempfile::TempDir,
    pub(crate) upstream: Upstream,
    /// Whose the project is, where it is not whoever runs the test.
    owner: Option<u32>,
}

impl Ground {
    /// A project whose secret `github` may go to `/repos/*` of `api.example.test`.
    pub(crate) fn new() -> Self {
        Self::of(None)
    }

    /// The same of an ordinary user; `None` where nobody can become one.
    pub(crate) fn ordinary() -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            return Some(Self::new());
        }
        let can = Command::new("setpriv").arg("--version").output().is_ok();
        can.then(|| Self::of(Some(ORDINARY)))
    }

    fn of(owner: Option<u32>) -> Self {
        let upstream = Upstream::open();
        let text = format!(
            "[secret.github]\n[[secret.github.use]]\nhost = \"api.example.test:{}\"\npaths = [\"/repos/*\"]\n",
            upstream.port
        );
        let mut ground = Self::configured(upstream, &text);
        if owner.is_some() {
            ground.owner = owner;
            // Others may not look into the folder that the binary was built in.
            std::fs::copy(env!("CARGO_BIN_EXE_bailiwick"), ground.path("bailiwick")).unwrap();
            ground.give();
        }
        let ran = ground.run(&["secret", "set", "github"], CANARY.as_bytes());
        assert_eq!(ran.code, 0, "{ran:?}");
        ground
    }

    /// A project with this configuration and no secret stored.
    pub(crate) fn configured(upstream: Upstream, text: &str) -> Self {
        let folder = tempfile::Builder::new().prefix("bw").tempdir().expect("a folder for the test");
        let ground = Self { folder, upstream, owner: None };
        for made in
            [ground.project().join(".bailiwick"), ground.home(), ground.path("user"), ground.path("logs")]
        {
            std::fs::create_dir_all(made).expect("a fresh folder");
        }
        std::fs::write(ground.path("authority.pem"), &ground.upstream.authority).expect("a file");
        ground.configure(text);
        ground
    }

    pub(crate) fn configure(&self, text: &str) {
        std::fs::write(self.project().join(".bailiwick/bailiwick.toml"), text).expect("the configuration");
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
    pub(crate) fn project(&self) -> PathBuf {
        self.path("project")
    }
    pub(crate) fn state(&self) -> PathBuf {
        self.path("state")
    }
    pub(crate) fn home(&self) -> PathBuf {
        self.path("home")
    }

    pub(crate) fn bailiwick(&self) -> Command {
        self.bailiwick_at(&self.state())
    }

    fn bailiwick_at(&self, state: &Path) -> Command {
        let mut command = match self.owner {
            None => Command::new(env!("CARGO_BIN_EXE_bailiwick")),
            Some(owner) => {
                let mut command = Command::new("setpriv");
                command.args([&format!("--reuid={owner}"), &format!("--regid={owner}"), "--clear-groups"]);
                command.arg(self.path("bailiwick"));
                command
            }
        };
        command
            .current_dir(self.project())
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.home())
            .env("XDG_DATA_HOME", self.path("user"))
            .env("BAILIWICK_LOG", "trace")
            .arg("--state")
            .arg(state);
        command
    }

    /// Whose the project is, where it is not whoever runs the test.
    pub(crate) fn owner(&self) -> Option<u32> {
        self.owner
    }

    /// Makes everything the owner's that was made for it.
    pub(crate) fn give(&self) {
        if let Some(owner) = self.owner {
            let mut chown = Command::new("chown");
            chown.args(["-R", &format!("{owner}:{owner}")]).arg(self.folder.path());
            assert!(chown.status().unwrap().success(), "the project is given to {owner}");
        }
    }

    /// A Python that the owner can run, and what has to be shown for it.
    pub(crate) fn python(&self) -> &str {
        if self.owner.is_some() { "/usr/bin/python3" } else { &PYTHON.program }
    }
    pub(crate) fn python_folders(&self) -> &[PathBuf] {
        if self.owner.is_some() { &[] } else { &PYTHON.folders }
    }

    pub(crate) fn run(&self, args: &[&str], input: &[u8]) -> Ran {
        finish(self.bailiwick().args(args), input)
    }

    /// The place `api.example.test` as options.
    pub(crate) fn api(&self) -> Vec<String> {
        self.places(&[&format!("api.example.test:{}", self.upstream.port)])
    }

    /// These places, at loopback.
    pub(crate) fn places(&self, places: &[&str]) -> Vec<String> {
        let mut args = Vec::new();
        for place in places {
            args.extend(["--allow".to_owned(), (*place).to_owned()]);
        }
        for (option, value) in [("--private", "127.0.0.0/8"), ("--address", "127.0.0.1")] {
            args.extend([option.to_owned(), value.to_owned()]);
        }
        args
    }

    /// A command behind the wall, with the secret's placeholder in `TOKEN`.
    pub(crate) fn sandbox(&self, options: &[String], command: &[&str]) -> Command {
        let mut sandbox = self.bailiwick();
        sandbox.arg("sandbox").args(options).arg("--authority").arg(self.path("authority.pem"));
        for (name, value) in [
            ("PORT", self.upstream.port),
            ("PLAIN", self.upstream.plain),
            ("RAW", self.upstream.raw),
            ("SECOND", self.upstream.second),
        ] {
            sandbox.arg("--env").arg(format!("{name}={value}"));
        }
        sandbox.args(["--env", &format!("PY={}", PYTHON.program), "--"]).args(command);
        sandbox
    }

    /// A script behind the wall that may reach the API and has the secret's placeholder.
    pub(crate) fn with_token(&self, options: &[String], script: &str) -> Ran {
        let token = ["--env".to_owned(), "TOKEN=${secret:github}".to_owned()];
        self.inside(&[options, &token].concat(), script)
    }

    pub(crate) fn inside(&self, options: &[String], script: &str) -> Ran {
        finish(&mut self.sandbox(options, &["sh", "-c", script]), b"")
    }

    /// The records of all runs so far, oldest first in each, and those of a gate that served.
    pub(crate) fn journal(&self) -> Vec<Value> {
        let runs = std::fs::read_dir(self.state().join("runs")).into_iter().flatten().flatten();
        let states = runs.map(|run| run.path().join("state")).chain([self.state()]);
        let mut records = Vec::new();
        for state in states.filter(|state| state.join("journal").exists()) {
            let ran = finish(self.bailiwick_at(&state).args(["journal", "show", "--json"]), b"");
            let shown: Vec<Value> =
                serde_json::from_str(&ran.out).unwrap_or_else(|error| panic!("{error}: {ran:?}"));
            records.extend(shown);
        }
        records
    }

    /// The alerts in the journal, as text.
    pub(crate) fn alerts(&self) -> Vec<String> {
        let records = self.journal();
        records.iter().filter(|record| record["kind"] == "alert").map(ToString::to_string).collect()
    }
}

/// Files below `folder` that hold one of `needles`.
pub(crate) fn found_in(folder: &Path, needles: &[&str]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let Ok(kind) = entry.file_type() else { continue };
        if kind.is_dir() {
            found.extend(found_in(&entry.path(), needles));
        } else if kind.is_file() {
            let bytes = std::fs::read(entry.path()).unwrap_or_default();
            if needles.iter().any(|needle| memchr::memmem::find(&bytes, needle.as_bytes()).is_some()) {
                found.push(entry.path());
            }
        }
    }
    found
}

/// The value, in every spelling that somebody could read at once.
pub(crate) fn spellings(value: &str) -> Vec<String> {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD_NO_PAD;
    let hex: String = value.bytes().map(|byte| format!("{byte:02x}")).collect();
    let percent: String = value.bytes().map(|byte| format!("%{byte:02X}")).collect();
    let escaped: String = value.chars().map(|char| format!("\\u{:04x}", u32::from(char))).collect();
    let spread: String = value.chars().flat_map(|char| [char, '\u{200b}']).collect();
    // Without the ends, which depend on what is around them.
    let shifted = |before: &str| {
        let text = STANDARD_NO_PAD.encode(format!("{before}{value}"));
        text[4..text.len() - 4].to_owned()
    };
    let wide: String = value.chars().flat_map(|char| [char, '\0']).collect();
    let entities: String = value.bytes().map(|byte| format!("&#{byte};")).collect();
    let wrapped = STANDARD_NO_PAD
        .encode(value)
        .as_bytes()
        .chunks(16)
        .fold(String::new(), |lines, line| format!("{lines}{}\r\n", String::from_utf8_lossy(line)));
    let twice = STANDARD_NO_PAD.encode(base64::engine::general_purpose::STANDARD.encode(value));
    vec![
        value.to_owned(),
        hex.to_uppercase(),
        hex,
        percent.clone(),
        escaped,
        spread,
        wide,
        entities,
        wrapped[..34].to_owned(),
        value.chars().rev().collect(),
        percent.to_lowercase(),
        shifted(""),
        shifted("x"),
        shifted("xx"),
        twice[4..twice.len() - 8].to_owned(),
    ]
}
