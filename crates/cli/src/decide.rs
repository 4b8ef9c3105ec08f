//! Decides on one call given as JSON, exactly as the gate would, and explains it. Nothing is recorded and nothing runs.

use crate::{Outcome, terminal};
use anyhow::Context;
use gateway::config::{Config, Place};
use gateway::facts::FileSystem;
use gateway::gate::{Rules, principal};
use judge::flow::{Provenance, Read as Answer};
use judge::label::Integrity;
use judge::policy::Decision;
use judge::request::tree::Tree;
use judge::request::{Facts, Principal, RawCall, normalize};
use judge::tool::{Inventory, ToolName};
use std::io::Read;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// A file with {"server": …, "tool": …, "arguments": {…}}, optionally "agent", "user", "groups", "phase", "said" (the user's
    /// words) and "read" ([{"server": …, "tool": …, "text": …}, …], what was answered before); - for standard input
    call: std::path::PathBuf,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(place: &Place, args: &Args) -> anyhow::Result<Outcome> {
    let config = Config::load(&place.config)?;
    let rules = Rules::load(place, &config).map_err(anyhow::Error::msg)?;
    let mut text = Vec::new();
    if args.call.as_os_str() == "-" {
        std::io::stdin().lock().read_to_end(&mut text)?;
    } else {
        text = std::fs::read(&args.call).with_context(|| args.call.display().to_string())?;
    }
    let call = Tree::parse(&text).with_context(|| args.call.display().to_string())?;
    let member = |name: &str| call.member(name).and_then(Tree::as_text).map(str::to_owned);
    let needed = |name: &str| member(name).with_context(|| format!("the call has no text member `{name}`"));
    let default = principal(&config);
    let groups = match call.member("groups") {
        Some(Tree::List(groups)) => groups.iter().filter_map(Tree::as_text).map(str::to_owned).collect(),
        _ => default.groups,
    };
    let raw = RawCall {
        principal: Principal {
            agent: member("agent").unwrap_or(default.agent),
            user: member("user").unwrap_or(default.user),
            groups,
        },
        name: ToolName { server: needed("server")?, tool: needed("tool")? },
        arguments: call.member("arguments").cloned().unwrap_or(Tree::Null),
        beside: Tree::Null,
    };
    let ground = place.zones()?;
    let phase = member("phase").unwrap_or_else(|| config.gate.phase.clone());
    let provenance = conversation(&config, &rules.inventory, &call)?;
    let facts = Facts {
        provenance: &provenance,
        now: gateway::clock::seconds(),
        cwd: &ground.workspace,
        home: &ground.home,
        zones: &ground,
        links: &FileSystem,
        phase: &phase,
        transport: "cli",
        calls_last_minute: 1,
    };
    let mut chain = Vec::new();
    let (decision, why, policies) = match normalize(raw, &rules.inventory, &facts) {
        Ok(request) => {
            if provenance.label().integrity() == Integrity::Untrusted {
                chain = request.explained().values.iter().map(ToString::to_string).collect();
            }
            let verdict = rules.policy.explained(&request, rules.policy.decide(&request));
            let policies = verdict.determining().iter().map(ToString::to_string).collect();
            (verdict.decision(), verdict.to_string(), policies)
        }
        Err(malformed) => (Decision::Deny, malformed.to_string(), Vec::<String>::new()),
    };
    if args.json {
        let answer = serde_json::json!({ "decision": decision.to_string(), "why": why, "policies": policies, "values": chain });
        terminal::say_json(&answer);
    } else {
        terminal::say(&format!("{}: {}", terminal::word(&decision.to_string()), terminal::safe(&why)));
        for line in &chain {
            terminal::say(&format!("  {}", terminal::safe(line)));
        }
    }
    Ok(if decision == Decision::Allow { Outcome::Done } else { Outcome::DoesNotHold })
}

/// The conversation that the call is said to be part of.
fn conversation(config: &Config, inventory: &Inventory, call: &Tree) -> anyhow::Result<Provenance> {
    let known = config.flow.known().map_err(anyhow::Error::msg)?;
    let mut provenance = Provenance::new(known.into());
    if let Some(said) = call.member("said").and_then(Tree::as_text) {
        provenance.hear(said);
    }
    let answers = match call.member("read") {
        Some(Tree::List(answers)) => answers.as_slice(),
        Some(_) => anyhow::bail!("`read` is not a list of {{\"server\", \"tool\", \"text\"}}"),
        None => &[],
    };
    for answer in answers {
        let text = |name: &str| {
            let text = answer.member(name).and_then(Tree::as_text).map(str::to_owned);
            text.with_context(|| format!("an answer in `read` has no text member `{name}`"))
        };
        let name = ToolName { server: text("server")?, tool: text("tool")? };
        provenance.read(&name, inventory.tool(&name), &[Answer::Text(text("text")?)]);
    }
    Ok(provenance)
}
