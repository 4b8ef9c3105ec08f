//! Loads policy files: parse, check against the generated schema with spans, slice by action.
//! A folder with one bad policy loads nothing at all; nothing here decides.

use super::schema;
use crate::approval::PEOPLE_MAX;
use crate::tool::{Inventory, Tool, ToolName};
use cedar_policy::{
    ActionConstraint, Authorizer, Effect, Entities, Entity, EntityUid, PolicyId, PolicySet, Schema,
    ValidationMode, Validator,
};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;
use std::sync::Arc;

/// Most bytes in all policy files together.
pub const POLICY_BYTES_MAX: usize = 4 * 1024 * 1024;

/// One policy file.
#[derive(Clone, Debug)]
pub struct Source {
    /// The name errors and explanations use, e.g. `policy/10-desk.cedar`.
    pub name: String,
    /// Its text.
    pub text: String,
}

/// A fault in one policy file.
#[derive(Debug)]
pub struct Fault {
    /// The file.
    pub file: String,
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// What is wrong, and what might have been meant.
    pub message: String,
    /// The source line it stands in.
    pub excerpt: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}:{}:{}: {}", self.file, self.line, self.column, self.message)?;
        if !self.excerpt.is_empty() {
            let indent = " ".repeat(self.column.saturating_sub(1));
            write!(out, "\n    {}\n    {indent}^", self.excerpt)?;
        }
        Ok(())
    }
}

/// Why policies were not loaded: every fault found, in file order.
#[derive(Debug)]
pub struct LoadError {
    /// The faults; never empty.
    pub faults: Vec<Fault>,
}

impl fmt::Display for LoadError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines: Vec<String> = self.faults.iter().map(Fault::to_string).collect();
        out.write_str(&lines.join("\n"))
    }
}
impl std::error::Error for LoadError {}

/// Policies checked against one inventory, ready to decide. Holds, per tool, only the policies that can matter to it.
pub struct Policy {
    pub(super) slices: HashMap<ToolName, Slice>,
    pub(super) authorizer: Authorizer,
    digest: String,
    count: usize,
}

/// What decides on one tool.
pub(super) struct Slice {
    pub(super) policies: PolicySet,
    pub(super) action: EntityUid,
    pub(super) resource: EntityUid,
    pub(super) entities: Vec<Entity>,
    pub(super) names: BTreeMap<PolicyId, Arc<str>>,
    /// How many people must agree to what a policy permits once approved, where more than one must.
    pub(super) approvers: BTreeMap<Arc<str>, u8>,
    /// Whether any of them asks where values came from or how data leaves: otherwise nobody has to say it.
    pub(super) asks_origins: bool,
}

impl Policy {
    /// Parses `sources`, checks them strictly against the schema of `inventory`, and slices them by tool.
    /// An empty list is a policy that denies everything.
    ///
    /// # Errors
    /// Every syntax or type fault with file, line and column: unknown tools and arguments, wrong types, duplicate
    /// names, templates, more than [`POLICY_BYTES_MAX`] bytes.
    pub fn load(sources: &[Source], inventory: &Inventory) -> Result<Self, LoadError> {
        let bytes: usize = sources.iter().map(|source| source.text.len()).sum();
        if let Some(first) = sources.first().filter(|_| bytes > POLICY_BYTES_MAX) {
            return Err(one(
                first,
                0,
                format!("policies hold {bytes} bytes in all; at most {POLICY_BYTES_MAX}"),
            ));
        }
        let schema = schema_of(inventory)?;
        let (all, origins) = parse(sources)?;
        check(&all, &schema, &origins, inventory)?;
        // What a text may do depends on the inventory it is read with, so a review changes the digest too.
        let mut digested = format!("{}\n", inventory.digest());
        digested.extend(sources.iter().map(|source| format!("{}\n{}\n", source.name, source.text)));
        let digest = crate::digest::hex(digested.as_bytes());
        let slices = inventory.tools().map(|tool| (tool.name.clone(), slice(tool, &all, &origins))).collect();
        Ok(Self { slices, authorizer: Authorizer::new(), digest, count: all.policies().count() })
    }

    /// SHA-256 over the policy files and the inventory they were checked against, lowercase hexadecimal. A grant is
    /// bound to it.
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// How many policies are loaded.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether no policy is loaded, so that everything is denied.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }
}

/// Where each policy came from.
struct Origin<'a> {
    source: &'a Source,
    offset: usize,
    name: Arc<str>,
    approvers: u8,
}

type Origins<'a> = BTreeMap<PolicyId, Origin<'a>>;

fn schema_of(inventory: &Inventory) -> Result<Schema, LoadError> {
    Schema::from_json_value(schema::generate(inventory)).map_err(|error| LoadError {
        faults: vec![Fault {
            file: "tools.lock".into(),
            line: 1,
            column: 1,
            message: format!("the inventory gives no usable schema: {error}"),
            excerpt: String::new(),
        }],
    })
}

fn parse(sources: &[Source]) -> Result<(PolicySet, Origins<'_>), LoadError> {
    let mut all = PolicySet::new();
    let mut origins = Origins::new();
    let mut faults = Vec::new();
    let mut names = HashSet::new();
    for source in sources {
        let parsed: PolicySet = match source.text.parse() {
            Ok(parsed) => parsed,
            Err(errors) => {
                let errors: &cedar_policy::ParseErrors = &errors;
                faults.extend(errors.iter().map(|error| fault(source, error)));
                continue;
            }
        };
        if parsed.templates().next().is_some() {
            faults.push(fault_at(
                source,
                0,
                "templates (`?principal`, `?resource`) are not supported; name the entity".into(),
            ));
        }
        let mut from = 0;
        for (index, policy) in in_text_order(&parsed).into_iter().enumerate() {
            let text = policy.to_string();
            let offset = source.text[from..].find(text.trim()).map_or(from, |at| at + from);
            // Past its first character, or a copy of it further down would be found here again.
            from = source.text[offset..].chars().next().map_or(offset, |c| offset + c.len_utf8());
            let name = match policy.annotation("id") {
                Some(name) if !name.is_empty() => name.to_owned(),
                _ => format!("{}#{}", source.name, index + 1),
            };
            if !names.insert(name.clone()) {
                faults.push(fault_at(
                    source,
                    offset,
                    format!("the policy id `{name}` is used twice; ids name policies in records"),
                ));
                continue;
            }
            let approvers = approvers(policy).unwrap_or_else(|why| {
                faults.push(fault_at(source, offset, why));
                1
            });
            let id = PolicyId::new(&name);
            origins.insert(id.clone(), Origin { source, offset, name: name.into(), approvers });
            if let Err(error) = all.add(policy.new_id(id)) {
                faults.push(fault_at(source, offset, error.to_string()));
            }
        }
    }
    if faults.is_empty() { Ok((all, origins)) } else { Err(LoadError { faults }) }
}

/// What `@approvers("2")` says: so many people must agree to what the policy permits once approved.
fn approvers(policy: &cedar_policy::Policy) -> Result<u8, String> {
    let Some(text) = policy.annotation("approvers") else { return Ok(1) };
    if policy.effect() == Effect::Forbid {
        return Err(
            "`@approvers` says how many must agree to what a policy permits; this one forbids".to_owned()
        );
    }
    match text.parse::<u8>() {
        Ok(count) if (1..=PEOPLE_MAX).contains(&count) => Ok(count),
        _ => Err(format!("`@approvers(\"{text}\")` is no number of people from 1 to {PEOPLE_MAX}")),
    }
}

/// Cedar names the policies of a text `policy0`, `policy1`, … in order.
fn in_text_order(parsed: &PolicySet) -> Vec<&cedar_policy::Policy> {
    let number = |policy: &cedar_policy::Policy| {
        policy.id().to_string().trim_start_matches("policy").parse::<usize>().unwrap_or(usize::MAX)
    };
    let mut policies: Vec<_> = parsed.policies().collect();
    policies.sort_by_key(|policy| number(policy));
    policies
}

fn check(
    all: &PolicySet,
    schema: &Schema,
    origins: &Origins<'_>,
    inventory: &Inventory,
) -> Result<(), LoadError> {
    let result = Validator::new(schema.clone()).validate(all, ValidationMode::Strict);
    let mut faults: Vec<Fault> = result
        .validation_errors()
        .map(|error| match origins.get(error.policy_id()) {
            Some(origin) => fault(origin.source, error),
            None => Fault {
                file: error.policy_id().to_string(),
                line: 1,
                column: 1,
                message: error.to_string(),
                excerpt: String::new(),
            },
        })
        .collect();
    // Cedar's validator accepts a `Server` that no tool belongs to; for us such a policy can never match.
    let servers: HashSet<&str> = inventory.tools().map(|tool| tool.name.server.as_str()).collect();
    for policy in all.policies() {
        let cedar_policy::ResourceConstraint::Eq(server) = policy.resource_constraint() else { continue };
        if !servers.contains(server.id().unescaped())
            && let Some(origin) = origins.get(policy.id())
        {
            faults.push(fault_at(
                origin.source,
                origin.offset,
                format!("no server is called `{}`", server.id().unescaped()),
            ));
        }
    }
    faults.sort_by(|a, b| (&a.file, a.line, a.column).cmp(&(&b.file, b.line, b.column)));
    if faults.is_empty() { Ok(()) } else { Err(LoadError { faults }) }
}

fn slice(tool: &Tool, all: &PolicySet, origins: &Origins<'_>) -> Slice {
    let action = uid("Action", &tool.name.to_string());
    let groups: HashSet<EntityUid> =
        schema::groups(tool).into_iter().map(|group| uid("Action", group)).collect();
    let concerns = |policy: &&cedar_policy::Policy| match policy.action_constraint() {
        ActionConstraint::Any => true,
        ActionConstraint::Eq(named) => named == action,
        ActionConstraint::In(named) => named.iter().any(|named| *named == action || groups.contains(named)),
    };
    let chosen: Vec<_> = all.policies().filter(concerns).cloned().collect();
    let names = chosen
        .iter()
        .filter_map(|policy| Some((policy.id().clone(), origins.get(policy.id())?.name.clone())))
        .collect();
    let approvers = chosen
        .iter()
        .filter_map(|policy| origins.get(policy.id()))
        .filter(|origin| origin.approvers > 1)
        .map(|origin| (origin.name.clone(), origin.approvers))
        .collect();
    let mut entities = vec![Entity::new_no_attrs(action.clone(), groups.clone())];
    entities.extend(groups.into_iter().map(|group| Entity::new_no_attrs(group, HashSet::new())));
    let resource = uid("Server", &tool.name.server);
    entities.push(Entity::new_no_attrs(resource.clone(), HashSet::new()));
    let asks_origins = chosen.iter().any(asks_origins);
    let policies = PolicySet::from_policies(chosen).expect("a subset of a policy set has unique ids");
    Slice { policies, action, resource, entities, names, approvers, asks_origins }
}

/// Whether `policy` names one of these attributes at all. One that did and was not told would be a denial.
fn asks_origins(policy: &cedar_policy::Policy) -> bool {
    let Ok(json) = policy.to_json() else { return true };
    let text = json.to_string();
    ["\"flow\"", "\"from\"", "\"leaks\""].iter().any(|name| text.contains(name))
}

impl Slice {
    /// The entities a request of `principal` needs: the tool's action and groups, the server, agent, user, groups.
    pub(super) fn entities_for(&self, principal: &crate::request::Principal) -> Result<Entities, String> {
        let groups: HashSet<EntityUid> = principal.groups.iter().map(|group| uid("Group", group)).collect();
        let user = uid("User", &principal.user);
        let mut entities = self.entities.clone();
        entities.extend(groups.iter().map(|group| Entity::new_no_attrs(group.clone(), HashSet::new())));
        entities.push(Entity::new_no_attrs(agent(principal), HashSet::from([user.clone()])));
        entities.push(Entity::new_no_attrs(user, groups));
        Entities::from_entities(entities, None).map_err(|error| error.to_string())
    }

    /// The permits among the policies, by name, for explanations.
    pub(super) fn permits(&self) -> impl Iterator<Item = (&Arc<str>, &cedar_policy::Policy)> {
        self.policies
            .policies()
            .filter(|policy| policy.effect() == Effect::Permit)
            .filter_map(|policy| Some((self.names.get(policy.id())?, policy)))
    }
}

pub(super) fn agent(principal: &crate::request::Principal) -> EntityUid {
    uid("Agent", &principal.agent)
}

fn uid(kind: &str, id: &str) -> EntityUid {
    let kind = kind.parse().expect("entity type names are literals of this module");
    EntityUid::from_type_name_and_id(kind, cedar_policy::EntityId::new(id))
}

fn one(source: &Source, offset: usize, message: String) -> LoadError {
    LoadError { faults: vec![fault_at(source, offset, message)] }
}

fn fault(source: &Source, error: &dyn miette::Diagnostic) -> Fault {
    let offset = error.labels().and_then(|mut labels| labels.next()).map_or(0, |label| label.offset());
    let mut message = error.to_string();
    if let Some(help) = error.help() {
        message.push_str(&format!(" ({help})"));
    }
    fault_at(source, offset, message)
}

fn fault_at(source: &Source, offset: usize, message: String) -> Fault {
    let before = source.text.get(..offset).unwrap_or("");
    let line = before.matches('\n').count() + 1;
    let start = before.rfind('\n').map_or(0, |at| at + 1);
    let column = before[start..].chars().count() + 1;
    let excerpt = source.text.lines().nth(line - 1).unwrap_or("").to_owned();
    Fault { file: source.name.clone(), line, column, message, excerpt }
}
