//! Secrets that an agent names in arguments, where it may and where not, values that it says itself, and a server whose tools
//! cannot be listed without its network.

use crate::common::{Client, Gate, words};
use crate::ground::{CANARY, Ground};
use serde_json::{Value, json};

const POLICY: &str = r#"
permit (principal, action == Action::"named/use200", resource);
permit (principal, action == Action::"egress/read", resource);
"#;

fn set_up(ground: &Ground) {
    let folder = ground.project().join(".bailiwick");
    let server = ground.project().join("named.py");
    std::fs::write(&server, include_str!("named.py")).unwrap();
    std::fs::remove_file(folder.join("bailiwick.toml")).unwrap();
    let command = format!("named={} {}", ground.python(), server.display());
    let init = ground.run(&["init", "--yes", "--server", &command], b"");
    assert!(init.code == 0 && init.out.contains("not reached"), "without its network: {init:?}");
    std::fs::remove_dir_all(folder.join("policy")).unwrap();
    std::fs::create_dir(folder.join("policy")).unwrap();
    std::fs::write(folder.join("policy/test.cedar"), POLICY).unwrap();
    let port = ground.upstream.port;
    ground.configure(&format!(
        "[gate]\nauthorities = [{:?}]\n\
         [secret.github]\narguments = [\"named/use200.token\"]\n\
         [[secret.github.use]]\nhost = \"api.example.test:{port}\"\npaths = [\"/repos/*\"]\n\
         [server.named]\ncommand = [{:?}, {server:?}]\n\
         [server.named.env]\nTOKEN = \"${{secret:github}}\"\nPORT = \"{port}\"\n\
         [server.named.sandbox]\nread = {:?}\nnetwork = [{{ to = \"https://api.example.test:{port}\", \
         private = [\"127.0.0.0/8\"], address = \"127.0.0.1\" }}]\n",
        ground.path("authority.pem"),
        ground.python(),
        ground.python_folders()
    ));
}

#[test]
fn a_secret_is_named_in_arguments_where_it_may_be_and_its_value_is_said_nowhere() {
    let ground = Ground::new();
    set_up(&ground);
    let review = ground.run(&["inventory", "review", "--all"], b"");
    assert!(review.code == 0 && review.out.contains("use200"), "its network was there: {review:?}");
    assert!(ground.upstream.received().iter().any(|one| one.target == "/repos/tools" && one.holds(CANARY)));

    let gate = Gate::start_at(&ground.path("logs"), ground.bailiwick());
    let mut client = Client::connect_by(ground.bailiwick(), &["named"]);
    let named = "${secret:github}";
    for (arguments, want) in [
        (json!({ "token": named }), Ok(())),
        (json!({ "note": named }), Err("may not be used in argument `note`")),
        (json!({ "token": "none", "note": { "deep": [named] } }), Err("may not be used in argument `note`")),
        (json!({ "token": CANARY }), Err("holds the value of secret `github`")),
        (json!({ "note": hex(CANARY) }), Err("holds the value of secret `github`")),
    ] {
        let answer = client.call("use200", arguments.clone());
        let text = words(&answer);
        match want {
            Ok(()) => {
                let said: Value = serde_json::from_str(&text).unwrap_or_else(|_| panic!("{answer}"));
                assert_eq!((&said["sandbox"], &said["status"]), (&json!(true), &json!(200)), "{said}");
                assert_ne!(said["given"], json!(named), "it got its placeholder");
            }
            Err(why) => assert!(text.contains(why), "{arguments}: {answer}"),
        }
        assert!(!answer.to_string().contains(CANARY), "{answer}");
    }
    let used = ground.upstream.received().into_iter().filter(|one| one.target == "/repos/used").count();
    assert_eq!(used, 1, "what was denied reached nobody");
    drop(client);
    drop(gate);
    let journal = serde_json::to_string(&ground.journal()).unwrap();
    assert!(!journal.contains(CANARY) && !journal.contains(&hex(CANARY)), "{journal}");
    assert!(journal.contains("BW-HIDDEN-github-WB") && journal.contains(named), "{journal}");
}

fn hex(text: &str) -> String {
    text.bytes().map(|byte| format!("{byte:02x}")).collect()
}
