//! A gate of `bailiwick serve` with a server behind the wall that runs whatever script it is given, and a client that gives
//! it some. The server has the secret's placeholder and the one place to use it at.

use crate::common::{Client, Gate, words};
use crate::ground::Ground;
use serde_json::json;

/// The tool, and what it may reach.
const POLICY: &str = r#"
@id("scripts") permit (principal, action == Action::"sh/sh", resource);
@id("out") permit (principal, action in [Action::"egress/read", Action::"egress/write"], resource);
@id("shell") permit (principal, action == Action::"claude/Bash", resource);
"#;

/// The gate that runs, of a project that is set up.
pub(crate) struct Served {
    pub(crate) gate: Gate,
    pub(crate) client: Client,
}

/// Sets the project of `ground` up: a server `sh` and a shell, both of which may reach the API with the secret `github`. The
/// detectors are off: a placeholder looks like what it stands for, and is to be seen here.
pub(crate) fn set_up(ground: &Ground) {
    let folder = ground.project().join(".bailiwick");
    std::fs::write(ground.project().join("server.py"), include_str!("server.py")).unwrap();
    std::fs::remove_file(folder.join("bailiwick.toml")).unwrap();
    let server = format!("sh={} {}", ground.python(), ground.project().join("server.py").display());
    let init = ground.run(&["init", "--yes", "--server", &server], b"");
    assert_eq!(init.code, 0, "{init:?}");
    assert!(init.out.contains("sh"), "{init:?}");
    std::fs::remove_dir_all(folder.join("policy")).unwrap();
    std::fs::create_dir(folder.join("policy")).unwrap();
    std::fs::write(folder.join("policy/test.cedar"), POLICY).unwrap();
    let port = ground.upstream.port;
    let mut text = format!(
        "[filter]\nsecrets = \"off\"\n[gate]\nclaude_code = true\nauthorities = [{:?}]\n\
         [secret.github]\n[[secret.github.use]]\nhost = \"api.example.test:{port}\"\npaths = [\"/repos/*\"]\n\
         [server.sh]\ncommand = [{:?}, {:?}]\n",
        ground.path("authority.pem"),
        ground.python(),
        ground.project().join("server.py")
    );
    for (head, wall) in [("server.sh.env", "server.sh.sandbox"), ("shell.env", "shell")] {
        let variables = format!("[{head}]\nTOKEN = \"${{secret:github}}\"\nPORT = \"{port}\"\n");
        let place = format!(
            "[{wall}]\nworkspace = \"read-write\"\nread = {:?}\nnetwork = [{{ to = \"https://api.example.test:{port}\", \
             private = [\"127.0.0.0/8\"], address = \"127.0.0.1\" }}]\n",
            ground.python_folders()
        );
        // A table comes before those within it.
        text.push_str(&if head.starts_with(wall) { place + &variables } else { variables + &place });
    }
    ground.configure(&text);
    ground.give();
}

impl Served {
    /// Starts the gate, and connects to the server.
    pub(crate) fn start(ground: &Ground) -> Self {
        let gate = Gate::start_at(&ground.path("logs"), ground.bailiwick());
        let client = Client::connect_by(ground.bailiwick(), &["sh"]);
        Self { gate, client }
    }

    /// What a script behind the wall prints.
    pub(crate) fn script(&mut self, script: &str) -> String {
        let answer = self.client.call("sh", json!({ "script": script }));
        assert!(answer["result"].is_object(), "{answer}\n{}", self.gate.log());
        words(&answer)
    }
}
