//! Checks the policies of a project and the cases written beside them.

use crate::{Outcome, terminal};
use gateway::config::{Config, Place};
use gateway::gate::Rules;
use gateway::wire::control::Control;

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
