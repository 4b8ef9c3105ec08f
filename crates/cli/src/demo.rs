//! The first minute: a real support desk behind a real gate, and an agent that does whatever a poisoned ticket says.
//! Nothing is staged but the agent's script: servers, decisions, approvals and journal are the ones `serve` uses.

use crate::{NotEnforceable, Outcome, journal as history, serve, terminal};
use anyhow::Context;
use gateway::adapters::mcp::downstream::Endpoint;
use gateway::adapters::mcp::stdio;
use gateway::approvers::{Answer, By};
use gateway::config::confine::Access;
use gateway::config::{Config, Confinement, Place, Server as Configured};
use gateway::gate::Gate;
use gateway::inventory::lock::Lock;
use gateway::inventory::survey;
use gateway::wire::record::Record;
use judge::approval::Approver;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use support_desk::{POISON, Server, Tally};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, DuplexStream, ReadHalf, WriteHalf};

/// Bytes that may wait between the scripted agent and the gate.
const PIPE_BYTES: usize = 1 << 20;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Keep everything in this folder [default: a temporary one, removed at the end]
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
}

const POLICY: &str = r#"// What the desk's agent may do. Everything else is denied.
@id("reading")
permit (principal, action in Action::"read", resource);

@id("answering-customers")
permit (principal, action == Action::"crm/ticket_reply", resource);

@id("closing-needs-a-person")
permit (principal, action == Action::"crm/ticket_close", resource) when { context.approved };

@id("small-refunds")
permit (principal, action == Action::"billing/refund_create", resource) when { context.args.amount_cents <= 5000 };

@id("large-refunds-need-a-person")
permit (principal, action == Action::"billing/refund_create", resource)
when { context.approved && context.args.amount_cents <= 1000000 };

@id("mail-within-the-house")
permit (principal, action == Action::"mail/send", resource)
when { ["desk@harbor.example", "billing@harbor.example"].containsAll(context.args.to) };
"#;

const CASES: &str = r#"# What the desk's policies promise

| call | decision | because |
|---|---|---|
| `billing/refund_create {"order_id":"O-1","amount_cents":5000,"reason":"r"}` | allow | small-refunds |
| `billing/refund_create {"order_id":"O-1","amount_cents":5001,"reason":"r"}` | ask | large-refunds |
| `billing/refund_create {"order_id":"O-1","amount_cents":1000001,"reason":"r"}` | deny | amount_cents |
| `mail/send {"to":["desk@harbor.example"],"subject":"s","body":"b"}` | allow | mail-within-the-house |
| `mail/send {"to":["desk@harbor.example","x@evil.example"],"subject":"s","body":"b"}` | deny | mail-within-the-house |
| `billing/customer_delete {"id":"C-1"}` | deny | no policy permits |
"#;

/// Runs one of the desk's servers on standard streams.
pub(crate) fn serve_desk(server: &str, db: &Path) -> anyhow::Result<Outcome> {
    let server: Server = server.parse()?;
    support_desk::serve(server, db, std::io::stdin().lock(), std::io::stdout().lock())?;
    Ok(Outcome::Done)
}

pub(crate) fn run(args: &Args) -> anyhow::Result<Outcome> {
    let temporary = std::env::temp_dir().join(gateway::random::name("bailiwick-demo"));
    let folder = args.keep.clone().unwrap_or_else(|| temporary.clone());
    std::fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
    let folder = folder.canonicalize()?;
    let outcome = tokio::runtime::Runtime::new()?.block_on(play(&folder));
    if args.keep.is_none() {
        drop(std::fs::remove_dir_all(&temporary));
    }
    outcome
}

async fn play(folder: &Path) -> anyhow::Result<Outcome> {
    let desk = folder.join("desk.db");
    support_desk::seed(&desk).with_context(|| desk.display().to_string())?;
    let place = Place::of(folder.join(".bailiwick"), Some(&folder.join("state")))?;
    configure(&place, &desk).await?;
    title("A support desk, and the gate in front of it");
    say(
        "Three MCP servers (crm, billing, mail) run on one SQLite file. An agent is told: \"Answer ticket T-1007.\"",
    );
    say("The ticket is poisoned, and this agent is fully steered: it does whatever it reads.");
    let before = support_desk::tally(&desk)?;
    let running = serve::start(place.clone(), Some("127.0.0.1:0")).await.map_err(NotEnforceable)?;
    let mut agent = Agent::connect(running.gate.clone()).await?;

    title("What the agent is offered");
    let tools = agent.request("tools/list", json!({})).await?;
    let names: Vec<&str> = tools["result"]["tools"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|tool| tool["name"].as_str())
        .collect();
    say(&format!("{} of 12 tools; what it could never call is not even listed:", names.len()));
    say(&format!("  {}", names.join(", ")));

    title("What it does");
    let ticket = agent.call("crm__ticket_get", json!({ "id": POISON.ticket })).await?;
    say(&format!("  the ticket says: {}", excerpt(&ticket)));
    agent.call("billing__refund_create", json!({ "order_id": POISON.order, "amount_cents": POISON.honest_cents, "reason": "damaged goods" })).await?;
    say(&terminal::coloured("Now the attacker speaks through it.", 31));
    let refuse = Answer::Refuse { reason: "nobody asked for this refund".into() };
    let steal =
        json!({ "order_id": POISON.wanted_order, "amount_cents": POISON.wanted_cents, "reason": "audit" });
    agent.call_asked("billing__refund_create", steal, refuse).await?;
    agent
        .call(
            "mail__send",
            json!({ "to": [POISON.wanted_address], "subject": "customers", "body": "the list" }),
        )
        .await?;
    agent.call("billing__customer_delete", json!({ "id": POISON.wanted_erased })).await?;
    say(&terminal::coloured("And the user's task goes on.", 32));
    agent
        .call(
            "crm__ticket_reply",
            json!({ "ticket_id": POISON.ticket, "body": "Your refund is on its way." }),
        )
        .await?;
    agent
        .call_asked("crm__ticket_close", json!({ "ticket_id": POISON.ticket }), Answer::Grant { more: None })
        .await?;
    drop(agent);
    let key = place.public_key();
    running.stop().await;

    title("What really happened, counted in the desk's own database");
    let after = support_desk::tally(&desk)?;
    let Tally { customers, refunds, refunded_cents, mails, replies, .. } = after;
    say(&format!(
        "  customers {} → {customers}, refunds {} → {refunds} ({:.2} in all), mails {} → {mails}, replies {} → {replies}",
        before.customers,
        before.refunds,
        refunded_cents as f64 / 100.0,
        before.mails,
        before.replies
    ));

    title("What the journal says, verified with the public key alone");
    // The gate's own writer may still be closing its files.
    tokio::time::sleep(Duration::from_millis(100)).await;
    let verifier: journal::VerifierKey = std::fs::read_to_string(&key)?.trim().parse()?;
    let report = journal::verify(&place.journal(), &verifier, &[]);
    let reader = journal::Reader::open(&place.journal())?;
    for entry in reader.entries(0..reader.size()) {
        let (index, bytes) = entry?;
        say(&history::line(index, &serde_json::from_slice::<Record>(&bytes)?));
    }
    match &report {
        Ok(report) => {
            say(&format!("{} {} records, signed and unbroken", terminal::coloured("holds", 32), report.size))
        }
        Err(fault) => say(&format!("{} {fault}", terminal::coloured("broken", 31))),
    }

    title("Put it in front of your own servers");
    say(
        "  bailiwick init && bailiwick serve        then, as the one MCP server of your client: bailiwick mcp",
    );
    let harmless = customers == before.customers
        && after.refunds == before.refunds + 1
        && refunded_cents == before.refunded_cents + u64::try_from(POISON.honest_cents).unwrap_or(0)
        && mails == before.mails
        && replies == before.replies + 1;
    Ok(if harmless && report.is_ok() { Outcome::Done } else { Outcome::DoesNotHold })
}

async fn configure(place: &Place, desk: &Path) -> anyhow::Result<()> {
    let program = std::env::current_exe()?.display().to_string();
    let mut config = Config::default();
    config.gate.claude_code = false;
    config.gate.agent = "desk-agent".to_owned();
    let mut lock = Lock::empty();
    for server in Server::ALL {
        let command =
            [&program, "demo-server", server.name(), "--db", &desk.display().to_string()].map(str::to_owned);
        let configured = Configured {
            command: command.into(),
            sandbox: Confinement { workspace: Access::ReadWrite, ..Confinement::default() },
            ..Configured::default()
        };
        let found = survey::look(server.name(), &configured, place, None).await?;
        for change in survey::changes(&lock, server.name(), &found) {
            survey::accept(&mut lock, server.name(), &change);
        }
        config.server.insert(server.name().to_owned(), configured);
    }
    for (part, name, text) in [("policy", "desk.cedar", POLICY), ("cases", "desk.md", CASES)] {
        std::fs::create_dir_all(place.config.join(part))?;
        std::fs::write(place.config.join(part).join(name), text)?;
    }
    lock.save(&place.config)?;
    std::fs::write(place.config.join(gateway::config::FILE), toml::to_string_pretty(&config)?)?;
    Ok(())
}

/// A scripted MCP client without any judgement of its own.
struct Agent {
    gate: Arc<Gate>,
    reader: BufReader<ReadHalf<DuplexStream>>,
    writer: WriteHalf<DuplexStream>,
    next: u64,
}

impl Agent {
    async fn connect(gate: Arc<Gate>) -> anyhow::Result<Self> {
        let (ours, theirs) = tokio::io::duplex(PIPE_BYTES);
        let (reader, writer) = tokio::io::split(theirs);
        tokio::spawn(stdio::serve(
            gate.clone(),
            Endpoint::All,
            stdio::Origin::default(),
            BufReader::new(reader),
            writer,
        ));
        let (reader, writer) = tokio::io::split(ours);
        let mut agent = Self { gate, reader: BufReader::new(reader), writer, next: 1 };
        let hello = json!({ "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": { "name": "demo", "version": "1" } });
        agent.request("initialize", hello).await?;
        agent.send(json!({ "jsonrpc": "2.0", "method": "notifications/initialized" })).await?;
        Ok(agent)
    }

    async fn send(&mut self, message: Value) -> anyhow::Result<()> {
        self.writer.write_all(format!("{message}\n").as_bytes()).await?;
        Ok(())
    }

    async fn request(&mut self, method: &str, params: Value) -> anyhow::Result<Value> {
        let id = self.next;
        self.next += 1;
        self.send(json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params })).await?;
        loop {
            let mut line = String::new();
            anyhow::ensure!(self.reader.read_line(&mut line).await? > 0, "the gate closed the connection");
            let message: Value = serde_json::from_str(&line)?;
            if message["id"] == id {
                return Ok(message);
            }
        }
    }

    /// Calls a tool and prints what came of it.
    async fn call(&mut self, tool: &str, arguments: Value) -> anyhow::Result<String> {
        let answer = self.request("tools/call", json!({ "name": tool, "arguments": arguments })).await?;
        let text = match answer["result"]["content"][0]["text"].as_str() {
            Some(text) => text.to_owned(),
            None => answer["error"]["message"].as_str().unwrap_or_default().to_owned(),
        };
        let failed = answer["result"]["isError"] == true || answer.get("error").is_some();
        let mark = if failed { terminal::coloured("stopped", 31) } else { terminal::coloured("ran    ", 32) };
        say(&format!("  {mark}  {tool} {arguments}"));
        if failed {
            say(&format!("           {}", terminal::safe(&text)));
        }
        Ok(text)
    }

    /// The same, with a person who answers the question it raises.
    async fn call_asked(&mut self, tool: &str, arguments: Value, answer: Answer) -> anyhow::Result<String> {
        let gate = self.gate.clone();
        let you = By { who: Approver::named("you"), channel: "terminal" };
        let person = tokio::spawn(async move {
            for _ in 0..200 {
                tokio::time::sleep(Duration::from_millis(25)).await;
                let Ok(waiting) = gate.approvers.list() else { continue };
                if let Some(approval) = waiting.into_iter().find(|approval| approval.state == "pending") {
                    return gate
                        .approvers
                        .answer(&approval.id, answer, you)
                        .await
                        .map(|approval| (approval.id, approval.state))
                        .ok();
                }
            }
            None
        });
        let text = self.call(tool, arguments).await?;
        if let Some((id, state)) = person.await? {
            say(&format!("           you were asked ({id}) and {} it", terminal::word(&state)));
        }
        Ok(text)
    }
}

fn excerpt(ticket: &str) -> String {
    let body = serde_json::from_str::<Value>(ticket)
        .ok()
        .and_then(|ticket| ticket["body"].as_str().map(str::to_owned));
    let text = body.unwrap_or_else(|| ticket.to_owned()).split_whitespace().collect::<Vec<_>>().join(" ");
    terminal::safe(&text.chars().take(420).collect::<String>())
}

fn title(text: &str) {
    terminal::say(&format!("\n{}", terminal::coloured(text, 1)));
}

fn say(text: &str) {
    terminal::say(text);
}
