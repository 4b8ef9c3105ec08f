//! What a program of this host needs to leave through the running gate's proxy. The token is in it, so it is printed for
//! whoever may speak to the gate and kept nowhere.

use crate::{Outcome, relay, terminal};
use gateway::config::Place;
use gateway::wire::control::{Control, Proxy};

fn ask(place: &Place) -> anyhow::Result<Proxy> {
    Ok(serde_json::from_value(relay::ask(place, Control::Proxy)?)?)
}

/// Prints lines for a shell, or JSON.
pub(crate) fn run(place: &Place, json: bool) -> anyhow::Result<Outcome> {
    let proxy = ask(place)?;
    if json {
        terminal::say_json(&proxy);
        return Ok(Outcome::Done);
    }
    for (name, value) in &proxy.environment {
        terminal::say(&format!("export {name}='{}'", value.replace('\'', "'\\''")));
    }
    Ok(Outcome::Done)
}

/// Where it listens and for whom.
pub(crate) fn standing(place: &Place) -> Result<String, String> {
    let proxy = ask(place).map_err(|error| format!("{error:#}"))?;
    let clients = match proxy.clients.as_str() {
        "user" => "processes of this user that are in no sandbox, and who shows the token",
        _ => "who shows the token",
    };
    Ok(format!("listens at {} for {clients}", proxy.address))
}
