//! Conversations: what is known of where values come from, shared by every session that serves the same conversation.
//! Which conversation a call belongs to is said by its adapter; nothing an agent sends as an argument chooses one.

use crate::clock;
use crate::wire::control::PhaseNow;
use judge::approval::phase::{Ladder, NoMove, Phase};
use judge::flow::{Explained, Known, Provenance, Read};
use judge::request::tree::Tree;
use judge::tool::{Inventory, Tool, ToolName};
use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};

/// Most conversations with a name kept at once; the one that nothing has used longest is forgotten first.
const CONVERSATIONS_MAX: usize = 1_024;
/// Most names of forgotten conversations remembered; past it every conversation with a name begins as if it had been forgotten.
const FORGOTTEN_MAX: usize = 64 * 1_024;
/// Most calls of clients remembered with their conversation.
const CALLS_MAX: usize = 4_096;
/// Longest name of a conversation, in bytes.
pub const NAME_BYTES_MAX: usize = 256;

/// Most conversations without a name that are looked at to be shown.
const ALONE_MAX: usize = 1_024;

/// One conversation of a user with an agent.
pub struct Conversation {
    name: String,
    /// What its adapter calls it, where it began before that was known.
    called: OnceLock<String>,
    provenance: Mutex<Provenance>,
    ladder: Arc<Ladder>,
    phase: Mutex<Phase>,
}

impl Conversation {
    /// What is known in it now.
    pub fn provenance(&self) -> MutexGuard<'_, Provenance> {
        locked(&self.provenance)
    }

    /// Its name; one the gate gave it where nobody named it.
    pub fn name(&self) -> &str {
        self.called.get().unwrap_or(&self.name)
    }

    /// The phase in force.
    pub fn phase(&self) -> String {
        locked(&self.phase).name(&self.ladder, clock::seconds()).to_owned()
    }

    /// The phase in force and when it ends.
    pub fn phase_now(&self) -> PhaseNow {
        let phase = locked(&self.phase);
        let standing = phase.standing(&self.ladder, clock::seconds());
        PhaseNow {
            conversation: self.name().to_owned(),
            phase: standing.name.to_owned(),
            until: standing.until,
            idle_until: standing.idle_until,
            writes_left: standing.writes_left,
            then: standing.then.to_owned(),
        }
    }

    /// Notes a permitted call that was judged in `phase`; a write takes one of those that are left.
    ///
    /// # Errors
    /// That phase is over.
    pub fn spend_phase(&self, phase: &str, is_write: bool) -> Result<(), NoMove> {
        locked(&self.phase).spend(&self.ladder, phase, is_write, clock::seconds())
    }

    /// Goes to a phase that permits no more than the one in force.
    ///
    /// # Errors
    /// [`NoMove`].
    pub fn narrow(&self, to: &str) -> Result<(), NoMove> {
        locked(&self.phase).narrow(&self.ladder, to, clock::seconds())
    }

    /// Goes to a wider phase for a while, as was granted and recorded.
    ///
    /// # Errors
    /// [`NoMove::Unknown`].
    pub fn widen(&self, to: &str, seconds: Option<i64>, writes: Option<u32>) -> Result<(), NoMove> {
        locked(&self.phase).widen(&self.ladder, to, seconds, writes, clock::seconds())
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

    /// Whether nothing was said or read in it yet, as far as is known.
    pub fn is_new(&self) -> bool {
        self.provenance().is_new()
    }

    /// Goes on as `other` does too: what was read there is read here, and its phase is no wider.
    fn take_on(&self, other: &Self) {
        let theirs = other.provenance().clone();
        let mut ours = self.provenance();
        if ours.is_new() {
            *ours = theirs;
        } else {
            ours.reads_as(theirs.label());
        }
        drop(ours);
        if let Err(error) = self.narrow(&other.phase()) {
            tracing::debug!("conversation `{}`: {error}", self.name());
        }
    }

    /// Endorses what a person approved; the approval is in the journal.
    pub fn endorse(&self, approved: &Explained) {
        self.provenance().endorse(approved);
    }
}

/// The conversations of one gate.
pub struct Conversations {
    known: Arc<Known>,
    ladder: Arc<Ladder>,
    open: Mutex<Open>,
}

#[derive(Default)]
struct Open {
    by_name: HashMap<String, (Arc<Conversation>, u64)>,
    /// What was read in these is not known any more: they do not begin trusted again.
    forgotten: HashSet<String>,
    /// Where a conversation was narrowed to, by its name: it does not widen by being forgotten.
    narrowed: HashMap<String, String>,
    /// Those without a name, to be shown.
    alone: Vec<Weak<Conversation>>,
    /// Conversations by the client's id of a call that is on its way to an MCP session.
    by_call: VecDeque<(String, Arc<Conversation>)>,
    /// Counts uses, to tell which is oldest.
    uses: u64,
}

impl Conversations {
    /// None yet; in each of them `known` is configured, and it begins where `ladder` does or where it was `narrowed` to.
    pub fn new(known: Known, ladder: Ladder, narrowed: HashMap<String, String>) -> Self {
        let open = Open { narrowed, ..Open::default() };
        Self { known: Arc::new(known), ladder: Arc::new(ladder), open: Mutex::new(open) }
    }

    /// The phases there are.
    pub fn ladder(&self) -> &Ladder {
        &self.ladder
    }

    /// A conversation nobody shares.
    pub fn alone(&self) -> Arc<Conversation> {
        let begun = self.begun(crate::random::name("t"));
        let mut open = locked(&self.open);
        if open.alone.len() >= ALONE_MAX {
            open.alone.retain(|held| held.strong_count() > 0);
        }
        if open.alone.len() < ALONE_MAX {
            open.alone.push(Arc::downgrade(&begun));
        }
        begun
    }

    fn begun(&self, name: String) -> Arc<Conversation> {
        Arc::new(Conversation {
            name,
            called: OnceLock::new(),
            provenance: Mutex::new(Provenance::new(self.known.clone())),
            ladder: self.ladder.clone(),
            phase: Mutex::new(self.ladder.start()),
        })
    }

    /// Every conversation that is open, those without a name last.
    pub fn all(&self) -> Vec<Arc<Conversation>> {
        let open = locked(&self.open);
        let mut named: Vec<_> = open.by_name.values().map(|(held, _)| held.clone()).collect();
        named.sort_by(|a, b| a.name().cmp(b.name()));
        // One may have several names.
        named.dedup_by(|a, b| Arc::ptr_eq(a, b));
        named.extend(open.alone.iter().filter_map(Weak::upgrade).filter(|held| held.called.get().is_none()));
        named
    }

    /// The open conversation of this name, where there is one.
    pub fn find(&self, name: &str) -> Option<Arc<Conversation>> {
        self.all().into_iter().find(|held| held.name() == name)
    }

    /// Remembers where a conversation was narrowed to.
    pub fn remember(&self, name: &str, phase: &str) {
        locked(&self.open).narrowed.insert(name.to_owned(), phase.to_owned());
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
        let begun = self.begun(name.to_owned());
        if let Some(phase) = open.narrowed.get(name)
            && let Err(error) = begun.narrow(phase)
        {
            // The phases were ordered anew since; the narrowest there is cannot be too wide.
            tracing::warn!("conversation `{name}`: {error}; it begins in the narrowest phase");
            let narrowest = self.ladder.names().next().unwrap_or_default();
            drop(begun.narrow(narrowest));
        }
        if open.forgotten.contains(name) || open.forgotten.len() >= FORGOTTEN_MAX {
            begun.provenance().distrust();
        }
        open.by_name.insert(name.to_owned(), (begun.clone(), now));
        begun
    }

    /// Makes `own` the conversation of this name as well: it goes on as the one of that name does, if there is one.
    pub fn also(&self, name: &str, own: &Arc<Conversation>) {
        let known = self.named(name);
        if Arc::ptr_eq(&known, own) {
            return;
        }
        own.take_on(&known);
        own.called.get_or_init(|| name.to_owned());
        let mut open = locked(&self.open);
        let used = open.uses;
        open.by_name.insert(name.to_owned(), (own.clone(), used));
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
        let ladder = Ladder::new(Vec::new(), "default").expect("one phase");
        let all = Conversations::new(Known::default(), ladder, HashMap::new());
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

    #[test]
    fn one_conversation_has_several_names_and_what_was_read_under_any() {
        let ladder = Ladder::new(Vec::new(), "default").expect("one phase");
        let all = Conversations::new(Known::default(), ladder, HashMap::new());
        let is_trusted =
            |one: &Conversation| one.provenance().label().integrity() == judge::label::Integrity::Trusted;
        let own = all.alone();
        let before = all.named("before");
        before.hear("pay bob");
        all.also("before", &own);
        assert!(Arc::ptr_eq(&all.named("before"), &own) && own.name() == "before" && !own.is_new());
        assert!(is_trusted(&own), "nothing was read");
        all.also("fresh", &own);
        assert!(Arc::ptr_eq(&all.named("fresh"), &own) && is_trusted(&own) && own.name() == "before");
        all.named("tainted").provenance().distrust();
        all.also("tainted", &own);
        assert!(!is_trusted(&own) && !is_trusted(&all.named("fresh")), "what one has read, all have");
        assert_eq!(all.all().len(), 1, "it is shown once");
    }
}
