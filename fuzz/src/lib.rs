//! What several targets share: a call, made in a plain scene.
//! Nothing here asserts anything.

use judge::request::path::{AbsPath, LinkFact, Links, Zones};
use judge::request::tree::Tree;
use judge::request::{Facts, Principal, RawCall, Request, normalize};
use judge::tool::{Inventory, ToolName};

struct Plain;

impl Links for Plain {
    fn read_link(&self, _: &AbsPath) -> LinkFact {
        LinkFact::Plain
    }
}

/// The normal form of a call; `None` when the JSON or the call is refused.
pub fn call(inventory: &Inventory, server: &str, tool: &str, arguments: &str) -> Option<Request> {
    let place = |text: &str| AbsPath::parse(text).expect("a fixed place");
    let (cwd, home) = (place("/home/ann/work"), place("/home/ann"));
    let zones = Zones {
        workspace: cwd.clone(),
        home: home.clone(),
        temp: vec![place("/tmp")],
        gate: vec![place("/home/ann/work/.bailiwick")],
    };
    let facts = Facts {
        now: 1_790_000_000,
        cwd: &cwd,
        home: &home,
        zones: &zones,
        links: &Plain,
        phase: "default",
        transport: "stdio",
        calls_last_minute: 1,
        provenance: judge::flow::Provenance::blank(),
    };
    let principal =
        Principal { agent: "agent".to_owned(), user: "ann".to_owned(), groups: vec!["staff".to_owned()] };
    let name = ToolName { server: server.to_owned(), tool: tool.to_owned() };
    let arguments = Tree::parse(arguments.as_bytes()).ok()?;
    normalize(RawCall { principal, name, arguments, beside: Tree::Null }, inventory, &facts).ok()
}
