//! Says what holds on this machine and what does not, each with its remedy. It changes nothing.

use crate::{Outcome, relay, sandbox, terminal};
use gateway::config::{Config, Place};
use gateway::gate::Rules;
use gateway::wire::control::Control;
use judge::flow::{Reach, Trust};
use judge::tool::{EGRESS, Effect, Inventory, OWN, Tool};
use std::path::Path;

struct Finding {
    what: &'static str,
    holds: bool,
    detail: String,
}

/// Whether what anybody may have written and what reaches others meet in one configuration without a reader between them.
fn ingestion(config: &Config, inventory: &Inventory) -> Result<String, String> {
    if let Some(quarantine) = &config.quarantine {
        return Ok(format!("`{}` reads what nobody vouches for, without tools", quarantine.model));
    }
    let is_tool = |tool: &&Tool| {
        ![EGRESS, OWN].contains(&tool.name.server.as_str()) && !tool.name.tool.starts_with("mcp:")
    };
    let reads = |tool: &&Tool| tool.effect == Effect::Read && tool.flow.result < Trust::Vouched;
    let acts = |tool: &&Tool| tool.effect == Effect::Write && tool.reach() == Reach::Outside;
    let read = inventory.tools().filter(is_tool).find(reads);
    let act = inventory.tools().filter(is_tool).find(acts);
    match (read, act) {
        // No fault: policies can ask where values came from. But whoever set it up should know.
        (Some(read), Some(act)) => Ok(format!(
            "one agent reads what anybody may have written ({}) and acts on others ({}); `bailiwick redteam` says what that \
             costs, and a reader without tools can do the reading: docs/quarantine.md",
            read.name, act.name
        )),
        _ => Ok("nothing that reads what anybody may have written also acts on others".to_owned()),
    }
}

pub(crate) fn run(place: Option<&Place>, state: Option<&Path>, json: bool) -> anyhow::Result<Outcome> {
    let mut findings = Vec::new();
    let mut find = |what, result: Result<String, String>| {
        let holds = result.is_ok();
        let (Ok(detail) | Err(detail)) = result;
        findings.push(Finding { what, holds, detail });
    };
    match place {
        None => find(
            "configuration",
            Err("there is no .bailiwick here or above; run `bailiwick init`".to_owned()),
        ),
        Some(place) => {
            let config = Config::load(&place.config).map_err(|error| error.to_string());
            find(
                "configuration",
                config.as_ref().map(|_| place.config.display().to_string()).map_err(Clone::clone),
            );
            if let Ok(config) = &config {
                for (server, standing) in crate::login::standing(place, config) {
                    find("sign-in", standing.map(|()| format!("somebody is signed in to server `{server}`")));
                }
                let rules = Rules::load(place, config);
                find(
                    "rules",
                    rules
                        .as_ref()
                        .map(|rules| {
                            format!(
                                "{} policies over {} operations",
                                rules.policy.len(),
                                rules.inventory.tools().count()
                            )
                        })
                        .map_err(Clone::clone),
                );
                if let Ok(rules) = &rules {
                    let waiting: usize =
                        rules.lock.servers.values().map(|server| server.quarantine.len()).sum();
                    find(
                        "review",
                        if waiting == 0 {
                            Ok("nothing is in quarantine".to_owned())
                        } else {
                            Err(format!(
                                "{waiting} definitions are in quarantine; see `bailiwick inventory diff`"
                            ))
                        },
                    );
                    find("ingestion", ingestion(config, &rules.inventory));
                    find(
                        "cases",
                        match rules.failing_cases(place, config) {
                            Ok((count, failing)) if failing.is_empty() => Ok(format!("all {count} hold")),
                            Ok((_, failing)) => Err(failing.join("; ")),
                            Err(error) => Err(error),
                        },
                    );
                }
            }
            if config.is_ok_and(|config| config.proxy.is_some()) {
                find("proxy", crate::proxy::standing(place));
            }
            find(
                "private state",
                place
                    .private_state()
                    .map(|()| place.state.display().to_string())
                    .map_err(|error| error.to_string()),
            );
            find(
                "gate",
                match relay::ask(place, Control::Status) {
                    Ok(status) => Ok(format!("running at {}", status["url"].as_str().unwrap_or_default())),
                    Err(error) => Err(format!("{error:#}")),
                },
            );
        }
    }
    let layers = sandbox::layers(state);
    if let Some(place) =
        place.filter(|place| Config::load(&place.config).is_ok_and(|config| config.gate.claude_code))
    {
        let launches = matches!(layers, Ok(Ok(_)));
        for (what, result) in crate::client::standing(place.project(), launches) {
            find(what, result);
        }
    }
    match layers {
        Err(error) => find("sandbox", Err(format!("{error:#}"))),
        Ok(Err(missing)) => find("sandbox", Err(missing.to_string())),
        Ok(Ok(layers)) => {
            for layer in ::sandbox::Layer::ALL {
                match (layers.held.get(layer), layers.waived.get(layer)) {
                    (Some(how), _) => find(layer.name(), Ok(format!("{how}: {}", layer.buys()))),
                    (None, Some(found)) => find(layer.name(), Err(format!("{found}; {}", layer.remedy()))),
                    // Made only where a profile asks for it.
                    (None, None) => {}
                }
            }
        }
    }
    let all_hold = findings.iter().all(|finding| finding.holds);
    for finding in &findings {
        if json {
            terminal::say_json(
                &serde_json::json!({ "what": finding.what, "holds": finding.holds, "detail": finding.detail }),
            );
        } else {
            let mark = if finding.holds {
                terminal::coloured("holds ", 32)
            } else {
                terminal::coloured("lacks ", 33)
            };
            terminal::say(&format!("{mark} {:<14} {}", finding.what, finding.detail));
        }
    }
    Ok(if all_hold { Outcome::Done } else { Outcome::DoesNotHold })
}
