//! Reviewed flows of common MCP servers, by tool name, written from their public documentation and schemas.
//! An entry counts only for a definition with exactly the arguments it knows; for any other the careful defaults stand.

use super::Definition;
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::LazyLock;

/// One page a server.
const PAGES: [&str; 15] = [
    include_str!("catalogue/everything.json"),
    include_str!("catalogue/fetch.json"),
    include_str!("catalogue/filesystem.json"),
    include_str!("catalogue/git.json"),
    include_str!("catalogue/github.json"),
    include_str!("catalogue/gitlab.json"),
    include_str!("catalogue/gmail.json"),
    include_str!("catalogue/google-drive.json"),
    include_str!("catalogue/memory.json"),
    include_str!("catalogue/playwright.json"),
    include_str!("catalogue/postgres.json"),
    include_str!("catalogue/puppeteer.json"),
    include_str!("catalogue/slack.json"),
    include_str!("catalogue/sqlite.json"),
    include_str!("catalogue/stripe.json"),
];

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Page {
    /// What the server is called here.
    server: String,
    /// Which version of which documentation it was written from.
    #[allow(dead_code, reason = "for the people who read the page")]
    source: String,
    tools: BTreeMap<String, Entry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    /// Every argument it knows, and whether a definition must have it.
    takes: BTreeMap<String, bool>,
    flow: Value,
}

static CATALOGUE: LazyLock<Vec<Page>> = LazyLock::new(|| {
    let page = |text| serde_json::from_str(text).expect("the bundled pages are JSON; a test reads them");
    PAGES.into_iter().map(page).collect()
});

/// The flow of a tool like this one, and the server it is known from.
pub(super) fn flow(definition: &Definition) -> Option<(&'static str, &'static Value)> {
    let json = definition.to_json();
    let none = serde_json::Map::new();
    let properties = json["inputSchema"]["properties"].as_object().unwrap_or(&none);
    CATALOGUE.iter().find_map(|page| {
        let entry = page.tools.get(&definition.name)?;
        let knows_all = properties.keys().all(|name| entry.takes.contains_key(name));
        let has_all = entry.takes.iter().all(|(name, must)| !must || properties.contains_key(name));
        (knows_all && has_all).then_some((page.server.as_str(), &entry.flow))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use judge::flow::Flow;
    use serde_json::json;

    fn found(name: &str, arguments: &[&str]) -> Option<&'static str> {
        let properties: serde_json::Map<_, _> =
            arguments.iter().map(|name| ((*name).to_owned(), json!({"type": "string"}))).collect();
        let definition = json!({"name": name, "inputSchema": {"type": "object", "properties": properties}});
        let definition = Definition::read(&crate::wire::frame::raw(&definition)).expect("usable");
        flow(&definition).map(|(server, _)| server)
    }

    #[test]
    fn only_the_known_arguments_make_a_tool_the_known_one() {
        let table: [(&str, &[&str], Option<&str>); 7] = [
            ("fetch", &["url"], Some("fetch")),
            ("fetch", &["url", "max_length", "raw"], Some("fetch")),
            ("fetch", &["url", "headers"], None),
            ("fetch", &[], None),
            ("create_branch", &["owner", "repo", "branch"], Some("github")),
            ("create_branch", &["project_id", "branch"], Some("gitlab")),
            ("frobnicate", &[], None),
        ];
        for (name, arguments, expected) in table {
            assert_eq!(found(name, arguments), expected, "{name} {arguments:?}");
        }
    }

    #[test]
    fn every_entry_can_be_read_and_no_definition_is_two() {
        for (at, page) in CATALOGUE.iter().enumerate() {
            for (name, entry) in &page.tools {
                Flow::read(&entry.flow).unwrap_or_else(|why| panic!("{}/{name}: {why}", page.server));
                for other in &CATALOGUE[at + 1..] {
                    let Some(twin) = other.tools.get(name) else { continue };
                    let lacks = |one: &Entry, other: &Entry| {
                        one.takes.iter().any(|(name, must)| *must && !other.takes.contains_key(name))
                    };
                    assert!(
                        lacks(entry, twin) || lacks(twin, entry),
                        "{name}: {} and {}",
                        page.server,
                        other.server
                    );
                }
            }
        }
    }

    #[test]
    fn nothing_a_server_answers_is_as_good_as_the_users_words() {
        for page in CATALOGUE.iter() {
            for (name, entry) in &page.tools {
                let words = entry.flow.to_string();
                assert!(!words.contains("\"trusted\""), "{}/{name}", page.server);
            }
        }
    }
}
