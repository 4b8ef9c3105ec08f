//! The filter in use: what comes back from tools is searched, what it finds is replaced by handles, and handles become what they
//! stand for only in the arguments that the configuration names. A handle that would be saved or sent anywhere else stops the
//! call, so that it never takes the place of what it stands for.

use crate::config::filter::Filter as Configured;
use crate::config::secret::Argument;
use crate::receipt::Output;
use crate::secrets::Secrets;
use crate::wire::frame::Object;
use crate::written;
use judge::filter::across::{Cut, Ends, across};
use judge::filter::again::Again;
use judge::filter::handle::{HandleInWrite, Handles, Held, SessionKey, Unrestored};
use judge::filter::known::{self, Known, Replace};
use judge::filter::{
    Class, Filter, Finding, Personal, RESULT_BYTES_MAX, Redacted, Settings, Stream, Withheld, screen,
};
use judge::label::Labeled;
use judge::request::tree::Tree;
use judge::tool::ToolName;
use serde_json::value::RawValue;
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// From here on a result is searched where it does not keep other work of this thread waiting, in bytes.
const SEARCHED_AT_ONCE_BYTES_MAX: usize = 64 * 1024;

/// What one session had taken out of its results.
pub struct Hidden {
    key: SessionKey,
    handles: Mutex<Handles>,
    /// What was taken out once, to be found again; of which generation of the handles.
    again: Mutex<(u64, Option<TakenOut>)>,
    /// Where its last results ended, for values that are cut up.
    ends: Mutex<Ends>,
}

impl Hidden {
    /// Nothing yet, under a key of its own.
    pub fn new() -> Self {
        Self {
            key: SessionKey::new(&crate::random::bytes()),
            handles: Mutex::default(),
            again: Mutex::default(),
            ends: Mutex::default(),
        }
    }
}

/// What was taken out once, and the filters that know it, by what of persons they look for.
#[derive(Clone)]
struct TakenOut {
    again: Again,
    known: Known,
    filters: Vec<(Personal, Filter)>,
}

impl Hidden {
    /// What was taken out once, and a filter that knows it and looks for `personal`; nothing when nothing was.
    fn again(&self, settings: &Settings, personal: Personal) -> Option<(Again, Filter)> {
        let mut again = self.again.lock().unwrap_or_else(PoisonError::into_inner);
        let handles = self.handles();
        if again.0 != handles.generation() {
            // A set that cannot be compiled leaves the exact search, and the detectors.
            let known = |again: &Again| again.known().map_err(|error| tracing::warn!("{error}")).ok();
            let found = Again::of(&handles);
            let known = found.as_ref().and_then(known);
            let taken = found.zip(known).map(|(again, known)| TakenOut { again, known, filters: Vec::new() });
            *again = (handles.generation(), taken);
        }
        let taken = again.1.as_mut()?;
        let held = taken.filters.iter().find(|(of, _)| *of == personal).map(|(_, filter)| filter.clone());
        let filter = held.unwrap_or_else(|| {
            let filter = Filter::compile(&Settings { personal, ..settings.clone() }, taken.known.clone());
            taken.filters.push((personal, filter.clone()));
            filter
        });
        Some((taken.again.clone(), filter))
    }

    /// `text` without the parts of guarded values that are cut up in it.
    fn cut(&self, text: &[u8], known: &Known) -> Option<Cut> {
        if known.is_empty() {
            return None;
        }
        across(text, known, &mut self.ends.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn handles(&self) -> MutexGuard<'_, Handles> {
        self.handles.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Hidden {
    fn default() -> Self {
        Self::new()
    }
}

/// A text without what it must not show.
pub(crate) struct Cleared {
    /// The text.
    pub(crate) text: Vec<u8>,
    /// What was taken out of it, in words.
    pub(crate) note: String,
}

/// A text on its way, in pieces.
pub(crate) struct Flow {
    guarded: Option<known::Stream>,
    stream: Stream,
    between: Vec<u8>,
    origin: String,
}

impl Flow {
    /// The next bytes, as far as they may be shown by now.
    pub(crate) fn push(&mut self, hidden: &Hidden, chunk: &[u8], out: &mut Vec<u8>) {
        match &mut self.guarded {
            None => self.stream.push(chunk, out),
            Some(guarded) => {
                guarded.push(chunk, &mut self.between);
                self.stream.push(&self.between, out);
                self.between.clear();
            }
        }
        hidden.handles().keep_text(self.stream.take_kept(), &self.origin);
    }

    /// What was held back. The text may go on.
    pub(crate) fn flush(&mut self, hidden: &Hidden, out: &mut Vec<u8>) {
        if let Some(guarded) = &mut self.guarded {
            guarded.flush(&mut self.between);
            self.stream.push(&self.between, out);
            self.between.clear();
        }
        self.stream.flush(out);
        hidden.handles().keep_text(self.stream.take_kept(), &self.origin);
    }

    /// What was taken out of it, in words.
    pub(crate) fn note(&self) -> String {
        let found = self.stream.findings().iter().filter(|found| found.class != Class::Handle);
        let guarded = self.guarded.as_ref().and_then(|guarded| guarded.findings().first());
        with_guarded(noted(found), guarded.map(|found| &*found.handle))
    }
}

/// The filter of one gate.
pub struct Screen {
    settings: Settings,
    /// By what of persons is looked for: everywhere, at each place that has its own, and in words that are of no place.
    filters: Vec<(Personal, Filter)>,
    kinds: Configured,
    /// What of persons is looked for in words that are of no place: whatever is at any.
    of_no_place: Personal,
    /// What looks for what may not be sent, likewise.
    outward: Vec<(Personal, Filter)>,
    restore: Vec<Argument>,
}

impl Screen {
    /// The one that `settings` ask for.
    ///
    /// # Errors
    /// What they say wrong, in words.
    pub fn open(kinds: &Configured) -> Result<Self, String> {
        // Values of secrets are taken out where they arrive, before anything reads them.
        let known = Known::compile(&[]).map_err(|error| error.to_string())?;
        let restore = kinds.restore.clone();
        let settings = kinds.settings()?;
        let places = kinds.of.keys().map(String::as_str).chain([""]);
        let places = places.map(|place| kinds.kinds_of(place)).collect::<Result<Vec<_>, _>>()?;
        let of_no_place = places.iter().fold(Personal::NONE, |all, kinds| all.and(kinds.returned));
        let outward = Settings { secrets: false, rules: Vec::new(), ..settings.clone() };
        let compiled = |settings: &Settings, personal: Vec<Personal>| {
            let mut filters: Vec<(Personal, Filter)> = Vec::new();
            for personal in personal {
                if filters.iter().all(|(held, _)| *held != personal) {
                    let settings = Settings { personal, ..settings.clone() };
                    filters.push((personal, Filter::compile(&settings, known.clone())));
                }
            }
            filters
        };
        let returned = places.iter().map(|kinds| kinds.returned).chain([of_no_place]).collect();
        Ok(Self {
            filters: compiled(&settings, returned),
            outward: compiled(&outward, places.iter().map(|kinds| kinds.sent).collect()),
            settings,
            kinds: kinds.clone(),
            of_no_place,
            restore,
        })
    }

    /// What of persons is taken out of what comes from `SERVER/TOOL`.
    fn returned(&self, place: &str) -> Personal {
        // Every kind was understood when the screen was opened.
        self.kinds.kinds_of(place).map_or(Personal::ALL, |kinds| kinds.returned)
    }

    /// Why `arguments` may not be sent to `tool` as they are written, in words; a handle in them says nothing.
    pub(crate) fn unsendable(&self, hidden: &Hidden, tool: &ToolName, arguments: &Tree) -> Option<String> {
        let sent = self.kinds.kinds_of(&tool.to_string()).map_or(Personal::ALL, |kinds| kinds.sent);
        if sent == Personal::NONE {
            return None;
        }
        let (_, filter) = self.outward.iter().find(|(held, _)| *held == sent)?;
        let Tree::Map(members) = arguments else { return None };
        members.iter().find_map(|(argument, value)| {
            let text = value.canonical();
            let found = filter.redact(text.as_bytes(), &hidden.key).findings;
            let found = found.into_iter().find(|found| found.class == Class::Personal)?;
            Some(format!(
                "argument `{argument}` says personal data ({}), which may not be sent to {tool}; leave it out, or use the handle \
                 it has where it was read",
                found.kind
            ))
        })
    }

    /// `output` without what it must not show, and what that was, in words.
    ///
    /// # Errors
    /// [`Withheld`]: it could not be written without it.
    pub(crate) fn passed<O: Output>(
        &self,
        secrets: &Secrets,
        hidden: &Hidden,
        output: Labeled<O>,
    ) -> Result<(Labeled<O>, String), Withheld> {
        let origin = output.source().to_string();
        let personal = self.returned(&origin);
        let (output, length) = output.peek(|output| output.as_ref().len());
        // Without its values it must not be shown, and whole it was searched for them where it arrived.
        let known =
            secrets.known().map_err(|_| Withheld::Unwritable { source_name: output.source().clone() })?;
        let mut guarded = None;
        let searched = aside(length, || {
            screen(output, |text| {
                let Some(cut) = hidden.cut(text, &known) else {
                    return self.searched(hidden, personal, text);
                };
                let mut redacted = self.searched(hidden, personal, &cut.text);
                // What was cut is a finding, or the result would be passed as it came.
                redacted.findings.push(cut.finding());
                guarded = Some(cut.handle);
                redacted
            })
        })?;
        let found = searched.findings.iter().filter(|found| found.start < found.end);
        let note = with_guarded(noted(found), guarded.as_deref());
        hidden.handles().keep(searched.kept, &origin);
        Ok((searched.result, note))
    }

    /// `text`, which is JSON that `place` (`SERVER/TOOL`) gave from `origin`, without values of `secrets` and without what the settings name; nothing when it may
    /// be shown as it is.
    ///
    /// # Errors
    /// It is too long or cannot be searched, in words; then it may not be shown.
    pub(crate) fn cleared(
        &self,
        secrets: &Secrets,
        hidden: &Hidden,
        (place, origin): (&str, &str),
        text: &[u8],
    ) -> Result<Option<Cleared>, String> {
        if text.len() > RESULT_BYTES_MAX {
            return Err(format!("it is {} bytes, more than {RESULT_BYTES_MAX}; ask for less", text.len()));
        }
        aside(text.len(), || {
            let guarded = secrets.searched(text)?;
            let named = guarded.as_ref().map(|(_, name)| name.clone());
            let searched = guarded.as_ref().map_or(text, |(clean, _)| clean);
            let cut = hidden.cut(searched, &secrets.known()?);
            let named = named.or_else(|| cut.as_ref().map(|cut| cut.handle.to_string()));
            let searched = cut.as_ref().map_or(searched, |cut| &cut.text);
            let redacted = self.searched(hidden, self.returned(place), searched);
            let found = redacted.findings.iter().filter(|found| found.class != Class::Handle);
            let note = with_guarded(noted(found), named.as_deref());
            if note.is_empty() {
                return Ok(None);
            }
            hidden.handles().keep(redacted.kept, origin);
            Ok(Some(Cleared { text: redacted.text, note }))
        })
    }

    /// Searches JSON for what was taken out before, however it is written, and for what the settings name.
    fn searched(&self, hidden: &Hidden, personal: Personal, text: &[u8]) -> Redacted {
        let Some((again, filter)) = hidden.again(&self.settings, personal) else {
            return self.filter(personal).redact(text, &hidden.key);
        };
        let Some((text, kept, findings)) = again.hide(text) else { return filter.redact(text, &hidden.key) };
        let mut redacted = filter.redact(&text, &hidden.key);
        redacted.kept.extend(kept);
        redacted.findings.extend(findings);
        redacted
    }

    /// The filter that looks for `personal`, one of those that were named.
    fn filter(&self, personal: Personal) -> &Filter {
        let held = self.filters.iter().find(|(held, _)| *held == personal).or(self.filters.last());
        &held.expect("there is one for all places").1
    }

    /// Remembers what looks like a handle in JSON from the file `origin`, as it is on disk: there it is text like any other.
    pub(crate) fn note_found(&self, hidden: &Hidden, origin: &str, text: &[u8]) {
        hidden.handles().keep_found(text, origin);
    }

    /// Begins to search a text of `origin` that is no JSON and arrives in pieces.
    ///
    /// # Errors
    /// It cannot be searched, in words; then nothing of it may be shown.
    pub(crate) fn flow(&self, secrets: &Secrets, hidden: &Hidden, origin: &str) -> Result<Flow, String> {
        let known = secrets.known()?;
        let personal = self.returned(origin);
        let again = hidden.again(&self.settings, personal);
        let filter = again.as_ref().map_or_else(|| self.filter(personal), |(_, filter)| filter);
        Ok(Flow {
            guarded: (!known.is_empty()).then(|| known.stream(Replace::Handle)),
            stream: filter.stream(&hidden.key),
            between: Vec::new(),
            origin: origin.to_owned(),
        })
    }

    /// `arguments` of a call of `tool` as they are judged: what would be sent is what is decided about, not the handle that stands
    /// for it.
    ///
    /// # Errors
    /// A handle stands where it is not put back, in words.
    pub(crate) fn meant(&self, hidden: &Hidden, tool: &ToolName, arguments: Tree) -> Result<Tree, String> {
        let file = written::origin(tool, &arguments);
        let handles = hidden.handles();
        let meant = |tree: Tree, is_restored: bool, is_text: bool| {
            let text = tree.canonical();
            let from_there =
                |held: &Held<'_>| is_text && file.as_deref().is_some_and(|file| held.came_from(file));
            let restored = handles.restore(text.as_bytes(), |held| is_restored || from_there(held));
            let restored = restored.map_err(|refused| match first(refused) {
                Some(refused) if refused.why == Unrestored::NotPermitted && written::writes(tool) => format!(
                    "`{}` stands for a hidden value, which goes back only into a file that it was read from; read this file \
                     first, or leave that part as it is",
                    refused.handle
                ),
                refused => refused.map(|refused| refused.to_string()).unwrap_or_default(),
            })?;
            if restored == text.as_bytes() {
                return Ok(tree);
            }
            Tree::parse(&restored).map_err(|error| format!("what was taken out cannot be put back: {error}"))
        };
        let Tree::Map(members) = arguments else { return meant(arguments, false, false) };
        let mut judged = Vec::with_capacity(members.len());
        for (argument, value) in members {
            meant(Tree::Text(argument.clone()), false, false)?;
            let is_restored = self.is_restored(tool, &argument);
            let is_text = written::is_text(tool, &argument);
            judged.push((argument, meant(value, is_restored, is_text)?));
        }
        Ok(Tree::Map(judged.into_iter().collect()))
    }

    /// Words for the agent and the journal, which may quote what was judged.
    pub(crate) fn said(&self, hidden: &Hidden, words: &str) -> String {
        String::from_utf8_lossy(&self.searched(hidden, self.of_no_place, words.as_bytes()).text).into_owned()
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
            let restored = hidden.handles().restore(value.get().as_bytes(), |_| true);
            let restored =
                restored.map_err(|refused| first(refused).map_or_else(String::new, |one| one.to_string()))?;
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

/// The first of what was refused.
fn first(refused: Vec<HandleInWrite>) -> Option<HandleInWrite> {
    refused.into_iter().next()
}

/// What was found, by kind.
fn noted<'a>(findings: impl Iterator<Item = &'a Finding>) -> String {
    let mut kinds: BTreeMap<&str, usize> = BTreeMap::new();
    findings.for_each(|finding| *kinds.entry(&finding.kind).or_default() += 1);
    let kinds: Vec<String> = kinds.iter().map(|(kind, count)| format!("{count} {kind}")).collect();
    if kinds.is_empty() { String::new() } else { format!("taken out of it: {}", kinds.join(", ")) }
}

/// The same, with whose value was found.
fn with_guarded(note: String, name: Option<&str>) -> String {
    match name {
        None => note,
        Some(name) if note.is_empty() => format!("taken out of it: the value of {name}"),
        Some(name) => format!("{note}, the value of {name}"),
    }
}

/// Does what takes as long as searching so many bytes where it keeps no other work of this thread waiting.
pub(crate) fn aside<T>(bytes: usize, search: impl FnOnce() -> T) -> T {
    let is_multi = tokio::runtime::Handle::try_current()
        .is_ok_and(|runtime| runtime.runtime_flavor() == tokio::runtime::RuntimeFlavor::MultiThread);
    if bytes > SEARCHED_AT_ONCE_BYTES_MAX && is_multi {
        tokio::task::block_in_place(search)
    } else {
        search()
    }
}
