//! The reviewed inventory on disk: what each tool is, what a person said it does, and what waits for review.
//! A server's word about itself is a proposal here, never a fact.

mod catalogue;
pub mod definition;
pub mod lock;
pub mod propose;
pub mod survey;

pub use definition::Definition;
pub use lock::{Lock, Reviewed, ReviewedServer};

use judge::tool::{EGRESS, Inventory, OWN, egress_operations, own_operations, protocol_operations};

/// The server name that Claude Code's built-in tools go by.
pub const CLAUDE: &str = "claude";

/// Names that no server can have: they stand for what is no server.
pub const RESERVED: [&str; 3] = [CLAUDE, EGRESS, OWN];

/// Claude Code's built-in tools as its client declares them, descriptions removed.
pub const CLAUDE_CODE_TOOLS: &str = include_str!("claude_code.json");

/// The inventory policies are written against: every reviewed tool, and the data-carrying protocol methods of
/// every reviewed server.
pub fn inventory(lock: &Lock) -> Inventory {
    let mut tools = egress_operations();
    tools.extend(own_operations());
    for (server, reviewed) in &lock.servers {
        tools.extend(reviewed.tools.iter().map(|(name, tool)| tool.to_tool(server, name)));
        if server != CLAUDE {
            tools.extend(protocol_operations(server));
        }
    }
    Inventory::new(tools)
}
