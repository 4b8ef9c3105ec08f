//! Which values must not come into one sandbox, as they are now: the vault's, and those it was given a placeholder for.
//! Compiled when they change and not before; nothing here looks at a text.

use crate::gate::Gate;
use egress::Refused;
use judge::filter::known::Known;
use std::sync::{Arc, Mutex, PoisonError};
use vault::Wallet;

/// The values that one sandbox must not see.
pub(super) struct Guarded {
    gate: Arc<Gate>,
    wallet: Arc<Wallet>,
    compiled: Mutex<Option<(u64, Known)>>,
}

impl Guarded {
    pub(super) fn new(gate: Arc<Gate>, wallet: Arc<Wallet>) -> Self {
        Self { gate, wallet, compiled: Mutex::default() }
    }

    /// What finds them; nothing when there are none.
    ///
    /// # Errors
    /// They cannot be searched for; then nothing may come in.
    pub(super) fn now(&self) -> Result<Option<Known>, Refused> {
        let mut compiled = self.compiled.lock().unwrap_or_else(PoisonError::into_inner);
        let generation = self.wallet.generation().wrapping_add(self.gate.secrets.login_generation());
        let known = match &*compiled {
            Some((of, known)) if *of == generation => known.clone(),
            _ => {
                let known = self.gate.secrets.known_to(&self.wallet).map_err(Refused)?;
                *compiled = Some((generation, known.clone()));
                known
            }
        };
        Ok(Some(known).filter(|known| !known.is_empty()))
    }
}
