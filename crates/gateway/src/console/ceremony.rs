//! Challenges that were given out: each is answered once, soon, by the browser that asked, for what it was asked for.
//! Nothing here believes an answer.

use super::answer::Signing;
use crate::people::Joining;
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Challenges given out at once, entries; the oldest makes room.
const OPEN_ENTRIES_MAX: usize = 256;
/// How long one may be answered, in seconds; WebAuthn §15.1 recommends five minutes where a user is verified.
pub(super) const CEREMONY_SECONDS_MAX: u64 = 300;

/// What a challenge was given out for.
#[derive(Clone, Debug)]
pub(super) enum Purpose {
    /// To make a passkey.
    Join(Box<Joining>),
    /// To sign in.
    SignIn,
    /// To answer an approval, or to say who may.
    Sign(Box<Signing>),
}

/// One challenge.
#[derive(Clone, Debug)]
pub(super) struct Ceremony {
    pub(super) purpose: Purpose,
    pub(super) challenge: [u8; 32],
    /// The browser, by the digest of its cookie.
    browser: String,
    begun: Instant,
}

/// The challenges of one console.
#[derive(Default)]
pub(super) struct Ceremonies {
    open: Mutex<HashMap<String, Ceremony>>,
}

impl Ceremonies {
    /// Gives out `challenge` to `browser`; it is answered under the name that is returned.
    pub(super) fn begin(&self, purpose: Purpose, challenge: [u8; 32], browser: &str) -> String {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.retain(|_, ceremony| !ceremony.has_lapsed());
        if open.len() >= OPEN_ENTRIES_MAX {
            let oldest = open.iter().min_by_key(|(_, ceremony)| ceremony.begun).map(|(name, _)| name.clone());
            oldest.map(|name| open.remove(&name));
        }
        let flow = crate::random::name("f");
        let ceremony = Ceremony { purpose, challenge, browser: browser.to_owned(), begun: Instant::now() };
        open.insert(flow.clone(), ceremony);
        flow
    }

    /// The challenge of this name, which is used up, whoever asks; nothing for one that was answered, lapsed, or given to another
    /// browser.
    pub(super) fn end(&self, flow: &str, browser: &str) -> Option<Ceremony> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.remove(flow).filter(|ceremony| !ceremony.has_lapsed() && ceremony.browser == browser)
    }
}

impl Ceremony {
    fn has_lapsed(&self) -> bool {
        self.begun.elapsed() >= Duration::from_secs(CEREMONY_SECONDS_MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_challenge_is_answered_once_and_by_the_browser_that_asked() {
        let all = Ceremonies::default();
        let flow = all.begin(Purpose::SignIn, [1; 32], "mine");
        assert!(all.end(&flow, "mine").is_some_and(|ceremony| ceremony.challenge == [1; 32]));
        assert!(all.end(&flow, "mine").is_none(), "used up");
        let flow = all.begin(Purpose::SignIn, [1; 32], "mine");
        assert!(all.end(&flow, "other").is_none());
        assert!(all.end(&flow, "mine").is_none(), "whoever guesses uses it up");
        let first = all.begin(Purpose::SignIn, [1; 32], "mine");
        for _ in 0..OPEN_ENTRIES_MAX {
            all.begin(Purpose::SignIn, [2; 32], "mine");
        }
        assert!(all.end(&first, "mine").is_none(), "the oldest makes room");
    }
}
