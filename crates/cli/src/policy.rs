//! Checks the policies of a project and the cases written beside them.

use crate::{Outcome, terminal};
use gateway::config::{Config, Place};
use gateway::gate::Rules;
use gateway::wire::control::Control;
use gateway::wire::record::Body;
use judge::policy::suggest::{Answered, GRANTED_MIN, suggest};
use judge::request::tree::Tree;
use judge::tool::ToolName;
use std::collections::{HashMap, HashSet};

#[derive(clap::Subcommand)]
pub(crate) enum Action {
    /// Load everything and report every fault with its place
    Check {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Run the case tables in `.bailiwick/cases/*.md`
    Test {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Print policies that would have answered what people were asked, for review
    Suggest {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Make the running gate load inventory and policies again
    Reload,
}

pub(crate) fn run(place: &Place, action: Action) -> anyhow::Result<Outcome> {
    let load = || {
        Ok::<_, anyhow::Error>((
            Config::load(&place.config)?,
            Rules::load(place, &Config::load(&place.config)?),
        ))
    };
    match action {
        Action::Check { json } => {
            let (_, rules) = load()?;
            match rules {
                Ok(rules) => {
                    let (policies, tools) = (rules.policy.len(), rules.inventory.tools().count());
                    if json {
                        terminal::say_json(
                            &serde_json::json!({ "ok": true, "policies": policies, "operations": tools, "digest": rules.policy.digest() }),
                        );
                    } else {
                        terminal::say(&format!("{policies} policies hold over {tools} reviewed operations"));
                        if policies == 0 {
                            terminal::say(
                                "There is no policy, so every call is denied. Write one in .bailiwick/policy/.",
                            );
                        }
                    }
                    Ok(Outcome::Done)
                }
                Err(faults) => {
                    if json {
                        terminal::say_json(&serde_json::json!({ "ok": false, "faults": faults }));
                    } else {
                        terminal::say(&faults);
                    }
                    Ok(Outcome::DoesNotHold)
                }
            }
        }
        Action::Test { json } => {
            let (config, rules) = load()?;
            let rules = rules.map_err(anyhow::Error::msg)?;
            let (count, failing) = rules.failing_cases(place, &config).map_err(anyhow::Error::msg)?;
            if json {
                terminal::say_json(&serde_json::json!({ "cases": count, "failing": failing }));
            } else {
                failing.iter().for_each(|line| terminal::say(line));
                terminal::say(&format!("{} of {count} cases hold", count - failing.len()));
            }
            Ok(if failing.is_empty() { Outcome::Done } else { Outcome::DoesNotHold })
        }
        Action::Suggest { json } => {
            let (_, rules) = load()?;
            let inventory = rules.map_err(anyhow::Error::msg)?.inventory;
            let suggestions = suggest(&answered(place)?, &inventory);
            if json {
                let rows = suggestions.iter().map(|one| {
                    serde_json::json!({ "tool": one.tool.to_string(), "answers": one.answers,
                        "policy": one.policy.as_ref().ok(), "why_not": one.policy.as_ref().err() })
                });
                terminal::say_json(&rows.collect::<Vec<_>>());
                return Ok(Outcome::Done);
            }
            if suggestions.is_empty() {
                terminal::say(&format!("Nothing was granted {GRANTED_MIN} times yet."));
            }
            for one in &suggestions {
                terminal::say(&format!("// {} was granted {} times.", one.tool, one.answers));
                match &one.policy {
                    Ok(policy) => terminal::say(policy),
                    Err(why) => {
                        terminal::say(&format!("// No policy is suggested: {}\n", terminal::safe(why)))
                    }
                }
            }
            Ok(Outcome::Done)
        }
        Action::Reload => {
            let status = crate::relay::ask(place, Control::Reload)?;
            terminal::say(&format!(
                "loaded: {} policies over {} operations",
                status["policies"], status["tools"]
            ));
            Ok(Outcome::Done)
        }
    }
}

/// What people were asked, and what they said, from the journal.
fn answered(place: &Place) -> anyhow::Result<Vec<Answered>> {
    let (mut calls, mut refused, mut all) = (HashMap::new(), HashSet::new(), Vec::new());
    crate::journal::each(&place.journal(), 0, |record| match record.body {
        Body::Asked { approval, call, .. } => drop(calls.insert(approval, call)),
        Body::Answered { approval, answer, .. } if answer == "refuse" => {
            refused.extend(calls.get(&approval).cloned());
        }
        Body::Decision(decided) if !decided.granted_by.is_empty() || refused.contains(&decided.call) => {
            let tool = decided.tool.split_once('/');
            let arguments = Tree::parse(decided.arguments.to_string().as_bytes());
            if let (Some((server, tool)), Ok(arguments)) = (tool, arguments) {
                let tool = ToolName { server: server.to_owned(), tool: tool.to_owned() };
                all.push(Answered { tool, arguments, is_granted: !decided.granted_by.is_empty() });
            }
        }
        _ => {}
    })?;
    Ok(all)
}
