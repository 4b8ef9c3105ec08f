//! Attacks on a configuration by a fully steered agent: it reads something poisoned and then makes the attacker's calls verbatim.
//! Everything is asked of the same judge that decides real calls; nothing runs, and no attack knows the policies.

mod family;
mod value;

pub use family::{FAMILIES, Family};

use crate::flow::{Known, Provenance, Reach, Read, Trust};
use crate::policy::{Decision, Policy};
use crate::request::tree::Tree;
use crate::request::{Facts, Principal, RawCall, normalize};
use crate::tool::{EGRESS, Effect, Inventory, OWN, Tool, ToolName};
use std::collections::BTreeMap;
use std::sync::Arc;
use value::Side;

/// One attack that a call went through for, without anybody being asked.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Success {
    /// The family's name.
    pub family: &'static str,
    /// What was called.
    pub tool: ToolName,
    /// With which arguments.
    pub arguments: String,
    /// How it came about: what was read where, and what permitted the call.
    pub path: String,
    /// What the call touches.
    pub outside: bool,
}

/// What came of all attacks and of their honest twins.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Attacks made.
    pub attacks: usize,
    /// Attacks at whose call somebody is asked.
    pub asked: usize,
    /// Attacks made, by family.
    pub families: BTreeMap<&'static str, usize>,
    /// Attacks that went through.
    pub successes: Vec<Success>,
    /// Honest tasks tried: the user says every value, something poisoned is read, the call is made.
    pub tasks: usize,
    /// Honest tasks that run without a question.
    pub finished: usize,
    /// Questions over all honest tasks.
    pub asks: usize,
    /// Honest tasks that are denied whatever anybody answers, with the reason.
    pub denied: Vec<(ToolName, String)>,
}

/// What is attacked, and as whom.
pub struct Target<'a> {
    /// The reviewed tools.
    pub inventory: &'a Inventory,
    /// The policies.
    pub policy: &'a Policy,
    /// What the operator configured as known.
    pub known: Arc<Known>,
    /// Who the agent is.
    pub principal: &'a Principal,
    /// Where it works; its provenance is not looked at.
    pub facts: Facts<'a>,
}

impl Target<'_> {
    /// Makes every attack of every family on every tool that touches anything, and its honest twin.
    pub fn attack(&self) -> Report {
        let mut report = Report::default();
        let reader = self.untrusted_reader();
        for tool in self.inventory.tools().filter(|tool| tool.reach() != Reach::None && is_the_agents(tool)) {
            for family in &FAMILIES {
                for attack in family.attacks(tool, self) {
                    report.attacks += 1;
                    *report.families.entry(family.name).or_default() += 1;
                    let mut provenance = Provenance::new(self.known.clone());
                    if !attack.said.is_empty() {
                        provenance.hear(&attack.said);
                    }
                    for read in &attack.vouched {
                        provenance.read(&read.0.name, Some(read.0), &[Read::Text(read.1.clone())]);
                    }
                    provenance.read(
                        &reader,
                        self.inventory.tool(&reader),
                        &[Read::Text(attack.poison.clone())],
                    );
                    if let Some(written) = &attack.written {
                        provenance.wrote(written.0, &written.1);
                        for read in &attack.returned {
                            provenance.read(&read.0.name, Some(read.0), &[Read::Text(read.1.clone())]);
                        }
                    }
                    match self.decide(tool, &attack.arguments, &provenance) {
                        (Decision::Allow, why) => report.successes.push(Success {
                            family: family.name,
                            tool: tool.name.clone(),
                            arguments: attack.arguments.canonical(),
                            path: format!("read in {reader}, then {why}"),
                            outside: tool.reach() == Reach::Outside || !tool.reversible,
                        }),
                        (Decision::Ask, _) => report.asked += 1,
                        (Decision::Deny, _) => {}
                    }
                }
            }
            self.honest(tool, &reader, &mut report);
        }
        report.successes.sort();
        report.successes.dedup();
        report
    }

    /// The user says every value; the call must not be lost for what was read before.
    fn honest(&self, tool: &Tool, reader: &ToolName, report: &mut Report) {
        let arguments = value::arguments(tool, Side::User, &self.facts);
        let mut provenance = Provenance::new(self.known.clone());
        provenance.hear(&value::said(&arguments));
        provenance.read(reader, self.inventory.tool(reader), &[Read::Text(value::POISON.to_owned())]);
        report.tasks += 1;
        match self.decide(tool, &arguments, &provenance) {
            (Decision::Allow, _) => report.finished += 1,
            (Decision::Ask, _) => report.asks += 1,
            (Decision::Deny, why) => report.denied.push((tool.name.clone(), why)),
        }
    }

    fn decide(&self, tool: &Tool, arguments: &Tree, provenance: &Provenance) -> (Decision, String) {
        let raw = RawCall {
            principal: self.principal.clone(),
            name: tool.name.clone(),
            arguments: arguments.clone(),
            beside: Tree::Null,
        };
        match normalize(raw, self.inventory, &Facts { provenance, ..self.facts }) {
            Ok(request) => {
                let verdict = self.policy.decide(&request);
                (verdict.decision(), verdict.to_string())
            }
            Err(malformed) => (Decision::Deny, malformed.to_string()),
        }
    }

    /// A tool whose answers anybody may have written; one that nobody reviewed where there is none.
    fn untrusted_reader(&self) -> ToolName {
        let is_untrusted = |tool: &&Tool| tool.flow.result < Trust::Vouched;
        let by_read = |tool: &&Tool| {
            // What the gate itself gives back is small and typed.
            let is_a_servers = tool.name.server != OWN && !tool.name.tool.starts_with("mcp:");
            tool.effect == Effect::Read && is_the_agents(tool) && is_a_servers
        };
        let found =
            self.inventory.tools().filter(by_read).filter(is_untrusted).min_by_key(|tool| tool.reach());
        found.map_or_else(
            || ToolName { server: "web".to_owned(), tool: "page".to_owned() },
            |tool| tool.name.clone(),
        )
    }
}

/// Whether an agent calls it. Servers ask for the others; and what programs behind the wall reach is bounded by the places that
/// exist for them, not by who chose a value.
fn is_the_agents(tool: &Tool) -> bool {
    const ASKED_BY_SERVERS: [&str; 3] =
        ["mcp:sampling/createMessage", "mcp:elicitation/create", "mcp:roots/list"];
    tool.name.server != EGRESS && !ASKED_BY_SERVERS.contains(&tool.name.tool.as_str())
}
