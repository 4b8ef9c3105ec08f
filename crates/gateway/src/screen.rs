//! The filter in use: what comes back from tools is searched, what it finds is replaced by handles, and handles become what they
//! stand for only in the arguments that the configuration names. A handle that would be saved or sent anywhere else stops the
//! call, so that it never takes the place of what it stands for.

use crate::config::filter::Filter as Configured;
use crate::config::secret::Argument;
use crate::receipt::Output;
use crate::wire::frame::Object;
use judge::filter::handle::{HandleInWrite, Handles, SessionKey};
use judge::filter::known::Known;
use judge::filter::{Filter, Withheld, screen};
use judge::label::Labeled;
use judge::request::tree::Tree;
use judge::tool::ToolName;
use serde_json::value::RawValue;
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

/// From here on a result is searched where it does not keep other work of this thread waiting, in bytes.
const SEARCHED_AT_ONCE_BYTES_MAX: usize = 64 * 1024;

/// What one session had taken out of its results.
pub struct Hidden {
    key: SessionKey,
    handles: Mutex<Handles>,
}

impl Hidden {
    /// Nothing yet, under a key of its own.
    pub fn new() -> Self {
        Self { key: SessionKey::new(&crate::random::bytes()), handles: Mutex::default() }
    }
}

impl Default for Hidden {
    fn default() -> Self {
        Self::new()
    }
}

/// The filter of one gate.
pub struct Screen {
    filter: Filter,
    restore: Vec<Argument>,
}

impl Screen {
    /// The one that `settings` ask for.
    ///
    /// # Errors
    /// What they say wrong, in words.
    pub fn open(settings: &Configured) -> Result<Self, String> {
        // Values of secrets are taken out where they arrive, before anything reads them.
        let known = Known::compile(&[]).map_err(|error| error.to_string())?;
        Ok(Self { filter: Filter::compile(&settings.settings()?, known), restore: settings.restore.clone() })
    }

    /// `output` without what it must not show, and what that was, in words.
    ///
    /// # Errors
    /// [`Withheld`]: it could not be written without it.
    pub(crate) fn passed<O: Output>(
        &self,
        hidden: &Hidden,
        output: Labeled<O>,
    ) -> Result<(Labeled<O>, String), Withheld> {
        let origin = output.source().to_string();
        let (output, length) = output.peek(|output| output.as_ref().len());
        let search = || screen(output, &self.filter, &hidden.key);
        let is_multi = tokio::runtime::Handle::try_current()
            .is_ok_and(|runtime| runtime.runtime_flavor() == tokio::runtime::RuntimeFlavor::MultiThread);
        let searched = if length > SEARCHED_AT_ONCE_BYTES_MAX && is_multi {
            tokio::task::block_in_place(search)
        } else {
            search()
        }?;
        let mut kinds: BTreeMap<&str, usize> = BTreeMap::new();
        for finding in &searched.findings {
            *kinds.entry(&finding.kind).or_default() += 1;
        }
        let kinds: Vec<String> = kinds.iter().map(|(kind, count)| format!("{count} {kind}")).collect();
        let note =
            if kinds.is_empty() { String::new() } else { format!("taken out of it: {}", kinds.join(", ")) };
        hidden.handles.lock().unwrap_or_else(PoisonError::into_inner).keep(searched.kept, &origin);
        Ok((searched.result, note))
    }

    /// `arguments` of a call of `tool` as they are judged: what would be sent is what is decided about, not the handle that stands
    /// for it.
    ///
    /// # Errors
    /// A handle stands where it is not put back, in words.
    pub(crate) fn meant(&self, hidden: &Hidden, tool: &ToolName, arguments: Tree) -> Result<Tree, String> {
        let handles = hidden.handles.lock().unwrap_or_else(PoisonError::into_inner);
        let meant = |tree: Tree, is_restored: bool| {
            let text = tree.canonical();
            let restored = handles.restore(text.as_bytes(), |_| is_restored).map_err(first)?;
            if restored == text.as_bytes() {
                return Ok(tree);
            }
            Tree::parse(&restored).map_err(|error| format!("what was taken out cannot be put back: {error}"))
        };
        let Tree::Map(members) = arguments else { return meant(arguments, false) };
        let mut judged = Vec::with_capacity(members.len());
        for (argument, value) in members {
            meant(Tree::Text(argument.clone()), false)?;
            let is_restored = self.is_restored(tool, &argument);
            judged.push((argument, meant(value, is_restored)?));
        }
        Ok(Tree::Map(judged.into_iter().collect()))
    }

    /// Words for the agent and the journal, which may quote what was judged.
    pub(crate) fn said(&self, hidden: &Hidden, words: &str) -> String {
        String::from_utf8_lossy(&self.filter.redact(words.as_bytes(), &hidden.key).text).into_owned()
    }

    /// `arguments` of a permitted call of `tool` with what was taken out put back where it may be.
    ///
    /// # Errors
    /// A handle that cannot be put back, in words.
    pub(crate) fn restored(
        &self,
        hidden: &Hidden,
        tool: &ToolName,
        mut arguments: Object,
    ) -> Result<Object, String> {
        let named: Vec<String> = arguments.members().map(|(argument, _)| argument.to_owned()).collect();
        for argument in named.iter().filter(|argument| self.is_restored(tool, argument)) {
            let Some(value) = arguments.get(argument) else { continue };
            let handles = hidden.handles.lock().unwrap_or_else(PoisonError::into_inner);
            let restored = handles.restore(value.get().as_bytes(), |_| true).map_err(first)?;
            // What was taken out of JSON is put back into JSON as it was written there.
            let restored = String::from_utf8(restored).ok().and_then(|text| RawValue::from_string(text).ok());
            let restored = restored
                .ok_or_else(|| format!("what was taken out cannot be put back into argument `{argument}`"))?;
            arguments.set(argument, restored);
        }
        Ok(arguments)
    }

    fn is_restored(&self, tool: &ToolName, argument: &str) -> bool {
        self.restore.iter().any(|place| place.tool == *tool && place.name == argument)
    }
}

/// The first of what was refused, in words.
fn first(refused: Vec<HandleInWrite>) -> String {
    refused.into_iter().next().map_or_else(String::new, |refused| refused.to_string())
}
