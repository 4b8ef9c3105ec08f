//! Who is signed in where: a cookie that only looks, and the token that its pages send back with everything they post.
//! Of a cookie only its digest is kept; a stolen one can look until it lapses, and grant nothing.

use super::Refused;
use super::guard::Asked;
use crate::history::Pulse;
use crate::people::{People, Person, Site};
use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::hmac;
use http::StatusCode;
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Visits at once; the one idle longest makes room.
const VISITS_SESSIONS_MAX: usize = 256;
/// How long a visit may be idle, in seconds.
const IDLE_SECONDS_MAX: u64 = 30 * 60;
/// How long it may last, in seconds.
const VISIT_SECONDS_MAX: u64 = 12 * 3_600;

/// Somebody who is signed in.
#[derive(Clone, Debug)]
pub(super) struct Visitor {
    pub(super) person: Person,
    /// The browser, by the digest of its cookie.
    pub(super) browser: String,
    /// What its pages send back.
    pub(super) csrf: String,
    /// What was written before the page was made.
    pub(super) seen: Pulse,
}

struct Visit {
    name: String,
    begun: Instant,
    used: Instant,
}

impl Visit {
    fn has_lapsed(&self) -> bool {
        self.used.elapsed() >= Duration::from_secs(IDLE_SECONDS_MAX)
            || self.begun.elapsed() >= Duration::from_secs(VISIT_SECONDS_MAX)
    }
}

/// The visits of one console.
pub(super) struct Visits {
    open: Mutex<HashMap<String, Visit>>,
    key: hmac::Key,
    /// The cookie of a visit, that of a browser before it, and what both are set with.
    visit: String,
    before: String,
    attributes: &'static str,
}

impl Visits {
    pub(super) fn new(site: &Site) -> Self {
        // Cookies know no ports, so the port is in the name; `__Host-` is for https only.
        let (prefix, attributes) = if site.party.origin.starts_with("https://") {
            ("__Host-bailiwick".to_owned(), "; Path=/; HttpOnly; SameSite=Strict; Secure")
        } else {
            let port = site.host.rsplit_once(':').map_or("80", |(_, port)| port);
            (format!("bailiwick-{port}"), "; Path=/console; HttpOnly; SameSite=Strict")
        };
        Self {
            open: Mutex::default(),
            key: hmac::Key::new(hmac::HMAC_SHA256, &crate::random::bytes()),
            before: format!("{prefix}-before"),
            visit: prefix,
            attributes,
        }
    }

    /// Who asks, if it is somebody.
    pub(super) fn visitor(
        &self,
        people: &People,
        seen: Pulse,
        asked: &Asked,
    ) -> Result<Option<Visitor>, Refused> {
        for cookie in asked.cookies(&self.visit) {
            let browser = digest(cookie);
            let name = {
                let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
                match open.get_mut(&browser) {
                    Some(visit) if !visit.has_lapsed() => {
                        visit.used = Instant::now();
                        visit.name.clone()
                    }
                    _ => continue,
                }
            };
            let current = people
                .current(&name)
                .map_err(|error| Refused::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))?;
            if let Some(person) = current {
                return Ok(Some(Visitor { person, csrf: self.token(cookie), browser, seen }));
            }
        }
        Ok(None)
    }

    /// Whether a visit still stands; looking does not keep it open.
    pub(super) fn stands(&self, people: &People, visitor: &Visitor) -> bool {
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let lasts = open.get(&visitor.browser).is_some_and(|visit| !visit.has_lapsed());
        drop(open);
        lasts && matches!(people.current(&visitor.person.name), Ok(Some(_)))
    }

    /// Begins a visit of `person`; gives the header that says so to the browser.
    pub(super) fn begin(&self, person: &Person) -> String {
        let cookie = crate::random::token();
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.retain(|_, visit| !visit.has_lapsed());
        if open.len() >= VISITS_SESSIONS_MAX {
            let idle = open.iter().min_by_key(|(_, visit)| visit.used).map(|(name, _)| name.clone());
            idle.map(|name| open.remove(&name));
        }
        let now = Instant::now();
        open.insert(digest(&cookie), Visit { name: person.name.clone(), begun: now, used: now });
        format!("{}={cookie}{}; Max-Age={VISIT_SECONDS_MAX}", self.visit, self.attributes)
    }

    /// Ends a visit; gives the header that says so to the browser.
    pub(super) fn end(&self, visitor: &Visitor) -> String {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).remove(&visitor.browser);
        format!("{}={}; Max-Age=0", self.visit, self.attributes)
    }

    /// The browser of somebody who is not signed in: its digest, its pages' token, and the header where it is new.
    pub(super) fn before(&self, asked: &Asked) -> (String, String, Option<String>) {
        match asked.cookies(&self.before).find(|cookie| cookie.len() == 64) {
            Some(cookie) => (digest(cookie), self.token(cookie), None),
            None => {
                let cookie = crate::random::token();
                let header = format!("{}={cookie}{}", self.before, self.attributes);
                (digest(&cookie), self.token(&cookie), Some(header))
            }
        }
    }

    /// Refuses what was not posted by a page that was given to this browser.
    pub(super) fn genuine(&self, asked: &Asked, visitor: Option<&Visitor>) -> Result<(), Refused> {
        let given = asked.header("x-console-token").map(str::to_owned).or_else(|| asked.form("token"));
        let given = given.unwrap_or_default();
        let expected = visitor.map_or_else(|| self.before(asked).1, |visitor| visitor.csrf.clone());
        if verify_slices_are_equal(expected.as_bytes(), given.as_bytes()).is_ok() {
            return Ok(());
        }
        let why = "what was sent does not come from a page of this visit; load the page again";
        Err(Refused::alarming(StatusCode::FORBIDDEN, "console-token", why))
    }

    fn token(&self, cookie: &str) -> String {
        hmac::sign(&self.key, cookie.as_bytes()).as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

fn digest(cookie: &str) -> String {
    judge::digest::hex(cookie.as_bytes())
}
