//! A remote MCP server behind TLS, to which the gate itself carries the secret in a header. What it says back comes without
//! the value, and a server at another port gets neither the value nor a connection.

use crate::common::{Client, Gate, finish, hello, words};
use crate::ground::{CANARY, Ground, found_in, spellings};
use serde_json::json;
use std::path::PathBuf;

#[test]
fn a_remote_server_gets_the_value_and_its_words_come_without_it() {
    let ground = Ground::new();
    let folder = ground.project().join(".bailiwick");
    let (port, second, plain) = (ground.upstream.port, ground.upstream.second, ground.upstream.plain);
    std::fs::remove_file(folder.join("bailiwick.toml")).unwrap();
    // Its tools are the same wherever it is asked; here it needs no certificate.
    let at = format!("=http://localhost:{plain}/mcp");
    let servers = ["bound", "other"].map(|name| format!("{name}{at}"));
    let [bound, other] = &servers;
    let args = ["init", "--yes", "--no-claude-code", "--server", bound, "--server", other];
    let init = ground.run(&args, b"");
    assert!(init.code == 0 && !init.out.contains("not reached"), "{init:?}");
    let mut text = format!(
        "[gate]\nclaude_code = false\nauthorities = [{:?}]\n\
         [secret.github]\n[[secret.github.use]]\nhost = \"localhost:{port}\"\npaths = [\"/mcp\"]\n",
        ground.path("authority.pem")
    );
    for (name, at) in [("bound", port), ("other", second)] {
        text.push_str(&format!(
            "[server.{name}]\nurl = \"https://localhost:{at}/mcp\"\n\
             headers = {{ Authorization = \"Bearer ${{secret:github}}\" }}\n"
        ));
    }
    ground.configure(&text);
    std::fs::remove_dir_all(folder.join("policy")).unwrap();
    std::fs::create_dir(folder.join("policy")).unwrap();
    std::fs::write(folder.join("policy/test.cedar"), "permit (principal, action, resource);\n").unwrap();
    let gate = Gate::start_at(&ground.path("logs"), ground.bailiwick());

    let answer = Client::connect_by(ground.bailiwick(), &["bound"]).call("tell", json!({}));
    let said = words(&answer);
    assert!(said.starts_with("you are [") && said.len() > "you are []".len(), "{answer}\n{}", gate.log());
    let received = ground.upstream.received();
    let carried = received.iter().filter(|one| one.holds(CANARY)).count();
    assert!(
        carried > 3 && received.iter().all(|one| one.sni != "plain" || !one.holds(CANARY)),
        "{received:?}"
    );

    let before = ground.upstream.knocks();
    let opening = json!({ "jsonrpc": "2.0", "id": 1, "method": "initialize", "params": hello() });
    let refused = finish(ground.bailiwick().args(["mcp", "other"]), format!("{opening}\n").as_bytes());
    assert!(refused.out.contains("its binding names another port"), "{refused:?}");
    assert_eq!(ground.upstream.knocks(), before, "the other server was connected to");

    let known = spellings(CANARY);
    let needles: Vec<&str> = known.iter().map(String::as_str).collect();
    assert!(needles.iter().all(|needle| !answer.to_string().contains(needle)), "{answer}");
    drop(gate);
    let whole = ground.project().parent().unwrap().to_owned();
    assert_eq!(found_in(&whole, &needles), Vec::<PathBuf>::new(), "the value is in a file");
    assert!(needles.iter().all(|needle| !format!("{:?}", ground.journal()).contains(needle)));
}
