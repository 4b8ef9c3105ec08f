//! Attacks the user's own configuration and says what went through and how. Nothing runs, nothing is recorded, and no promise is
//! called kept that was not tried.

use crate::{Outcome, terminal};
use gateway::config::{Config, Place};
use gateway::facts::FileSystem;
use gateway::gate::{Rules, principal};
use judge::case::CaseFile;
use judge::flow::Provenance;
use judge::redteam::{FAMILIES, Report, Success, Target};
use judge::request::Facts;
use judge::tool::Inventory;
use judge::tool::ToolName;
use serde_json::json;
use std::collections::BTreeMap;
use std::path::Path;

/// Successes printed in full.
const SHOWN_MAX: usize = 40;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Only say what the families are
    #[arg(long)]
    families: bool,
}

pub(crate) fn run(place: &Place, args: &Args) -> anyhow::Result<Outcome> {
    if args.families {
        FAMILIES.iter().for_each(|family| terminal::say(&format!("{:<12} {}", family.name, family.idea)));
        return Ok(Outcome::Done);
    }
    let config = Config::load(&place.config)?;
    let rules = Rules::load(place, &config).map_err(anyhow::Error::msg)?;
    let unknown = config
        .accepted
        .keys()
        .find(|name| !rules.inventory.tools().any(|tool| tool.name.to_string() == **name));
    if let Some(name) = unknown {
        anyhow::bail!("[accepted] names `{name}`, which is not a reviewed tool; remove the line");
    }
    let ground = place.zones()?;
    let facts = Facts {
        now: gateway::clock::seconds(),
        cwd: &ground.workspace,
        home: &ground.home,
        zones: &ground,
        links: &FileSystem,
        phase: &config.gate.phase,
        transport: "cli",
        calls_last_minute: 1,
        provenance: Provenance::blank(),
    };
    let principal = principal(&config);
    // Where there is one phase there is no other to go to, and the tool is offered to nobody.
    let has_phases = config.phase.len() > 1;
    let offered = rules.inventory.tools().filter(|tool| has_phases || tool.name != gateway::phases::name());
    let inventory = Inventory::new(offered.cloned());
    let target = Target {
        inventory: &inventory,
        policy: &rules.policy,
        known: config.flow.known().map_err(anyhow::Error::msg)?.into(),
        principal: &principal,
        facts,
    };
    let report = target.attack();
    let (pages, failing) = own_pages(&place.config.join("attacks"), &target)?;
    let is_accepted = |success: &&Success| config.accepted.contains_key(&success.tool.to_string());
    let broken: Vec<&Success> =
        report.successes.iter().filter(|success| success.outside && !is_accepted(success)).collect();
    if args.json {
        terminal::say_json(&as_json(&report, &broken, pages, &failing));
    } else {
        print(&report, &broken, &config, pages, &failing);
    }
    Ok(if broken.is_empty() && failing.is_empty() { Outcome::Done } else { Outcome::DoesNotHold })
}

/// The user's own attacks: pages of cases in `folder`, each row with the decision it must get.
fn own_pages(folder: &Path, target: &Target<'_>) -> anyhow::Result<(usize, Vec<String>)> {
    let (mut count, mut failing) = (0, Vec::new());
    for (path, text) in gateway::gate::files(folder, "md").map_err(anyhow::Error::msg)? {
        let page = CaseFile::parse(&text).map_err(|error| anyhow::anyhow!("{}: {error}", path.display()))?;
        for case in page.cases {
            count += 1;
            if let Err(broken) =
                case.check(target.inventory, target.policy, target.principal.clone(), target.facts)
            {
                failing.push(format!("{}:{broken}", path.display()));
            }
        }
    }
    Ok((count, failing))
}

fn as_json(report: &Report, broken: &[&Success], pages: usize, failing: &[String]) -> serde_json::Value {
    let success = |success: &Success| {
        json!({ "family": success.family, "tool": success.tool.to_string(), "arguments": success.arguments,
            "path": success.path, "outside": success.outside })
    };
    let denied: Vec<_> =
        report.denied.iter().map(|(tool, why)| json!({ "tool": tool.to_string(), "why": why })).collect();
    json!({
        "attacks": report.attacks, "families": report.families, "asked": report.asked,
        "succeeded": report.successes.iter().map(success).collect::<Vec<_>>(),
        "broken": broken.iter().map(|one| success(one)).collect::<Vec<_>>(),
        "tasks": report.tasks, "finished": report.finished, "asks": report.asks, "denied": denied,
        "own_cases": pages, "own_cases_failing": failing,
    })
}

fn print(report: &Report, broken: &[&Success], config: &Config, pages: usize, failing: &[String]) {
    terminal::say(&format!(
        "{} attacks of {} families on every tool that touches something: {} went through, {} would have been asked about.",
        report.attacks,
        report.families.len(),
        report.successes.len(),
        report.asked
    ));
    terminal::say(&format!(
        "{} honest tasks beside them: {} run without a question, {} are asked about, {} are denied.",
        report.tasks,
        report.finished,
        report.asks,
        report.denied.len()
    ));
    for (tool, why) in report.denied.iter().take(SHOWN_MAX) {
        terminal::say(&format!("  denied even so: {tool}: {}", terminal::safe(why)));
    }
    // One example of each family and tool says enough.
    let mut kinds: BTreeMap<(&ToolName, &str), (&Success, usize)> = BTreeMap::new();
    for success in &report.successes {
        kinds.entry((&success.tool, success.family)).or_insert((success, 0)).1 += 1;
    }
    for (success, count) in kinds.values().take(SHOWN_MAX) {
        let accepted = config.accepted.get(&success.tool.to_string());
        let word = match (accepted, success.outside) {
            (Some(reason), _) => format!("accepted ({reason})"),
            (None, true) => "WENT THROUGH".to_owned(),
            (None, false) => "went through, inside only".to_owned(),
        };
        terminal::say(&format!(
            "{} ({count} x {}): {} {}\n    {}",
            terminal::safe(&word),
            success.family,
            success.tool,
            terminal::safe(&success.arguments),
            terminal::safe(&success.path)
        ));
    }
    if kinds.len() > SHOWN_MAX {
        terminal::say(&format!("and {} more kinds; see --json", kinds.len() - SHOWN_MAX));
    }
    if pages > 0 {
        terminal::say(&format!("{pages} cases of your own: {} do not hold", failing.len()));
        failing.iter().for_each(|line| terminal::say(&format!("  {}", terminal::safe(line))));
    }
    if broken.is_empty() && failing.is_empty() {
        terminal::say("No attack of this set got anything out or did anything that cannot be taken back.");
    } else {
        terminal::say(
            "Where a call may run whoever chose its values, ask for `context.flow.fits || context.approved` in the policy \
             that permits it, or accept it under [accepted] in bailiwick.toml with the reason.",
        );
    }
}
