//! What a policy's author is told: faults with their place at load, and why a call was decided as it was.
//! Decisions themselves are in `conformance/` and `properties.rs`; here it is the words that are held.

mod ground;

use ground::{Ground, principal};
use judge::case::CaseFile;
use judge::policy::{POLICY_BYTES_MAX, Policy, Source};
use judge::request::tree::Tree;
use judge::request::{RawCall, normalize};
use judge::tool::{Inventory, ToolName};

const TOOLS: &str = r#"```json tools
[
  {"server": "desk", "name": "refund_create", "effect": "write", "reversible": false, "impact": "high",
   "inputSchema": {"type": "object", "required": ["cents"], "properties": {
     "cents": {"type": "integer"}, "note": {"type": "string"},
     "to": {"type": "object", "properties": {"country": {"type": "string"}}, "required": ["country"]}}}},
  {"server": "desk", "name": "order_get", "effect": "read", "reversible": true, "impact": "low",
   "inputSchema": {"type": "object", "properties": {"id": {"type": "string"}}}}
]
```"#;

fn inventory() -> Inventory {
    CaseFile::parse(TOOLS).expect("a page").inventory().expect("tools")
}

fn source(name: &str, text: &str) -> Source {
    Source { name: name.to_owned(), text: text.to_owned() }
}

/// The faults of `text` as `line:column: message` and the excerpt.
fn faults(text: &str) -> Vec<(usize, usize, String, String)> {
    match Policy::load(&[source("p.cedar", text)], &inventory()) {
        Ok(_) => Vec::new(),
        Err(error) => error
            .faults
            .into_iter()
            .map(|fault| (fault.line, fault.column, fault.message, fault.excerpt))
            .collect(),
    }
}

#[test]
fn each_fault_names_its_place_and_its_neighbour_loads() {
    // text, line, column, part of the message, the excerpt's start; then the nearest text that loads
    let table = [
        (
            "// refunds\npermit(principal, action, resource)\nwen { true };\n",
            (3, 1, "condition must be either `when` or `unless`", "wen { true };"),
            "// refunds\npermit(principal, action, resource)\nwhen { true };\n",
        ),
        (
            "permit(principal, action == Action::\"desk/refund_creat\", resource);",
            (1, 29, "desk/refund_creat", "permit("),
            "permit(principal, action == Action::\"desk/refund_create\", resource);",
        ),
        (
            "permit(principal, action == Action::\"desk/refund_create\", resource)\nwhen { context.args.cent < 5 };",
            (2, 8, "cent", "when { context.args.cent < 5 };"),
            "permit(principal, action == Action::\"desk/refund_create\", resource)\nwhen { context.args.cents < 5 };",
        ),
        (
            "permit(principal, action == Action::\"desk/refund_create\", resource)\nwhen { context.args has to && context.args.to.contry == \"NZ\" };",
            (2, 31, "contry", "when { context.args has to"),
            "permit(principal, action == Action::\"desk/refund_create\", resource)\nwhen { context.args has to && context.args.to.country == \"NZ\" };",
        ),
        (
            "permit(principal, action == Action::\"desk/refund_create\", resource)\nwhen { context.args.cents == \"5\" };",
            (2, 8, "String", "when { context.args.cents"),
            "permit(principal, action == Action::\"desk/refund_create\", resource)\nwhen { context.args.cents == 5 };",
        ),
        (
            // An optional argument must be asked for before it is read.
            "permit(principal, action == Action::\"desk/refund_create\", resource)\nwhen { context.args.note == \"x\" };",
            (2, 8, "note", "when { context.args.note"),
            "permit(principal, action == Action::\"desk/refund_create\", resource)\nwhen { context.args has note && context.args.note == \"x\" };",
        ),
        (
            // What one tool has, a policy for all tools cannot use.
            "permit(principal, action, resource)\nwhen { context.args.cents < 5 };",
            (2, 8, "cents", "when { context.args.cents"),
            "permit(principal, action, resource)\nwhen { context.rate.minute < 5 };",
        ),
        (
            "permit(principal, action, resource == Server::\"dask\");",
            (1, 1, "no server is called `dask`", "permit("),
            "permit(principal, action, resource == Server::\"desk\");",
        ),
        (
            "permit(principal, action in Action::\"writes\", resource);",
            (1, 29, "writes", "permit("),
            "permit(principal, action in Action::\"write\", resource);",
        ),
        (
            "@id(\"a\")\npermit(principal, action, resource);\n@id(\"a\")\nforbid(principal, action, resource);\n",
            (3, 1, "the policy id `a` is used twice", "@id(\"a\")"),
            "@id(\"a\")\npermit(principal, action, resource);\n@id(\"b\")\nforbid(principal, action, resource);\n",
        ),
        (
            "@id(\"a\")\npermit(principal, action, resource);\n@id(\"a\")\npermit(principal, action, resource);\n",
            (3, 1, "the policy id `a` is used twice", "@id(\"a\")"),
            "@id(\"a\")\npermit(principal, action, resource);\npermit(principal, action, resource);\n",
        ),
        (
            "permit(principal == ?principal, action, resource);",
            (1, 1, "templates", "permit("),
            "permit(principal == User::\"ann\", action, resource);",
        ),
        (
            "permit(principal in Team::\"x\", action, resource);",
            (1, 21, "Team", "permit("),
            "permit(principal in Group::\"x\", action, resource);",
        ),
    ];
    let mut unlike = Vec::new();
    for (wrong, (line, column, message, excerpt), right) in table {
        let found = faults(wrong);
        if !found
            .iter()
            .any(|(l, c, m, e)| *l == line && *c == column && m.contains(message) && e.starts_with(excerpt))
        {
            unlike.push(format!("{wrong}\nwanted {line}:{column}: {message}\n{found:#?}"));
        }
        assert_eq!(faults(right), [], "{right}");
    }
    assert!(unlike.is_empty(), "{}", unlike.join("\n"));
}

#[test]
fn faults_of_all_files_are_told_at_once_and_nothing_is_loaded() {
    let sources = [
        source("a.cedar", "permit(principal, action, resource);"),
        source("b.cedar", "\npermit(principal, action == Action::\"desk/x\", resource);"),
        source("c.cedar", "permit(principal, action, resource == Server::\"x\");"),
    ];
    let error = Policy::load(&sources, &inventory()).err().expect("two faults");
    let files: Vec<_> = error.faults.iter().map(|fault| (fault.file.as_str(), fault.line)).collect();
    assert!(files.contains(&("b.cedar", 2)) && files.contains(&("c.cedar", 1)), "{error}");
    let text = error.to_string();
    assert!(text.contains("b.cedar:2:29: ") && text.contains("\n    permit("), "{text}");
    let long = " ".repeat(POLICY_BYTES_MAX);
    assert!(Policy::load(&[source("a", &long)], &inventory()).is_ok());
    assert!(Policy::load(&[source("a", &long), source("b", "\n")], &inventory()).is_err());
}

/// A page's policies keep their place in the page.
#[test]
fn a_fault_in_a_page_names_the_page_s_line() {
    let page = format!(
        "# Page\n\n{TOOLS}\n\n```cedar\npermit(principal, action, resource);\n```\n\n```cedar\nforbid(principal, action == Action::\"x\", resource);\n```\n"
    );
    let wanted = page.lines().position(|line| line.starts_with("forbid")).expect("the line") + 1;
    let page = CaseFile::parse(&page).expect("a page");
    let error =
        Policy::load(&[page.source("page.md")], &page.inventory().expect("tools")).err().expect("a fault");
    assert_eq!(
        (error.faults[0].file.as_str(), error.faults[0].line, error.faults[0].column),
        ("page.md", wanted, 29)
    );
}

const RULES: &str = r#"
@id("small")
permit(principal, action == Action::"desk/refund_create", resource)
when { context.args.cents < 100 && context.args has note }
unless { context.session.phase == "frozen" };

@id("large")
permit(principal, action == Action::"desk/refund_create", resource)
when { context.args.cents < 1000 && context.approved };

@id("ann-only")
permit(principal in User::"ann", action == Action::"desk/order_get", resource);

@id("not-zero")
forbid(principal, action == Action::"desk/refund_create", resource)
when { context.args.cents == 0 };

@id("never-zero")
forbid(principal, action, resource == Server::"desk")
when { context.rate.minute > 100 };

permit(principal in User::"bob", action in Action::"read", resource);
"#;

fn explained(tool: &str, arguments: &str, user: &str, phase: &str) -> String {
    let inventory = inventory();
    let policy =
        Policy::load(&[source("rules.cedar", RULES)], &inventory).unwrap_or_else(|error| panic!("{error}"));
    let ground = Ground::new();
    let facts = judge::request::Facts { phase, ..ground.facts() };
    let mut principal = principal();
    principal.user = user.to_owned();
    let arguments = Tree::parse(arguments.as_bytes()).expect("test JSON");
    let raw = RawCall {
        principal,
        name: ToolName { server: "desk".into(), tool: tool.into() },
        arguments,
        beside: Tree::Null,
    };
    match normalize(raw, &inventory, &facts) {
        Ok(request) => policy.explained(&request, policy.decide(&request)).to_string(),
        Err(malformed) => malformed.to_string(),
    }
}

#[test]
fn each_decision_says_what_it_rests_on() {
    let table = [
        ("refund_create", r#"{"cents":5,"note":"x"}"#, "u", "", "permitted by `small`"),
        ("refund_create", r#"{"cents":500}"#, "u", "", "needs approval under `large`"),
        ("refund_create", r#"{"cents":0,"note":"x"}"#, "u", "", "forbidden by `not-zero`"),
        ("order_get", "{}", "ann", "", "permitted by `ann-only`"),
        // Without an @id, a policy is named by its file and place.
        ("order_get", "{}", "bob", "", "permitted by `rules.cedar#6`"),
        (
            "order_get",
            "{}",
            "eve",
            "",
            "no policy permits this; `ann-only` would permit it for another agent or user",
        ),
        (
            "refund_create",
            r#"{"cents":5000}"#,
            "u",
            "",
            "no policy permits this; `large` would permit it if `context.args.cents < 1000`",
        ),
        ("refund_create", r#"{"cents":50,"note":"x"}"#, "u", "frozen", "needs approval under `large`"),
        (
            "refund_creat",
            "{}",
            "u",
            "",
            "`desk/refund_creat` is not a reviewed tool; did you mean `desk/refund_create`?",
        ),
        ("zzz", "{}", "u", "", "`desk/zzz` is not a reviewed tool; see `bailiwick inventory show`"),
    ];
    for (tool, arguments, user, phase, want) in table {
        assert_eq!(explained(tool, arguments, user, phase), want, "{tool} {arguments} {user} {phase}");
    }
}

/// Where several conditions are unmet, each is named as it stands in the policy, an `unless` turned round.
#[test]
fn every_unmet_condition_is_named() {
    let inventory = inventory();
    let text = "@id(\"p\")\npermit(principal, action == Action::\"desk/refund_create\", resource)\n\
                when { context.args.cents < 5 && context.rate.minute < 0 }\nwhen { context.args has note }\n\
                unless { context.session.transport == \"case\" };";
    let policy = Policy::load(&[source("p", text)], &inventory).unwrap_or_else(|error| panic!("{error}"));
    let name = ToolName { server: "desk".into(), tool: "refund_create".into() };
    let arguments = Tree::parse(br#"{"cents":9,"note":"x"}"#).expect("test JSON");
    let request = normalize(
        RawCall { principal: principal(), name, arguments, beside: Tree::Null },
        &inventory,
        &Ground::new().facts(),
    );
    let request = request.expect("a reviewed tool");
    let verdict = policy.explained(&request, policy.decide(&request));
    let nearest = verdict.nearest().expect("one permit");
    assert_eq!(nearest.policy, "p");
    assert_eq!(
        nearest.unmet,
        ["context.args.cents < 5", "context.rate.minute < 0", "!(context.session.transport == \"case\")"]
    );
}
