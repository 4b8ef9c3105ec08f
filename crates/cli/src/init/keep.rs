//! What becomes of keys once somebody agreed: values go into the store, configurations name them, clients reach their servers through the
//! gate. Files that programs read themselves are never written; they are hidden from the sandboxes instead.

use super::keys::{Keyed, Part, ServerKey};
use super::record::Change;
use gateway::config::Server;
use gateway::config::clients::Found;
use gateway::config::secret::{Expose, Place, Secret as Setting, Use};
use serde_json::value::RawValue;
use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use vault::{NAME_BYTES_MAX, Secret, SecretName, Store, Unlock};
use zeroize::Zeroizing;

/// Most names that are tried for one secret.
const NAMES_MAX: usize = 1_000;

/// Variables whose secrets the launcher looks for by other names than their own.
const RENAMED: [(&str, &str); 1] = [("CLAUDE_CODE_OAUTH_TOKEN", "claude-oauth-token")];

/// The store, and the names under which it will hold what is stored.
pub(super) struct Keeping {
    folder: PathBuf,
    store: Option<Store>,
    named: Vec<(SecretName, Zeroizing<Vec<u8>>)>,
    /// Names that the store does not hold yet.
    pub(super) fresh: Vec<SecretName>,
}

impl Keeping {
    pub(super) fn open(folder: &Path) -> anyhow::Result<Self> {
        let store = match folder.join("secrets.vault").exists() {
            true => Some(Store::open(folder, Unlock::KeyFile(Store::key_file(folder)))?),
            false => None,
        };
        Ok(Self { folder: folder.to_owned(), store, named: Vec::new(), fresh: Vec::new() })
    }

    /// Whether the store holds `name`, or will.
    pub(super) fn holds(&self, name: &str) -> bool {
        let held = |store: &Store| SecretName::new(name).is_ok_and(|name| store.peek(&name, None).is_ok());
        self.named.iter().any(|(known, _)| known.as_str() == name) || self.store.as_ref().is_some_and(held)
    }

    /// The name under which `value` is kept: one that has it already, or `wanted`, with a number where that is another's.
    pub(super) fn name(&mut self, wanted: &str, value: &[u8]) -> anyhow::Result<SecretName> {
        if let Some((name, _)) = self.named.iter().find(|(_, known)| known.as_slice() == value) {
            return Ok(name.clone());
        }
        for number in 1..=NAMES_MAX {
            let name = plain(wanted, number)?;
            if self.named.iter().any(|(known, _)| *known == name) {
                continue;
            }
            let held = self.store.as_ref().map(|store| store.peek(&name, None));
            match held {
                Some(Ok(held)) if held.value.expose(|held| held != value) => continue,
                Some(Ok(_)) => {}
                Some(Err(vault::StoreError::Absent(_))) | None => self.fresh.push(name.clone()),
                Some(Err(error)) => return Err(error.into()),
            }
            self.named.push((name.clone(), Zeroizing::new(value.to_vec())));
            return Ok(name);
        }
        anyhow::bail!(
            "the store holds too many secrets called `{wanted}`; remove some with `bailiwick secret rm`"
        )
    }

    /// Stores what the store does not hold yet.
    pub(super) fn store(&self) -> anyhow::Result<()> {
        if self.fresh.is_empty() {
            return Ok(());
        }
        let store = Store::open(&self.folder, Unlock::KeyFile(Store::key_file(&self.folder)))?;
        for (name, value) in self.named.iter().filter(|(name, _)| self.fresh.contains(name)) {
            store.set(name, &Secret::copy_of(value)?)?;
        }
        Ok(())
    }
}

/// A name of the store from a variable's or a header's.
fn plain(wanted: &str, number: usize) -> anyhow::Result<SecretName> {
    let renamed = RENAMED.iter().find(|(variable, _)| *variable == wanted).map(|(_, name)| *name);
    let folded = renamed.unwrap_or(wanted).chars().map(|c| match c {
        c if c.is_ascii_alphanumeric() => c.to_ascii_lowercase(),
        _ => '-',
    });
    let folded: String = folded.collect();
    let folded = folded.trim_matches('-');
    let folded = if folded.is_empty() { "key" } else { folded };
    let tail = if number > 1 { format!("-{number}") } else { String::new() };
    let room = NAME_BYTES_MAX - tail.len();
    Ok(SecretName::new(&format!("{}{tail}", &folded[..folded.len().min(room)]))?)
}

/// Puts names in place of the values that `server` has, and in `secrets` where they may go. What says otherwise why not.
pub(super) fn by_name(
    name: &str,
    server: &mut Server,
    keys: &[ServerKey],
    keeping: &mut Keeping,
    secrets: &mut BTreeMap<String, Setting>,
) -> anyhow::Result<Result<(), String>> {
    if let Some(fixed) = keys.iter().find_map(|key| match key.part {
        Part::Fixed(what) => Some(what),
        Part::Variable(_) | Part::Header(_) => None,
    }) {
        let why =
            format!("{fixed} holds a key, where the gate can put none in; give it as a variable or a header");
        return Ok(Err(why));
    }
    let address = server.url.as_deref().map(host);
    let mut places = Vec::new();
    for key in keys {
        let Part::Header(header) = &key.part else { continue };
        let value = server.headers.get(header).map_or("", String::as_str);
        let host = match &address {
            Some(Ok(host)) => host.clone(),
            Some(Err(why)) => return Ok(Err((*why).to_owned())),
            None => continue,
        };
        let prefix = &value[..key.at.start];
        let place = match (header.to_ascii_lowercase().as_str(), prefix) {
            ("authorization", "Bearer ") => Place::Bearer,
            (_, "") => Place::Header(header.clone()),
            (_, prefix) => Place::PrefixedHeader { name: header.clone(), prefix: prefix.to_owned() },
        };
        let at = Use { host, place, ..everywhere() };
        if let Err(why) = at.binding() {
            return Ok(Err(why));
        }
        places.push(at);
    }
    let mut places = places.into_iter();
    // The last first, so that places before it stay where they are.
    let mut ordered: Vec<&ServerKey> = keys.iter().collect();
    ordered.sort_by_key(|key| std::cmp::Reverse(key.at.start));
    for key in ordered {
        let (text, wanted) = match &key.part {
            Part::Variable(variable) => (server.env.get_mut(variable), variable.clone()),
            Part::Header(header) => (server.headers.get_mut(header), format!("{name}-{header}")),
            Part::Fixed(_) => continue,
        };
        let secret = keeping.name(&wanted, &key.key.value)?;
        if let Some(text) = text {
            text.replace_range(key.at.clone(), &format!("${{secret:{secret}}}"));
        }
        let setting = secrets.entry(secret.as_str().to_owned()).or_default();
        match &key.part {
            Part::Header(_) => setting.uses.extend(places.next()),
            _ => setting.expose = Expose::Process,
        }
    }
    Ok(Ok(()))
}

/// A use without limits but the host's.
fn everywhere() -> Use {
    Use {
        host: String::new(),
        methods: Vec::new(),
        paths: Vec::new(),
        place: Place::Bearer,
        always: false,
        capture: Vec::new(),
    }
}

/// One place for a secret of an agent.
pub(super) fn at(host: &str, place: Place) -> Use {
    Use { host: host.to_owned(), place, ..everywhere() }
}

/// The host of an address to which secrets may go, with its port where that is not 443.
fn host(url: &str) -> Result<String, &'static str> {
    let rest = url
        .strip_prefix("https://")
        .ok_or("the gate puts secrets only into https, and its address is not")?;
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let host = &rest[..end];
    if host.is_empty() || host.contains('@') {
        return Err("its address names no plain host");
    }
    Ok(host.strip_suffix(":443").unwrap_or(host).to_owned())
}

/// Stores what lies in `files`, and says which names it has.
pub(super) fn guard(files: &[Keyed], keeping: &mut Keeping) -> anyhow::Result<Vec<SecretName>> {
    let mut names = Vec::new();
    for (_, key) in files.iter().flat_map(|file| &file.keys) {
        names.push(keeping.name(&key.name, &key.value)?);
    }
    Ok(names)
}

/// How a client reaches `server` through the gate.
pub(super) fn through_the_gate(server: &str, program: &str, options: &[String]) -> serde_json::Value {
    let words = options.iter().map(String::as_str).chain(["mcp", "--start", server]);
    serde_json::json!({ "type": "stdio", "command": program, "args": words.collect::<Vec<_>>() })
}

/// Client files of the project in which the gate takes the place of servers: `entries` are those, with what stands for each.
pub(super) fn changes(
    project: &Path,
    entries: &[(&Found, serde_json::Value)],
    say: &mut dyn FnMut(String),
) -> Vec<Change> {
    let mut files: BTreeMap<&Path, Vec<(&Found, &serde_json::Value)>> = BTreeMap::new();
    for (found, value) in entries {
        files.entry(&found.file).or_default().push((found, value));
    }
    let mut changes = Vec::new();
    for (path, entries) in files {
        match Change::of(path, project, |before| rewritten(before, &entries)) {
            Ok(change) => changes.push(change),
            Err(why) => say(format!("left     {}: {why}; its keys stay there too", path.display())),
        }
    }
    changes
}

/// `before` with other values for some members, and everything else byte for byte as it was.
fn rewritten(before: &[u8], entries: &[(&Found, &serde_json::Value)]) -> Result<Vec<u8>, String> {
    let text = std::str::from_utf8(before).map_err(|_| "is not UTF-8".to_owned())?;
    let json = text.trim_start_matches('\u{feff}');
    let offset = text.len() - json.len();
    let mut wanted: serde_json::Value = serde_json::from_str(json).map_err(|error| error.to_string())?;
    let mut edits: Vec<(Range<usize>, String)> = Vec::new();
    for (found, value) in entries {
        let at = member(json, &found.members).ok_or("its servers are not where they were")?;
        edits.push((at.start + offset..at.end + offset, value.to_string()));
        let place = found.members.iter().try_fold(&mut wanted, |value, name| value.get_mut(name));
        *place.ok_or("its servers are not where they were")? = (*value).clone();
    }
    edits.sort_by_key(|(at, _)| std::cmp::Reverse(at.start));
    let mut after = text.to_owned();
    for (at, value) in edits {
        after.replace_range(at, &value);
    }
    // A member that is there twice, say, means another one than was replaced.
    match serde_json::from_str::<serde_json::Value>(after.trim_start_matches('\u{feff}')) {
        Ok(now) if now == wanted => Ok(after.into_bytes()),
        _ => Err("cannot be changed in one place only".to_owned()),
    }
}

/// Where the value of the member that `path` leads to stands in `json`.
fn member(json: &str, path: &[String]) -> Option<Range<usize>> {
    let mut at = 0..json.len();
    for name in path {
        let members: BTreeMap<String, &RawValue> = serde_json::from_str(&json[at.clone()]).ok()?;
        let value = members.get(name)?.get();
        let start = value.as_ptr().addr().checked_sub(json.as_ptr().addr())?;
        at = start..start + value.len();
    }
    Some(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_made_from_what_calls_a_key() {
        for (wanted, number, name) in [
            ("GITHUB_TOKEN", 1, "github-token"),
            ("GITHUB_TOKEN", 2, "github-token-2"),
            ("CLAUDE_CODE_OAUTH_TOKEN", 1, "claude-oauth-token"),
            ("__", 1, "key"),
            ("ключ", 1, "key"),
            ("X-Api.Key", 1, "x-api-key"),
        ] {
            assert_eq!(plain(wanted, number).unwrap().as_str(), name);
        }
        assert_eq!(plain(&"a".repeat(200), 12).unwrap().as_str().len(), NAME_BYTES_MAX);
    }

    #[test]
    fn secrets_go_to_hosts_inside_tls_only() {
        assert_eq!(host("https://mcp.example.com/mcp"), Ok("mcp.example.com".to_owned()));
        assert_eq!(host("https://mcp.example.com:8443?x"), Ok("mcp.example.com:8443".to_owned()));
        assert_eq!(host("https://mcp.example.com:443"), Ok("mcp.example.com".to_owned()));
        for wrong in ["http://mcp.example.com/", "https://", "https://ann@mcp.example.com/"] {
            assert!(host(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_member_is_found_where_it_stands() {
        let json = "{ \"a\": {\"b\\u0063\" :  [1, {\"x\": 2}] }, \"z\": 1 }";
        let at = member(json, &["a".to_owned(), "bc".to_owned()]).unwrap();
        assert_eq!(&json[at], "[1, {\"x\": 2}]");
        assert_eq!(member(json, &["a".to_owned(), "b".to_owned()]), None);
    }
}
