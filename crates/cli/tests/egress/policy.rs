//! Policies decide on every request, not on connections: what they no longer permit is refused on the connection that was
//! open before, and at the address that was given out before.

use crate::common::eventually;
use crate::ground::{CANARY, Ground};
use crate::served::{Served, set_up};
use serde_json::{Value, json};

/// Policies, and how the three requests below fare under them.
const STAGES: [(&str, [u16; 3]); 6] = [
    (
        "permit (principal, action in [Action::\"egress/read\", Action::\"egress/write\"], resource);",
        [200, 200, 200],
    ),
    (
        "permit (principal, action == Action::\"egress/read\", resource) when { context.args.url.path like \"/repos/a*\" };",
        [200, 403, 403],
    ),
    (
        "permit (principal, action in [Action::\"egress/read\", Action::\"egress/write\"], resource);\n\
         forbid (principal, action == Action::\"egress/read\", resource) when { context.args.carries.contains(\"github\") };",
        [403, 200, 200],
    ),
    (
        "permit (principal, action == Action::\"egress/write\", resource) \
         when { context.args.from == \"server sh\" && context.args has body_bytes && context.args.body_bytes < 5 };",
        [403, 403, 200],
    ),
    ("", [403, 403, 403]),
    (
        "permit (principal, action in [Action::\"egress/read\", Action::\"egress/write\"], resource);",
        [200, 200, 200],
    ),
];

/// Makes the three requests whenever it is told to, over a connection that it keeps and over a new one to the address that it
/// remembers.
const ASK: &str = r#"
import http.client, json, os, socket, ssl, time
port, token = int(os.environ["PORT"]), os.environ["TOKEN"]
address, context = socket.gethostbyname("api.example.test"), ssl.create_default_context()
def open_one():
    by = http.client.HTTPSConnection("api.example.test", port, timeout=20)
    by.sock = context.wrap_socket(socket.create_connection((address, port)), server_hostname="api.example.test")
    return by
kept, stage = open_one(), 0
while True:
    while not os.path.exists(f"go-{stage}"): time.sleep(0.01)
    said = []
    for by in (kept, open_one()):
        for method, path, body, headers in (
            ("GET", "a", None, {"Authorization": "Bearer " + token}), ("GET", "b", None, {}), ("POST", "c", "four", {}),
        ):
            by.request(method, f"/repos/{path}-{stage}", body, headers)
            answer = by.getresponse()
            said.append([answer.status, answer.read().decode()])
    open("said.new", "w").write(json.dumps(said))
    os.rename("said.new", f"said-{stage}")
    stage += 1
"#;

#[test]
fn what_policies_no_longer_permit_is_refused_on_connections_that_are_open() {
    let ground = Ground::new();
    set_up(&ground);
    std::fs::write(ground.project().join("ask.py"), ASK).unwrap();
    let mut served = Served::start(&ground);
    served.script(&format!("{} ask.py > ask.log 2>&1 &", ground.python()));
    for (stage, (policy, statuses)) in STAGES.into_iter().enumerate() {
        let file = ground.project().join(".bailiwick/policy/test.cedar");
        let scripts = "permit (principal, action == Action::\"sh/sh\", resource);\n";
        std::fs::write(file, format!("{scripts}{policy}\n")).unwrap();
        let loaded = ground.run(&["policy", "reload"], b"");
        assert_eq!(loaded.code, 0, "{loaded:?}");
        std::fs::write(ground.project().join(format!("go-{stage}")), "").unwrap();
        let said = eventually("the requests are answered", || {
            std::fs::read(ground.project().join(format!("said-{stage}"))).ok()
        });
        let said: Vec<(u16, String)> = serde_json::from_slice(&said).unwrap();
        let found: Vec<u16> = said.iter().map(|(status, _)| *status).collect();
        assert_eq!(found, [statuses, statuses].concat(), "{policy}: {said:?}\n{}", served.gate.log());
        for (status, text) in &said {
            assert_eq!(*status == 403, text.starts_with("bailiwick: "), "{text}");
        }
        for (path, status) in ["a", "b", "c"].into_iter().zip(statuses) {
            let path = format!("/repos/{path}-{stage}");
            let arrived = ground.upstream.received().into_iter().filter(|one| one.target == path).count();
            assert_eq!(arrived, if status == 200 { 2 } else { 0 }, "{path} under {policy}");
        }
    }
    let carried = ground.upstream.received().into_iter().filter(|one| one.holds(CANARY)).count();
    assert_eq!(carried, 6, "only what was permitted carried the value");
    drop(served);
    let journal = ground.journal();
    let decided = |decision: &str| {
        let is_one = |record: &&Value| {
            record["kind"] == "decision"
                && record["tool"].as_str().is_some_and(|tool| tool.starts_with("egress/"))
                && record["decision"] == json!(decision)
        };
        journal.iter().filter(is_one).count()
    };
    assert_eq!((decided("allow"), decided("deny")), (20, 16), "every one of them is in the journal");
}
