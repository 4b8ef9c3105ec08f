//! The gate's secrets: which exist, who gets what of them, and what must be seen nowhere. Values stay in the vault; what
//! leaves here are placeholders, and the automaton that finds values in whatever comes back.

use crate::config::Config;
use crate::config::secret::{Argument, Expose};
use judge::filter::known::{Guarded, Known, Replace, VALUE_BYTES_MIN};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use vault::{Binding, Grant, LOGIN_PREFIX, Logins, SecretName, Store, Unlock, Vault, Wallet};
use zeroize::Zeroizing;

/// What precedes and ends the name of a secret in a text that stands for its value.
pub(crate) const OPENING: &str = "${secret:";
pub(crate) const CLOSING: char = '}';

/// What is configured for one secret.
pub(crate) struct Setting {
    pub(crate) expose: Expose,
    bindings: Vec<Binding>,
    pub(crate) arguments: Vec<Argument>,
}

/// The secrets of one gate.
pub struct Secrets {
    vault: Arc<Vault>,
    /// What somebody signed in to; nothing without a store.
    logins: Option<Logins>,
    settings: BTreeMap<SecretName, Setting>,
    known: Mutex<Option<(u64, Known)>>,
}

impl Secrets {
    /// The secrets that `config` names, and those of the store of `folder`.
    ///
    /// # Errors
    /// A secret that is described in a way that cannot work, or a store that cannot be opened, in words.
    pub fn open(config: &Config, folder: &Path) -> Result<Self, String> {
        let mut settings = BTreeMap::new();
        let mut sources = BTreeMap::new();
        for (name, secret) in &config.secret {
            let wrong = |why: String| format!("[secret.{name}]: {why}");
            let name = SecretName::new(name).map_err(|error| wrong(error.to_string()))?;
            if name.as_str().starts_with(LOGIN_PREFIX) {
                return Err(wrong(format!("names that begin with `{LOGIN_PREFIX}` are those of logins")));
            }
            let uses = secret.uses.iter().map(crate::config::secret::Use::binding);
            let bindings = uses.collect::<Result<Vec<_>, _>>().map_err(wrong)?;
            sources.insert(name.clone(), secret.from.source().map_err(wrong)?);
            let setting = Setting { expose: secret.expose, bindings, arguments: secret.arguments.clone() };
            settings.insert(name, setting);
        }
        let signs_in = config.server.values().any(|server| server.auth.is_some());
        let store = if sources.is_empty() && !signs_in && !folder.join("secrets.vault").exists() {
            None
        } else {
            let store = Store::open(folder, Unlock::KeyFile(Store::key_file(folder)));
            Some(Arc::new(store.map_err(|error| format!("{}: {error}", folder.display()))?))
        };
        if let Some(store) = &store {
            // Nothing may use them, and still they must be seen nowhere.
            for entry in store.list().map_err(|error| error.to_string())? {
                // A login is no value to be put anywhere: it is known by its parts, and used for its server only.
                if !entry.name.as_str().starts_with(LOGIN_PREFIX) {
                    sources.entry(entry.name).or_insert(vault::Source::Store);
                }
            }
        }
        let grace = Duration::from_secs(vault::GRACE_SECONDS);
        let vault = Vault::new(store.clone(), sources, grace).map_err(|error| error.to_string())?;
        let logins = store.map(|store| Logins::new(vault.clone(), store, folder, &config.gate.authorities));
        Ok(Self { vault, logins, settings, known: Mutex::default() })
    }

    /// Fetches what can be had, so that it is known from the beginning, and keeps it fresh for ever.
    pub async fn tend(self: Arc<Self>) {
        for name in self.vault.names() {
            if let Err(error) = self.vault.hold(name).await {
                tracing::warn!("{error}");
            }
        }
        self.vault.tend().await;
    }

    /// Replaces `${secret:NAME}` in `environment` by what programs may have of it, and gives a wallet with those secrets
    /// and `more`. Placeholders are of use only where the network is `captured`.
    ///
    /// # Errors
    /// A secret that is not configured, cannot be had, or could be used nowhere; in words.
    pub async fn wallet(
        &self,
        environment: &mut BTreeMap<String, String>,
        more: &[String],
        captured: bool,
    ) -> Result<Arc<Wallet>, String> {
        let mut wanted: BTreeSet<SecretName> = BTreeSet::new();
        for name in more {
            wanted.insert(SecretName::new(name).map_err(|error| format!("`secrets`: `{name}`: {error}"))?);
        }
        for (variable, text) in environment.iter() {
            wanted.extend(named_in(text).map_err(|why| format!("variable `{variable}`: {why}"))?);
        }
        let mut grants = Vec::new();
        for name in &wanted {
            let Setting { expose, bindings, .. } = self.setting(name)?;
            if *expose == Expose::Process {
                continue;
            }
            if bindings.is_empty() {
                return Err(format!(
                    "secret `{name}` can be used nowhere; give [secret.{name}] a `use`, or `expose = \"process\"`"
                ));
            }
            if !captured {
                return Err(format!(
                    "secret `{name}` is put in where the network leaves the sandbox, and this one's does not pass there; \
                     list its hosts in `network`, or set `expose = \"process\"` in [secret.{name}]"
                ));
            }
            grants.push(Grant { name: name.clone(), bindings: bindings.clone() });
        }
        let wallet = Wallet::new(grants, self.vault.clone()).await.map_err(|error| error.to_string())?;
        for text in environment.values_mut() {
            *text = self.filled(text, &wallet).await?;
        }
        Ok(Arc::new(wallet))
    }

    /// `text` with each secret's name replaced by what programs may have of it.
    async fn filled(&self, text: &str, wallet: &Wallet) -> Result<String, String> {
        let mut filled = String::with_capacity(text.len());
        let mut rest = text;
        while let Some((before, after)) = rest.split_once(OPENING) {
            filled.push_str(before);
            let (name, behind) = after.split_once(CLOSING).ok_or_else(unclosed)?;
            let name = SecretName::new(name).map_err(|error| error.to_string())?;
            match wallet.placeholder(&name) {
                Some(placeholder) => filled.push_str(placeholder),
                None => filled.push_str(&self.value(&name).await?),
            }
            rest = behind;
        }
        filled.push_str(rest);
        Ok(filled)
    }

    /// What is configured for `name`.
    ///
    /// # Errors
    /// Nothing is, in words.
    pub(crate) fn setting(&self, name: &SecretName) -> Result<&Setting, String> {
        self.settings.get(name).ok_or_else(|| {
            format!("secret `{name}` is not configured; add [secret.{name}] to bailiwick.toml")
        })
    }

    /// The value itself, for whoever gets no placeholder.
    ///
    /// # Errors
    /// It cannot be had or is no text, in words.
    pub(crate) async fn value(&self, name: &SecretName) -> Result<Zeroizing<String>, String> {
        let held = self.vault.hold(name).await.map_err(|error| error.to_string())?;
        let value = held.expose(|value| String::from_utf8(value.to_vec()).map(Zeroizing::new));
        value.map_err(|_| format!("secret `{name}` is no text"))
    }

    /// A wallet of the gate's own, for the headers it sends to `server`: every secret that `texts` name.
    ///
    /// # Errors
    /// As for [`Secrets::wallet`].
    pub async fn own_wallet<'a>(&self, texts: impl Iterator<Item = &'a String>) -> Result<Wallet, String> {
        let mut wanted = BTreeSet::new();
        for text in texts {
            wanted.extend(named_in(text)?);
        }
        let grants = wanted
            .into_iter()
            .map(|name| Ok(Grant { bindings: self.setting(&name)?.bindings.clone(), name }))
            .collect::<Result<Vec<_>, String>>()?;
        Wallet::new(grants, self.vault.clone()).await.map_err(|error| error.to_string())
    }

    /// What somebody signed in to.
    pub fn logins(&self) -> Option<&Logins> {
        self.logins.as_ref()
    }

    /// A number that changes whenever a token of some login does.
    pub fn login_generation(&self) -> u64 {
        self.logins.as_ref().map_or(0, Logins::generation)
    }

    /// Everything the vault holds now, to be found in what comes back.
    ///
    /// # Errors
    /// A value that cannot be searched for; then nothing may pass unsearched.
    pub fn known(&self) -> Result<Known, String> {
        // Both only grow, so their sum names a state of both.
        let generation = self.vault.generation().wrapping_add(self.login_generation());
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        match &*known {
            Some((of, known)) if *of == generation => Ok(known.clone()),
            _ => {
                let compiled = self.compile(None)?;
                *known = Some((generation, compiled.clone()));
                Ok(compiled)
            }
        }
    }

    /// How many secrets there are, those of logins included.
    pub fn count(&self) -> usize {
        let mut logins = 0;
        if let Some(login) = &self.logins {
            login.each(|_, _| logins += 1);
        }
        self.vault.names().count() + logins
    }

    /// `text` with the name of each secret in place of its value, and one of those names; nothing when it holds none.
    ///
    /// # Errors
    /// It cannot be searched; then it may not be passed on at all.
    pub fn searched(&self, text: &[u8]) -> Result<Option<(Vec<u8>, String)>, String> {
        let known = self.known()?;
        if known.is_empty() {
            return Ok(None);
        }
        let (clean, findings) = known.redact(text, Replace::Handle);
        Ok(findings.first().map(|found| (clean, found.handle.to_string())))
    }

    /// `text` as it may be passed on: with the name of each secret in place of its value.
    ///
    /// # Errors
    /// It cannot be searched; then it may not be passed on at all.
    pub fn clean(&self, text: Vec<u8>) -> Result<Vec<u8>, String> {
        Ok(self.searched(&text)?.map_or(text, |(clean, _)| clean))
    }

    /// The same, where what `wallet` has stands for its values.
    ///
    /// # Errors
    /// As for [`Secrets::known`].
    pub fn known_to(&self, wallet: &Wallet) -> Result<Known, String> {
        self.compile(Some(wallet))
    }

    fn compile(&self, wallet: Option<&Wallet>) -> Result<Known, String> {
        let mut values = Values::default();
        let mut placed = BTreeSet::new();
        if let Some(wallet) = wallet {
            wallet.guarded(|guarded| {
                for one in guarded {
                    placed.insert(one.name.clone());
                    values.extend(one.name, one.placeholder, one.values);
                }
            });
        }
        for name in self.vault.names().filter(|name| !placed.contains(name)) {
            self.vault.guarded(name, |held| values.extend(name, "", held));
        }
        if let Some(logins) = &self.logins {
            logins.each(|name, secret| secret.expose(|value| values.add(name, "", value)));
        }
        let guarded: Vec<Guarded<'_>> = values
            .0
            .iter()
            .map(|(handle, value, stand_in)| Guarded { handle, value, stand_in: stand_in.as_bytes() })
            .collect();
        Known::compile(&guarded).map_err(|error| error.to_string())
    }
}

/// Copies of values, which live as long as it takes to make an automaton of them.
#[derive(Default)]
struct Values(Vec<(String, Zeroizing<Vec<u8>>, String)>);

impl Values {
    fn extend(&mut self, name: &SecretName, placeholder: &str, held: &[Arc<vault::Held>]) {
        for held in held {
            held.expose(|value| self.add(name, placeholder, value));
        }
    }

    fn add(&mut self, name: &SecretName, placeholder: &str, value: &[u8]) {
        // A pair of a name and a password is two values when it is used.
        let lower = Zeroizing::new(value.to_ascii_lowercase());
        // As the name of a header field a value loses its capitals.
        for part in value.split(|byte| *byte == b':').chain([value, lower.as_slice()]) {
            let known = self.0.iter().any(|(_, known, _)| known.as_slice() == part);
            if part.len() >= VALUE_BYTES_MIN && !known {
                // What stands for a whole stands for its part only in length.
                let stand_in = if part == value { placeholder } else { "" };
                self.0.push((name.to_string(), Zeroizing::new(part.to_vec()), stand_in.to_owned()));
            }
        }
    }
}

/// The secrets a text names.
pub(crate) fn named_in(text: &str) -> Result<BTreeSet<SecretName>, String> {
    let mut names = BTreeSet::new();
    let mut rest = text;
    while let Some((_, after)) = rest.split_once(OPENING) {
        let (name, behind) = after.split_once(CLOSING).ok_or_else(unclosed)?;
        names.insert(SecretName::new(name).map_err(|error| format!("`{name}`: {error}"))?);
        rest = behind;
    }
    Ok(names)
}

fn unclosed() -> String {
    "`${secret:` is not followed by a secret's name and `}`".to_owned()
}
