//! Conversations: what is known of where values come from, shared by every session that serves the same conversation.
//! Which conversation a call belongs to is said by its adapter; nothing an agent sends as an argument chooses one.

use judge::flow::{Explained, Known, Provenance, Read};
use judge::request::tree::Tree;
use judge::tool::{Inventory, Tool, ToolName};
use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Most conversations with a name kept at once; the one that nothing has used longest is forgotten first.
const CONVERSATIONS_MAX: usize = 1_024;
/// Most names of forgotten conversations remembered; past it every conversation with a name begins as if it had been forgotten.
const FORGOTTEN_MAX: usize = 64 * 1_024;
/// Most calls of clients remembered with their conversation.
const CALLS_MAX: usize = 4_096;
/// Longest name of a conversation, in bytes.
pub const NAME_BYTES_MAX: usize = 256;

/// One conversation of a user with an agent.
#[derive(Default)]
pub struct Conversation {
    provenance: Mutex<Provenance>,
}

impl Conversation {
    /// What is known in it now.
    pub fn provenance(&self) -> MutexGuard<'_, Provenance> {
        locked(&self.provenance)
    }

    /// Takes in a message of the user.
    pub fn hear(&self, words: &str) {
        self.provenance().hear(words);
    }

    /// Takes in what the operation `name` answered, before the agent sees it.
    pub fn read(&self, inventory: &Inventory, name: &ToolName, parts: &[Read]) {
        self.provenance().read(name, inventory.tool(name), parts);
    }

    /// Takes in what a reader without tools took out of what the operation `name` answered, before the agent sees it.
    pub fn read_extracted(&self, inventory: &Inventory, name: &ToolName, parts: &[Read]) {
        self.provenance().read_extracted(name, inventory.tool(name), parts);
    }

    /// Takes in what a permitted call is about to write.
    pub fn wrote(&self, tool: &Tool, arguments: &Tree) {
        self.provenance().wrote(tool, arguments);
    }

    /// Endorses what a person approved; the approval is in the journal.
    pub fn endorse(&self, approved: &Explained) {
        self.provenance().endorse(approved);
    }
}

/// The conversations of one gate.
pub struct Conversations {
    known: Arc<Known>,
    open: Mutex<Open>,
}

#[derive(Default)]
struct Open {
    by_name: HashMap<String, (Arc<Conversation>, u64)>,
    /// What was read in these is not known any more: they do not begin trusted again.
    forgotten: HashSet<String>,
    /// Conversations by the client's id of a call that is on its way to an MCP session.
    by_call: VecDeque<(String, Arc<Conversation>)>,
    /// Counts uses, to tell which is oldest.
    uses: u64,
}

impl Conversations {
    /// None yet; in each of them `known` is configured.
    pub fn new(known: Known) -> Self {
        Self { known: Arc::new(known), open: Mutex::default() }
    }

    /// A conversation nobody shares.
    pub fn alone(&self) -> Arc<Conversation> {
        Arc::new(Conversation { provenance: Mutex::new(Provenance::new(self.known.clone())) })
    }

    /// The conversation of this name, begun now where there is none.
    pub fn named(&self, name: &str) -> Arc<Conversation> {
        let mut open = locked(&self.open);
        open.uses += 1;
        let now = open.uses;
        if let Some((found, used)) = open.by_name.get_mut(name) {
            *used = now;
            return found.clone();
        }
        if open.by_name.len() >= CONVERSATIONS_MAX {
            // One that a session still holds is not forgotten while another could be.
            let oldest = open
                .by_name
                .iter()
                .min_by_key(|(_, (held, used))| (Arc::strong_count(held) > 1, *used))
                .map(|(name, _)| name.clone());
            if let Some(name) = oldest {
                open.by_name.remove(&name);
                if open.forgotten.len() < FORGOTTEN_MAX {
                    open.forgotten.insert(name);
                }
            }
        }
        let begun = self.alone();
        if open.forgotten.contains(name) || open.forgotten.len() >= FORGOTTEN_MAX {
            begun.provenance().distrust();
        }
        open.by_name.insert(name.to_owned(), (begun.clone(), now));
        begun
    }

    /// Notes that the client's call of this id belongs to `conversation`.
    pub fn expect(&self, client_call: &str, conversation: Arc<Conversation>) {
        let mut open = locked(&self.open);
        if open.by_call.len() >= CALLS_MAX {
            open.by_call.pop_front();
        }
        open.by_call.push_back((client_call.to_owned(), conversation));
    }

    /// The conversation that the client's call of this id belongs to, where an adapter said so.
    pub fn expected(&self, client_call: &str) -> Option<Arc<Conversation>> {
        if client_call.is_empty() {
            return None;
        }
        let open = locked(&self.open);
        open.by_call.iter().rev().find(|(call, _)| call == client_call).map(|(_, found)| found.clone())
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_conversation_and_a_forgotten_one_begins_anew_and_untrusted() {
        let all = Conversations::new(Known::default());
        let held = all.named("held");
        assert!(Arc::ptr_eq(&held, &all.named("held")));
        let first = Arc::downgrade(&all.named("first"));
        for number in 0..CONVERSATIONS_MAX {
            drop(all.named(&number.to_string()));
        }
        assert!(first.upgrade().is_none());
        let is_trusted =
            |name| all.named(name).provenance().label().integrity() == judge::label::Integrity::Trusted;
        assert!(!is_trusted("first") && is_trusted("another"));
        assert!(Arc::ptr_eq(&held, &all.named("held")));
        all.expect("toolu_1", held.clone());
        assert!(all.expected("toolu_1").is_some_and(|found| Arc::ptr_eq(&found, &held)));
        assert!(all.expected("toolu_2").is_none() && all.expected("").is_none());
    }
}
