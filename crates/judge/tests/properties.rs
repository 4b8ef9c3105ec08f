//! Laws that hold for every policy, call and tree, tried on generated ones and compared with a model written a second way.
//! No example that a reader should know stands here; those are the pages of `conformance/`.

mod ground;

use ground::{Ground, principal};
use judge::policy::{Decision, Policy, Source, Verdict};
use judge::request::tree::{INTEGER_MAX, Tree};
use judge::request::{Principal, RawCall, Request, normalize};
use judge::shape::{Kind, Shape};
use judge::tool::{Effect, Impact, Inventory, Tool, ToolName};
use proptest::prelude::*;
use serde_json::json;
use std::collections::BTreeMap;

// ---------------------------------------------------------------------------------------------------------------------
// Four tools that differ in all that a policy may scope by, and a model of the policies over them.

const TOOLS: [(&str, &str, Effect, bool, Impact); 4] = [
    ("desk", "find", Effect::Read, true, Impact::Low),
    ("desk", "refund", Effect::Write, false, Impact::High),
    ("wiki", "find", Effect::Read, true, Impact::High),
    ("wiki", "edit", Effect::Write, true, Impact::Low),
];

fn name(tool: usize) -> ToolName {
    let (server, tool, ..) = TOOLS[tool];
    ToolName { server: server.into(), tool: tool.into() }
}

fn inventory() -> Inventory {
    let schema = json!({"type": "object", "required": ["n"], "properties": {
        "n": {"type": "integer"}, "s": {"type": "string"}, "deep": {"type": "object", "properties": {"flag": {"type": "boolean"}}}}});
    Inventory::new((0..TOOLS.len()).map(|at| {
        let (_, _, effect, reversible, impact) = TOOLS[at];
        let shape = Shape::of_schema(&schema, &BTreeMap::new());
        Tool {
            name: name(at),
            shape,
            effect,
            reversible,
            impact,
            digest: format!("digest {at}"),
            flow: Default::default(),
        }
    }))
}

/// A policy and what it means.
#[derive(Clone, Debug)]
struct Rule {
    permits: bool,
    principal: &'static str,
    action: Scope,
    server: Option<&'static str>,
    below: Option<i64>,
    text: bool,
    flag: bool,
    approved: bool,
}

#[derive(Clone, Debug)]
enum Scope {
    Any,
    Tools(Vec<usize>),
    Group(&'static str),
}

/// A call as the model sees it.
#[derive(Clone, Debug)]
struct Call {
    tool: usize,
    n: i64,
    s: Option<&'static str>,
    flag: Option<bool>,
    lead: bool,
}

impl Rule {
    fn cedar(&self) -> String {
        let effect = if self.permits { "permit" } else { "forbid" };
        let action = match &self.action {
            Scope::Any => "action".to_owned(),
            Scope::Tools(tools) => {
                let names: Vec<String> =
                    tools.iter().map(|tool| format!("Action::\"{}\"", name(*tool))).collect();
                match names.as_slice() {
                    [one] => format!("action == {one}"),
                    all => format!("action in [{}]", all.join(", ")),
                }
            }
            Scope::Group(group) => format!("action in Action::\"{group}\""),
        };
        let resource =
            self.server.map_or("resource".to_owned(), |server| format!("resource == Server::\"{server}\""));
        let mut text = format!("{effect}({}, {action}, {resource})", self.principal);
        let mut when = Vec::new();
        when.extend(self.below.map(|below| format!("context.args.n < {below}")));
        when.extend(self.text.then(|| "context.args has s && context.args.s like \"a*\"".to_owned()));
        when.extend(self.flag.then(|| {
            "context.args has deep && context.args.deep has flag && context.args.deep.flag".to_owned()
        }));
        when.extend(self.approved.then(|| "context.approved".to_owned()));
        if !when.is_empty() {
            text.push_str(&format!(" when {{ {} }}", when.join(" && ")));
        }
        text + ";\n"
    }

    fn concerns(&self, tool: usize) -> bool {
        let (server, _, effect, reversible, impact) = TOOLS[tool];
        let scoped = match &self.action {
            Scope::Any => true,
            Scope::Tools(tools) => tools.contains(&tool),
            Scope::Group(group) => match *group {
                "read" => effect == Effect::Read,
                "write" => effect == Effect::Write,
                "irreversible" => !reversible,
                _ => impact == Impact::High,
            },
        };
        scoped && self.server.is_none_or(|named| named == server)
    }

    fn applies(&self, call: &Call, approved: bool) -> bool {
        let principal = match self.principal {
            "principal in Group::\"leads\"" => call.lead,
            "principal == Agent::\"other\"" => false,
            _ => true,
        };
        principal
            && self.concerns(call.tool)
            && self.below.is_none_or(|below| call.n < below)
            && (!self.text || call.s.is_some_and(|s| s.starts_with('a')))
            && (!self.flag || call.flag == Some(true))
            && (!self.approved || approved)
    }
}

impl Call {
    fn arguments(&self) -> Tree {
        let mut members = vec![("n".to_owned(), Tree::Integer(self.n))];
        members.extend(self.s.map(|s| ("s".to_owned(), Tree::Text(s.to_owned()))));
        members.extend(
            self.flag.map(|flag| ("deep".to_owned(), Tree::Map(vec![("flag".to_owned(), Tree::Bool(flag))]))),
        );
        Tree::Map(members)
    }

    fn principal(&self) -> Principal {
        Principal { groups: if self.lead { vec!["leads".to_owned()] } else { Vec::new() }, ..principal() }
    }

    fn request(&self, inventory: &Inventory) -> Request {
        let raw = RawCall {
            principal: self.principal(),
            name: name(self.tool),
            arguments: self.arguments(),
            beside: Tree::Null,
        };
        normalize(raw, inventory, &Ground::new().facts()).expect("a call of the reviewed shape")
    }
}

fn model(rules: &[Rule], call: &Call) -> Decision {
    let allowed = |approved| {
        let hit = |permits| rules.iter().any(|rule| rule.permits == permits && rule.applies(call, approved));
        hit(true) && !hit(false)
    };
    match (allowed(false), allowed(true)) {
        (true, _) => Decision::Allow,
        (false, true) => Decision::Ask,
        (false, false) => Decision::Deny,
    }
}

fn load(rules: &[Rule], inventory: &Inventory) -> Policy {
    let text = rules.iter().map(Rule::cedar).collect();
    Policy::load(&[Source { name: "rules.cedar".into(), text }], inventory)
        .unwrap_or_else(|error| panic!("{error}"))
}

fn rule() -> impl Strategy<Value = Rule> {
    let scope = prop_oneof![
        Just(Scope::Any),
        prop::sample::subsequence(vec![0, 1, 2, 3], 1..=3).prop_map(Scope::Tools),
        prop::sample::select(vec!["read", "write", "irreversible", "high-impact"]).prop_map(Scope::Group),
    ];
    let principals = vec![
        "principal",
        "principal in Group::\"leads\"",
        "principal == Agent::\"other\"",
        "principal in User::\"user\"",
    ];
    let condition = (
        prop::option::of(-2i64..3),
        prop::bool::weighted(0.2),
        prop::bool::weighted(0.2),
        prop::bool::weighted(0.4),
    );
    let servers = prop::option::weighted(0.3, prop::sample::select(vec!["desk", "wiki"]));
    (prop::bool::weighted(0.7), prop::sample::select(principals), scope, servers, condition)
        .prop_map(|(permits, principal, action, server, (below, text, flag, approved))| Rule {
            permits,
            principal,
            action,
            server,
            below,
            text,
            flag,
            approved,
        })
        // Strict validation refuses a policy that can never apply, as it should.
        .prop_filter("can apply", |rule| (0..TOOLS.len()).any(|tool| rule.concerns(tool)))
}

fn rules() -> impl Strategy<Value = Vec<Rule>> {
    prop::collection::vec(rule(), 0..6)
}

fn call() -> impl Strategy<Value = Call> {
    let texts = prop::option::of(prop::sample::select(vec!["", "a", "ab", "b"]));
    (0..TOOLS.len(), -3i64..4, texts, prop::option::of(any::<bool>()), any::<bool>())
        .prop_map(|(tool, n, s, flag, lead)| Call { tool, n, s, flag, lead })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// The whole machine, slices and two questions included, decides as the policies' meaning says.
    #[test]
    fn decisions_follow_the_policies_meaning(rules in rules(), calls in prop::collection::vec(call(), 8)) {
        let inventory = inventory();
        let policy = load(&rules, &inventory);
        for call in calls {
            let verdict = policy.decide(&call.request(&inventory));
            prop_assert!(verdict.errors().is_empty(), "{verdict}");
            prop_assert_eq!(verdict.decision(), model(&rules, &call), "{:?}: {}", call, verdict);
        }
    }

    /// Slicing loses nothing and adds nothing: what concerns other tools does not matter.
    #[test]
    fn policies_for_other_tools_change_nothing(rules in rules(), call in call()) {
        let inventory = inventory();
        let mine: Vec<Rule> = rules.iter().filter(|rule| rule.concerns(call.tool)).cloned().collect();
        let request = call.request(&inventory);
        prop_assert_eq!(load(&rules, &inventory).decide(&request).decision(), load(&mine, &inventory).decide(&request).decision());
    }

    /// A list never hides what could be called.
    #[test]
    fn what_can_be_called_is_listed(rules in rules(), calls in prop::collection::vec(call(), 12)) {
        let inventory = inventory();
        let policy = load(&rules, &inventory);
        let ground = Ground::new();
        for call in calls {
            let tool = inventory.tool(&name(call.tool)).expect("a tool of the inventory");
            if policy.decide(&call.request(&inventory)).decision() != Decision::Deny {
                prop_assert!(policy.may_call(tool, &call.principal(), &ground.facts()), "{:?}", call);
            }
        }
    }

    #[test]
    fn a_forbid_never_loosens_and_a_permit_never_tightens(rules in rules(), more in rule(), call in call()) {
        let inventory = inventory();
        let request = call.request(&inventory);
        let before = load(&rules, &inventory).decide(&request).decision();
        let permits = more.permits;
        let after = load(&[rules, vec![more]].concat(), &inventory).decide(&request).decision();
        if permits { prop_assert!(after <= before) } else { prop_assert!(after >= before) }
    }

    #[test]
    fn the_empty_policy_denies_and_lists_nothing(call in call()) {
        let inventory = inventory();
        let policy = load(&[], &inventory);
        prop_assert!(policy.is_empty());
        prop_assert_eq!(policy.decide(&call.request(&inventory)).decision(), Decision::Deny);
        let tool = inventory.tool(&name(call.tool)).expect("a tool of the inventory");
        prop_assert!(!policy.may_call(tool, &call.principal(), &Ground::new().facts()));
    }
}

/// The list is not simply everything: what no argument can open is not shown.
#[test]
fn what_no_argument_can_open_is_not_listed() {
    let inventory = inventory();
    let lists = |text: &str| {
        let policy = Policy::load(&[Source { name: "p".into(), text: text.into() }], &inventory)
            .unwrap_or_else(|error| panic!("{error}"));
        let listed = |at| {
            policy.may_call(inventory.tool(&name(at)).expect("a tool"), &principal(), &Ground::new().facts())
        };
        (0..TOOLS.len()).filter(|at| listed(*at)).collect::<Vec<_>>()
    };
    assert_eq!(lists("permit(principal, action in Action::\"read\", resource);"), [0, 2]);
    assert_eq!(
        lists("permit(principal, action in Action::\"read\", resource) when { context.args.n > 7 };"),
        [0, 2]
    );
    assert_eq!(
        lists("permit(principal, action in Action::\"read\", resource) when { context.approved };"),
        [0, 2]
    );
    assert_eq!(
        lists(
            "permit(principal, action in Action::\"read\", resource) when { context.session.phase == \"x\" };"
        ),
        [0usize; 0]
    );
    assert_eq!(
        lists(
            "permit(principal, action, resource); forbid(principal, action, resource == Server::\"wiki\");"
        ),
        [0, 1]
    );
}

// ---------------------------------------------------------------------------------------------------------------------
// Readings of one call: the strictest wins.

fn shell() -> (Inventory, Policy) {
    let schema =
        json!({"type": "object", "properties": {"command": {"type": "string"}}, "required": ["command"]});
    let kinds = BTreeMap::from([("command".to_owned(), Kind::Command)]);
    let tool = Tool {
        name: ToolName { server: "shell".into(), tool: "run".into() },
        shape: Shape::of_schema(&schema, &kinds),
        effect: Effect::Write,
        reversible: false,
        impact: Impact::High,
        digest: "d".into(),
        flow: judge::flow::Flow::default(),
    };
    let inventory = Inventory::new([tool]);
    let text = "permit(principal, action, resource) when { context.args.command.program like \"allow*\" };
        permit(principal, action, resource) when { context.args.command.program like \"ask*\" && context.approved };
        permit(principal, action, resource) when { context.args.command.program == \"cd\" };";
    let policy = Policy::load(&[Source { name: "shell".into(), text: text.into() }], &inventory);
    (inventory, policy.unwrap_or_else(|error| panic!("{error}")))
}

fn decide_line(inventory: &Inventory, policy: &Policy, line: &str) -> Verdict {
    let arguments = Tree::Map(vec![("command".to_owned(), Tree::Text(line.to_owned()))]);
    let raw = RawCall {
        principal: principal(),
        name: ToolName { server: "shell".into(), tool: "run".into() },
        arguments,
        beside: Tree::Null,
    };
    policy.decide(&normalize(raw, inventory, &Ground::new().facts()).expect("a reviewed tool"))
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn one_more_command_never_makes_a_line_less_strict(
        commands in prop::collection::vec(prop::sample::select(vec![
            ("allow1 a", Decision::Allow), ("allow2 > out", Decision::Allow), ("ask1", Decision::Ask), ("ask2 $x", Decision::Ask),
            ("deny1", Decision::Deny), ("cd src", Decision::Allow), ("$x", Decision::Deny),
        ]), 1..6),
        joints in prop::collection::vec(prop::sample::select(vec![" && ", " || ", "; ", " | ", "\n", " & "]), 5),
    ) {
        let (inventory, policy) = shell();
        let (mut line, mut before, mut strictest) = (String::new(), Decision::Allow, Decision::Allow);
        for (at, (text, decision)) in commands.into_iter().enumerate() {
            if at > 0 {
                line.push_str(joints[at - 1]);
            }
            line.push_str(text);
            strictest = strictest.max(decision);
            let verdict = decide_line(&inventory, &policy, &line);
            prop_assert!(verdict.decision() >= before, "{line:?}: {verdict}");
            prop_assert_eq!(verdict.decision(), strictest, "{:?}: {}", line, verdict);
            before = verdict.decision();
        }
    }
}

// ---------------------------------------------------------------------------------------------------------------------
// Trees and digests.

fn tree() -> impl Strategy<Value = Tree> {
    let fraction = any::<f64>()
        .prop_filter("a number that is no integer", |value| value.is_finite() && value.fract() != 0.0);
    let leaf = prop_oneof![
        Just(Tree::Null),
        any::<bool>().prop_map(Tree::Bool),
        (-INTEGER_MAX..=INTEGER_MAX).prop_map(Tree::Integer),
        prop_oneof![fraction, (-1e6..1e6f64).prop_filter("a fraction", |value| value.fract() != 0.0)]
            .prop_map(Tree::Float),
        any::<String>().prop_map(Tree::Text),
    ];
    leaf.prop_recursive(4, 24, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Tree::List),
            prop::collection::btree_map(any::<String>(), inner, 0..5)
                .prop_map(|map| Tree::Map(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn canonical_text_reads_back_as_the_same_tree(tree in tree()) {
        let text = tree.canonical();
        let again = Tree::parse(text.as_bytes());
        prop_assert!(again.is_ok(), "{text}: {again:?}");
        prop_assert_eq!(again.expect("just checked"), tree, "{}", text);
    }

    #[test]
    fn whatever_is_read_has_one_canonical_form(text in "[\\[\\]{}:,0-9.eE+\\-\"a-c\\\\u ]{0,24}") {
        if let Ok(tree) = Tree::parse(text.as_bytes()) {
            let once = tree.canonical();
            prop_assert_eq!(Tree::parse(once.as_bytes()).expect("canonical text is JSON").canonical(), once);
        }
    }
}

/// Whose request, for which tool, with which arguments: all that a digest names.
fn asked() -> impl Strategy<Value = (String, String, usize, i64, Option<&'static str>)> {
    (
        "[ab\"]{1,2}",
        "[ab\"]{1,2}",
        0..TOOLS.len(),
        0i64..3,
        prop::option::of(prop::sample::select(vec!["", "1", "a"])),
    )
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 1000, ..ProptestConfig::default() })]

    #[test]
    fn digests_are_equal_exactly_where_requests_are(one in asked(), other in asked()) {
        let inventory = inventory();
        let digest = |(agent, user, tool, n, s): &(String, String, usize, i64, Option<&'static str>)| {
            let call = Call { tool: *tool, n: *n, s: *s, flag: None, lead: false };
            let principal = Principal { agent: agent.clone(), user: user.clone(), groups: Vec::new() };
            let raw = RawCall { principal, name: name(*tool), arguments: call.arguments(), beside: Tree::Null };
            normalize(raw, &inventory, &Ground::new().facts()).expect("a reviewed tool").digest().to_owned()
        };
        prop_assert_eq!(digest(&one) == digest(&other), one == other);
        // Near requests, so that equal and almost equal ones are surely tried.
        let near = (one.0.clone(), one.1.clone(), one.2, one.3 + 1, one.4);
        prop_assert_ne!(digest(&one), digest(&near));
        let swapped = (one.1.clone(), one.0.clone(), one.2, one.3, one.4);
        prop_assert_eq!(digest(&one) == digest(&swapped), one.0 == one.1);
    }
}

#[test]
fn a_digest_follows_the_reviewed_definition_and_not_the_order_of_members() {
    let call = Call { tool: 0, n: 1, s: Some("a"), flag: None, lead: false };
    let inventory = inventory();
    let mut tool = inventory.tool(&name(0)).expect("a tool").clone();
    tool.digest = "reviewed again".to_owned();
    let again = Inventory::new([tool]);
    assert_ne!(call.request(&inventory).digest(), call.request(&again).digest());
    let Tree::Map(mut members) = call.arguments() else { panic!("a map") };
    members.reverse();
    let raw = RawCall {
        principal: call.principal(),
        name: name(0),
        arguments: Tree::Map(members),
        beside: Tree::Null,
    };
    let turned = normalize(raw, &inventory, &Ground::new().facts()).expect("the same call");
    assert_eq!(call.request(&inventory).digest(), turned.digest());
    // Where a relative path starts, and which groups decided, are part of what an approver agreed to.
    let ground = Ground::new();
    let digest = |groups: &[&str], cwd| {
        let principal =
            Principal { groups: groups.iter().map(ToString::to_string).collect(), ..call.principal() };
        let raw = RawCall { principal, name: name(0), arguments: call.arguments(), beside: Tree::Null };
        let facts = judge::request::Facts { cwd, ..ground.facts() };
        normalize(raw, &inventory, &facts).expect("the same call").digest().to_owned()
    };
    let here = &ground.zones.workspace;
    assert_eq!(digest(&[], here), turned.digest());
    assert_ne!(digest(&["leads"], here), turned.digest());
    assert_ne!(digest(&[], &ground.zones.home), turned.digest());
}
