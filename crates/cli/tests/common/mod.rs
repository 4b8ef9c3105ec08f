//! A project with a real gate, real clients and a real server, for the tests of this folder.
//! Everything runs as processes of the built binary in a folder of its own; nothing here looks inside the gate.
#![allow(dead_code, unreachable_pub, reason = "each test file uses its own part of this room")]

pub mod browser;
pub mod fixture;

use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

/// How long anything here may take before the test gives up, in seconds.
pub const PATIENCE_SECONDS_MAX: u64 = 60;

/// Policies for the fixture: `act` runs, `act_asked` asks, the rest is denied.
pub const POLICY: &str = r#"
@id("acting") permit (principal, action == Action::"fix/act", resource);
@id("acting-asked") permit (principal, action == Action::"fix/act_asked", resource) when { context.approved };
"#;

/// A project folder with its configuration, its state and the fixture's files.
pub struct Project {
    folder: tempfile::TempDir,
}

/// How a command ended.
#[derive(Debug)]
pub struct Ran {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Project {
    /// A project behind whose gate one fixture server `fix` stands, reviewed by `init --yes`, with these policies.
    pub fn new(policy: &str) -> Self {
        Self::offering(&fixture::tools(), policy)
    }

    /// The same with other tools.
    pub fn offering(tools: &Value, policy: &str) -> Self {
        let project = Self::bare();
        project.offer(tools);
        let ran = project.run(&[
            "init",
            "--yes",
            "--no-claude-code",
            "--write-project",
            "--read",
            &fixture::program().display().to_string(),
            "--server",
            &format!("fix={}", project.server_command()),
        ]);
        assert_eq!(ran.code, 0, "{ran:?}");
        project.only_policy(policy);
        project
    }

    /// A folder without a configuration, the fixture at hand.
    pub fn bare() -> Self {
        let folder = tempfile::Builder::new().prefix("bw").tempdir().expect("a folder for the test");
        let project = Self { folder };
        std::fs::create_dir_all(project.folder.path().join("home")).expect("a fresh folder");
        std::fs::create_dir_all(project.fixture()).expect("a fresh folder");
        project.offer(&fixture::tools());
        fixture::install(&project.fixture());
        project
    }

    /// The command line that starts the fixture.
    pub fn server_command(&self) -> String {
        format!("/bin/sh {}", self.fixture().join("serve.sh").display())
    }

    pub fn path(&self) -> PathBuf {
        self.folder.path().join("project")
    }
    pub fn config(&self) -> PathBuf {
        self.path().join(".bailiwick")
    }
    pub fn state(&self) -> PathBuf {
        self.folder.path().join("state")
    }
    pub fn journal_folder(&self) -> PathBuf {
        self.state().join("journal")
    }
    pub fn fixture(&self) -> PathBuf {
        self.path().join("fixture")
    }

    /// What the fixture offers from its next listing on.
    pub fn offer(&self, tools: &Value) {
        std::fs::write(self.fixture().join("tools.json"), tools.to_string()).expect("the fixture's folder");
    }

    /// Makes `policy` the only policy.
    pub fn only_policy(&self, policy: &str) {
        let folder = self.config().join("policy");
        drop(std::fs::remove_dir_all(&folder));
        std::fs::create_dir_all(&folder).expect("the policy folder");
        std::fs::write(folder.join("test.cedar"), policy).expect("the policy file");
    }

    /// Has results shown as servers wrote them.
    pub fn unmarked(&self) {
        let path = self.config().join("bailiwick.toml");
        let text = std::fs::read_to_string(&path).expect("a configuration");
        std::fs::write(&path, text + "\n[marks]\nmode = \"off\"\n").expect("the configuration");
    }

    /// Sets a key of the `[gate]` table.
    pub fn set(&self, key: &str, value: &str) {
        let path = self.config().join("bailiwick.toml");
        let text = std::fs::read_to_string(&path).expect("a configuration");
        let start = format!("{key} = ");
        let mut found = false;
        let lines = text.lines().map(|line| {
            if line.starts_with(&start) {
                found = true;
                format!("{start}{value}")
            } else {
                line.to_owned()
            }
        });
        let mut text = lines.collect::<Vec<_>>().join("\n") + "\n";
        if !found {
            text = text.replacen("[gate]\n", &format!("[gate]\n{start}{value}\n"), 1);
        }
        std::fs::write(&path, text).expect("the configuration");
    }

    /// The binary, pointed at this project.
    pub fn bailiwick(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bailiwick"));
        self.point(&mut command);
        command
    }

    /// Points a command at this project.
    pub fn point(&self, command: &mut Command) {
        command
            .current_dir(self.path())
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.folder.path().join("home"))
            .env("USER", "tester")
            .env("BAILIWICK_DIR", self.config())
            .env("BAILIWICK_STATE", self.state());
    }

    /// Runs a command to its end.
    pub fn run(&self, args: &[&str]) -> Ran {
        self.run_with(args, b"")
    }

    /// The same with standard input.
    pub fn run_with(&self, args: &[&str], input: &[u8]) -> Ran {
        finish(self.bailiwick().args(args), input)
    }

    /// Runs a command that prints JSON.
    pub fn json(&self, args: &[&str]) -> Value {
        let ran = self.run(args);
        serde_json::from_str(&ran.out).unwrap_or_else(|error| panic!("{args:?}: {error}: {ran:?}"))
    }

    /// Every record of the journal, oldest first.
    pub fn journal(&self) -> Vec<Value> {
        let records = self.json(&["journal", "show", "--json"]);
        records.as_array().cloned().expect("a list of records")
    }

    /// The records of one kind.
    pub fn records(&self, kind: &str) -> Vec<Value> {
        self.journal().into_iter().filter(|record| record["kind"] == kind).collect()
    }

    /// The same once there are `count` of them: what has already happened is written without being waited for.
    pub fn noted(&self, kind: &str, count: usize) -> Vec<Value> {
        eventually(&format!("{count} records of {kind} are written"), || {
            Some(self.records(kind)).filter(|found| found.len() >= count)
        })
    }

    /// Whether the journal verifies with its public key.
    pub fn verifies(&self) -> Ran {
        self.run(&["journal", "verify"])
    }

    /// The calls that reached the fixture.
    pub fn effects(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(self.fixture().join("effects")).unwrap_or_default();
        text.lines().map(|line| serde_json::from_str(line).expect("the fixture writes whole lines")).collect()
    }

    /// The marks of those calls.
    pub fn marks(&self) -> Vec<String> {
        self.effects()
            .iter()
            .filter_map(|effect| effect["arguments"]["mark"].as_str().map(str::to_owned))
            .collect()
    }

    /// Approvals that wait.
    pub fn pending(&self) -> Vec<Value> {
        let all = self.json(&["approvals", "list", "--json"]);
        let all = all.as_array().cloned().expect("a list of approvals");
        all.into_iter().filter(|approval| approval["state"] == "pending").collect()
    }

    /// The only approval that waits, once there is one.
    pub fn asked(&self) -> Value {
        eventually("an approval waits", || match self.pending().as_slice() {
            [] => None,
            [one] => Some(one.clone()),
            more => panic!("more than one approval waits: {more:?}"),
        })
    }

    pub fn grant(&self, approval: &Value) -> Ran {
        self.run(&["approvals", "grant", approval["id"].as_str().expect("an id")])
    }
}

/// Runs a command to its end with this standard input.
pub fn finish(command: &mut Command, input: &[u8]) -> Ran {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary starts");
    let mut stdin = child.stdin.take().expect("a pipe");
    let input = input.to_vec();
    // A command may end before it has read everything.
    let writing = std::thread::spawn(move || drop(stdin.write_all(&input)));
    let output = child.wait_with_output().expect("the binary ends");
    writing.join().expect("the writer ends");
    Ran {
        code: output.status.code().unwrap_or(-1),
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// The id in a grant that was signed beforehand.
pub fn token_id(token: &str) -> String {
    use base64::Engine;
    let payload = token.split('.').nth(1).expect("a payload");
    let payload = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(payload).expect("base64url");
    serde_json::from_slice::<Value>(&payload).expect("JSON")["id"].as_str().expect("an id").to_owned()
}

/// Asks until there is an answer.
pub fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + Duration::from_secs(PATIENCE_SECONDS_MAX);
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < end, "it never happened that {what}");
        std::thread::sleep(Duration::from_millis(25));
    }
}

/// A running gate.
pub struct Gate {
    child: Child,
    pub url: String,
    pub token: String,
    errors: PathBuf,
}

impl Gate {
    /// Starts the gate of `project` and waits until it is open.
    pub fn start(project: &Project) -> Self {
        Self::start_by(project, project.bailiwick())
    }

    /// The same, by a command that ends up as the binary.
    pub fn start_by(project: &Project, command: Command) -> Self {
        Self::start_at(&project.path(), command)
    }

    /// The same, its log in `folder`.
    pub fn start_at(folder: &Path, mut command: Command) -> Self {
        let errors = folder.join(format!("gate-{}.err", unique()));
        let log = std::fs::File::create(&errors).expect("a log");
        let mut child = command
            .args(["serve", "--listen", "127.0.0.1:0", "--json"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .expect("the gate starts");
        let mut line = String::new();
        let out = child.stdout.take().expect("a pipe");
        BufReader::new(out).read_line(&mut line).expect("the gate's first line");
        let Ok(ready) = serde_json::from_str::<Value>(&line) else {
            drop(child.kill());
            drop(child.wait());
            panic!("the gate did not open: {line}{}", std::fs::read_to_string(&errors).unwrap_or_default());
        };
        let token =
            std::fs::read_to_string(ready["token_file"].as_str().expect("a token file")).expect("a token");
        Self { child, url: ready["url"].as_str().expect("a URL").to_owned(), token, errors }
    }

    /// Ends the gate without warning.
    pub fn kill9(mut self) {
        self.child.kill().expect("the gate was running");
        self.child.wait().expect("the gate ends");
    }

    /// Ends the gate as an operator would.
    pub fn stop(mut self) -> Option<i32> {
        let pid = i32::try_from(self.child.id())
            .ok()
            .and_then(rustix::process::Pid::from_raw)
            .expect("a process id");
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("the gate was running");
        self.child.wait().expect("the gate ends").code()
    }

    /// What it wrote to its log.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.errors).unwrap_or_default()
    }

    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("its state").is_none()
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// An MCP client on the standard streams of `bailiwick mcp`.
pub struct Client {
    child: Child,
    stdin: Option<ChildStdin>,
    lines: Receiver<String>,
    next: u64,
    /// Messages that came while another was awaited.
    early: Vec<Value>,
}

impl Client {
    /// Connects to all servers and shakes hands.
    pub fn connect(project: &Project) -> Self {
        Self::connect_to(project, &[])
    }

    /// Connects to one server or, with an empty list, to all.
    pub fn connect_to(project: &Project, server: &[&str]) -> Self {
        Self::connect_by(project.bailiwick(), server)
    }

    /// The same, by a command that is the binary.
    pub fn connect_by(command: Command, server: &[&str]) -> Self {
        let mut client = Self::open_by(command, server);
        let hello = client.request("initialize", hello());
        assert!(hello["result"]["protocolVersion"].is_string(), "{hello}");
        client.send(&json!({ "jsonrpc": "2.0", "method": "notifications/initialized" }));
        client
    }

    /// Connects without a word.
    pub fn open(project: &Project, server: &[&str]) -> Self {
        Self::open_by(project.bailiwick(), server)
    }

    fn open_by(mut command: Command, server: &[&str]) -> Self {
        let mut child = command
            .arg("mcp")
            .args(server)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .expect("the relay starts");
        let out = child.stdout.take().expect("a pipe");
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            let mut out = BufReader::new(out);
            let mut line = String::new();
            while out.read_line(&mut line).is_ok_and(|count| count > 0) {
                if sender.send(std::mem::take(&mut line)).is_err() {
                    return;
                }
            }
        });
        let stdin = child.stdin.take();
        Self { child, stdin, lines, next: 1, early: Vec::new() }
    }

    /// Sends bytes as they are; false when nobody reads them any more.
    pub fn send_bytes(&mut self, bytes: &[u8]) -> bool {
        let stdin = self.stdin.as_mut().expect("not closed yet");
        stdin.write_all(bytes).and_then(|()| stdin.flush()).is_ok()
    }

    pub fn send(&mut self, message: &Value) -> bool {
        self.send_bytes(format!("{message}\n").as_bytes())
    }

    /// Sends a request and does not wait.
    pub fn begin(&mut self, method: &str, params: Value) -> u64 {
        let id = self.next;
        self.next += 1;
        self.send(&json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params }));
        id
    }

    pub fn begin_call(&mut self, tool: &str, arguments: Value) -> u64 {
        self.begin("tools/call", json!({ "name": tool, "arguments": arguments }))
    }

    /// The next message, or nothing when the connection has ended.
    pub fn receive(&mut self) -> Option<Value> {
        match self.lines.recv_timeout(Duration::from_secs(PATIENCE_SECONDS_MAX)) {
            Ok(line) => Some(serde_json::from_str(&line).expect("the gate sends JSON lines")),
            Err(RecvTimeoutError::Disconnected) => None,
            Err(RecvTimeoutError::Timeout) => panic!("the gate sent nothing for {PATIENCE_SECONDS_MAX} s"),
        }
    }

    /// The response to `id`.
    pub fn answer(&mut self, id: u64) -> Value {
        if let Some(at) = self.early.iter().position(|message| message["id"] == id) {
            return self.early.remove(at);
        }
        loop {
            let message = self.receive().expect("the connection stands");
            if message["id"] == id && message.get("method").is_none() {
                return message;
            }
            self.early.push(message);
        }
    }

    pub fn request(&mut self, method: &str, params: Value) -> Value {
        let id = self.begin(method, params);
        self.answer(id)
    }

    pub fn call(&mut self, tool: &str, arguments: Value) -> Value {
        let id = self.begin_call(tool, arguments);
        self.answer(id)
    }

    /// The same with arguments as they are written.
    pub fn call_raw(&mut self, tool: &str, arguments: &str) -> Value {
        let id = self.next;
        self.next += 1;
        let name = json!(tool);
        let params = format!(r#"{{"name":{name},"arguments":{arguments}}}"#);
        self.send_bytes(
            format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"method\":\"tools/call\",\"params\":{params}}}\n")
                .as_bytes(),
        );
        self.answer(id)
    }

    /// The names listed.
    pub fn tools(&mut self) -> Vec<String> {
        let listed = self.request("tools/list", json!({}));
        let tools =
            listed["result"]["tools"].as_array().unwrap_or_else(|| panic!("no list: {listed}")).clone();
        tools.iter().map(|tool| tool["name"].as_str().unwrap_or_default().to_owned()).collect()
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        drop(self.stdin.take());
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// What a client says first.
pub fn hello() -> Value {
    json!({ "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": { "name": "test", "version": "1" } })
}

/// Whether a response says that the call ran.
pub fn ran(response: &Value) -> bool {
    response["result"].is_object() && response["result"]["isError"] != true
}

/// The words of a response, result or error.
pub fn words(response: &Value) -> String {
    let text = marked(response);
    let within = text.strip_prefix("<untrusted-").and_then(|rest| {
        let (name, rest) = rest.split_once(' ')?;
        rest.split_once(">\n")?.1.strip_suffix(&*format!("\n</untrusted-{name}>")).map(str::to_owned)
    });
    within.unwrap_or(text)
}

/// The same with the marks it stands between.
pub fn marked(response: &Value) -> String {
    let text = response["result"]["content"][0]["text"].as_str().or(response["error"]["message"].as_str());
    text.unwrap_or_default().to_owned()
}

/// An HTTP answer.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(found, _)| found.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    /// The JSON-RPC message in the body, whether plain or as the last event of a stream.
    pub fn message(&self) -> Value {
        let text = if self.header("content-type").is_some_and(|kind| kind.starts_with("text/event-stream")) {
            self.body.lines().filter_map(|line| line.strip_prefix("data:")).next_back().unwrap_or_default()
        } else {
            &self.body
        };
        serde_json::from_str(text.trim()).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

/// An MCP client over HTTP.
pub struct Web {
    address: String,
    token: String,
    pub session: String,
}

impl Web {
    /// Opens a session.
    pub fn connect(gate: &Gate) -> Self {
        let mut web = Self::at(gate);
        let opening = json!({ "jsonrpc": "2.0", "id": 0, "method": "initialize", "params": hello() });
        let answer = web.post(opening.to_string().as_bytes());
        assert_eq!(answer.status, 200, "{answer:?}");
        web.session = answer.header("mcp-session-id").expect("a session").to_owned();
        web
    }

    /// Knows the gate and has no session yet.
    pub fn at(gate: &Gate) -> Self {
        let address =
            gate.url.strip_prefix("http://").and_then(|rest| rest.strip_suffix("/mcp")).expect("a URL");
        Self { address: address.to_owned(), token: gate.token.clone(), session: String::new() }
    }

    /// The headers of a well-behaved client.
    pub fn headers(&self) -> Vec<(String, String)> {
        let mut headers = vec![
            ("Host".to_owned(), self.address.clone()),
            ("Authorization".to_owned(), format!("Bearer {}", self.token)),
            ("Content-Type".to_owned(), "application/json".to_owned()),
            ("Accept".to_owned(), "application/json, text/event-stream".to_owned()),
        ];
        if !self.session.is_empty() {
            headers.push(("Mcp-Session-Id".to_owned(), self.session.clone()));
        }
        headers
    }

    pub fn post(&self, body: &[u8]) -> Answer {
        self.send("POST", "/mcp", &self.headers(), body)
    }

    pub fn call(&self, tool: &str, arguments: Value) -> Value {
        let params = json!({ "name": tool, "arguments": arguments });
        let call = json!({ "jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": params });
        self.post(call.to_string().as_bytes()).message()
    }

    /// One request on a connection of its own.
    pub fn send(&self, method: &str, path: &str, headers: &[(String, String)], body: &[u8]) -> Answer {
        let mut stream = TcpStream::connect(&self.address).expect("the gate listens");
        stream.set_read_timeout(Some(Duration::from_secs(PATIENCE_SECONDS_MAX))).expect("a timeout");
        let mut head =
            format!("{method} {path} HTTP/1.1\r\nConnection: close\r\nContent-Length: {}\r\n", body.len());
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str("\r\n");
        stream.write_all(head.as_bytes()).expect("the head is read");
        // A gate that refuses early may close before it has read the whole body.
        drop(stream.write_all(body));
        let mut all = Vec::new();
        drop(stream.read_to_end(&mut all));
        parse(&all)
    }
}

fn parse(all: &[u8]) -> Answer {
    let split = all.windows(4).position(|window| window == b"\r\n\r\n");
    let split = split.unwrap_or_else(|| panic!("no HTTP answer: {}", String::from_utf8_lossy(all)));
    let head = String::from_utf8_lossy(&all[..split]).into_owned();
    let mut lines = head.lines();
    let status = lines.next().and_then(|line| line.split(' ').nth(1)?.parse().ok()).expect("a status");
    let headers: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.trim().to_owned(), value.trim().to_owned()))
        .collect();
    let chunked = headers
        .iter()
        .any(|(name, value)| name.eq_ignore_ascii_case("transfer-encoding") && value == "chunked");
    let body = if chunked { unchunked(&all[split + 4..]) } else { all[split + 4..].to_vec() };
    Answer { status, headers, body: String::from_utf8_lossy(&body).into_owned() }
}

fn unchunked(mut rest: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    while let Some(end) = rest.windows(2).position(|window| window == b"\r\n") {
        let size =
            usize::from_str_radix(String::from_utf8_lossy(&rest[..end]).trim(), 16).expect("a chunk size");
        let data = &rest[end + 2..];
        if size == 0 || data.len() < size {
            break;
        }
        body.extend_from_slice(&data[..size]);
        rest = data.get(size + 2..).unwrap_or_default();
    }
    body
}

/// A number nobody else in this process has.
pub fn unique() -> u64 {
    use std::sync::atomic::{AtomicU64, Ordering};
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}
