//! The head of one request: every placeholder in it is found, held against the bindings, and only when all of them fit is
//! any of them replaced. What is found and does not fit stops the request.

use super::find::{Layers, basic, in_header};
use super::used::{Misuse, Used, UsedSecret, Why};
use super::{Handle, Wallet, copied, resign};
use crate::binding::{BasicUser, Binding, Destination, Mismatch, Place};
use crate::encode::{percent, unpercent};
use crate::lease::Held;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{AUTHORIZATION, COOKIE, HeaderMap, HeaderName, HeaderValue};
use http::request::Parts;
use std::sync::Arc;
use zeroize::Zeroizing;

/// Where one placeholder stands.
enum Site {
    Query { index: usize, parameter: String },
    Header { name: HeaderName, value: Vec<u8> },
    Basic { name: HeaderName, user: Vec<u8> },
    Cookie { name: String },
    Signature,
    Nowhere(&'static str),
}

/// What is to be written where.
enum Edit {
    Query { index: Option<usize>, parameter: String, value: Zeroizing<String> },
    Header { name: HeaderName, value: HeaderValue },
    Cookie { name: String, old: Option<String>, value: Zeroizing<Vec<u8>> },
    Sign { service: String, region: String, held: Arc<Held> },
}

impl Wallet {
    /// Replaces each placeholder in `head` by its value, if all of them stand where their bindings say; secrets bound
    /// with `always` are put in besides.
    ///
    /// # Errors
    /// When a placeholder stands anywhere else, a value stands anywhere, or a value cannot be had. `head` is unchanged.
    pub async fn inject(&self, to: &Destination, head: &mut Parts) -> Result<Used, Misuse> {
        self.inject_with(to, head, None).await
    }

    /// As [`Wallet::inject`], with the whole body at hand: what [`Wallet::wants_body`] asks for.
    ///
    /// # Errors
    /// As [`Wallet::inject`].
    pub async fn inject_with(
        &self,
        to: &Destination,
        head: &mut Parts,
        body: Option<&[u8]>,
    ) -> Result<Used, Misuse> {
        self.refuse_values(to, head)?;
        let path = head.uri.path().to_owned();
        let mut edits = Vec::new();
        let (mut secrets, mut values) = (Vec::new(), Vec::new());
        let (mut fields, mut captures) = (Vec::new(), Vec::new());
        for handle in self.handles() {
            let sites = sites(&handle, to, head)?;
            let covering = |binding: &&Binding| binding.covers(to, &head.method, &path).is_ok();
            let mut wanted: Vec<(&Binding, Option<Site>)> = Vec::new();
            for site in sites {
                wanted.push((admit(&handle, &site, to, head, &path)?, Some(site)));
            }
            if wanted.is_empty() {
                let always = handle.bindings.iter().filter(covering).find(|binding| binding.always);
                wanted.extend(always.map(|binding| (binding, None)));
            }
            for binding in handle.bindings.iter().filter(covering) {
                captures.extend(binding.capture.iter().cloned());
                if let Place::BodyField { field } = &binding.place {
                    fields.push((handle.clone(), field.clone(), self.hold(&handle).await));
                }
            }
            if wanted.is_empty() {
                continue;
            }
            let held = self.hold(&handle).await.map_err(|error| Misuse {
                secret: handle.name.clone(),
                place: "the request".into(),
                why: Why::Unavailable(error),
            })?;
            for (binding, site) in wanted {
                edits.extend(edit(&handle, binding, site, &held)?);
            }
            secrets.push(UsedSecret { name: handle.name.clone(), version: held.version() });
            values.push(held);
        }
        apply(to, head, edits, body, &secrets)?;
        Ok(Used { secrets, to: to.clone(), fields, captures, _values: values })
    }

    /// The secrets whose placeholders `head`, on its way to `to`, holds; what their bindings say is not asked.
    #[must_use]
    pub fn named_in(&self, to: &Destination, head: &Parts) -> Vec<crate::SecretName> {
        let handles = self.handles().into_iter();
        let named = handles.filter(|handle| sites(handle, to, head).map_or(true, |sites| !sites.is_empty()));
        named.map(|handle| handle.name.clone()).collect()
    }

    /// Whether the head cannot be finished without the body, whose hash an AWS signature covers. Then the caller reads
    /// it first, up to [`super::BODY_FIELD_BYTES_MAX`], and calls [`Wallet::inject_with`].
    #[must_use]
    pub fn wants_body(&self, head: &Parts) -> bool {
        let mut signed = head.headers.get_all(AUTHORIZATION).iter().filter(|value| resign::is_signed(value));
        signed.any(|value| {
            self.handles().iter().any(|handle| in_header(value.as_bytes(), handle.placeholder.as_bytes()))
        }) && resign::needs_body(head)
    }

    /// Holds a request's trailers against the same rule as everything that no binding names: neither placeholder nor
    /// value may be in them.
    ///
    /// # Errors
    /// When one is.
    pub fn outgoing_trailers(&self, trailers: &HeaderMap) -> Result<(), Misuse> {
        for handle in self.known() {
            for (name, value) in trailers {
                let found = |needle: &[u8]| in_header(value.as_bytes(), needle);
                let why = if found(handle.placeholder.as_bytes()) {
                    Why::Mismatch(Mismatch::Place)
                } else if self.values(&handle).iter().any(|held| held.expose(found)) {
                    Why::Value
                } else {
                    continue;
                };
                return Err(Misuse { secret: handle.name.clone(), place: format!("trailer `{name}`"), why });
            }
        }
        Ok(())
    }

    /// Nothing inside knows a value; one that comes out was learned in a way that somebody must look into.
    fn refuse_values(&self, to: &Destination, head: &Parts) -> Result<(), Misuse> {
        let target = head.uri.path_and_query().map_or("", |target| target.as_str());
        let target = Layers::of(target.as_bytes());
        for handle in self.known() {
            let stop = |place: String| Err(Misuse { secret: handle.name.clone(), place, why: Why::Value });
            for held in self.values(&handle) {
                let value = copied(&held);
                let lower = Zeroizing::new(value.to_ascii_lowercase());
                if memchr::memmem::find(to.host().as_bytes(), &lower).is_some() {
                    return stop("the host's name".into());
                }
                if target.hold(&value) {
                    return stop("the address".into());
                }
                let found = head.headers.iter().find(|(_, header)| in_header(header.as_bytes(), &value));
                if let Some((name, _)) = found {
                    return stop(format!("header `{name}`"));
                }
            }
        }
        Ok(())
    }
}

/// Everywhere that the placeholder of `handle` stands.
fn sites(handle: &Handle, to: &Destination, head: &Parts) -> Result<Vec<Site>, Misuse> {
    let needle = handle.placeholder.as_bytes();
    let mut sites = Vec::new();
    if to.host().contains(&handle.placeholder.to_ascii_lowercase()) {
        sites.push(Site::Nowhere("the host's name"));
    }
    if Layers::of(head.uri.path().as_bytes()).hold(needle) {
        sites.push(Site::Nowhere("the path"));
    }
    let query = head.uri.query().unwrap_or_default();
    if Layers::of(query.as_bytes()).hold(needle) {
        let before = sites.len();
        for (index, pair) in query.split('&').enumerate() {
            if !Layers::of(pair.as_bytes()).hold(needle) {
                continue;
            }
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let exact = *unpercent(value.as_bytes()) == needle && !Layers::of(name.as_bytes()).hold(needle);
            let parameter = String::from_utf8(unpercent(name.as_bytes()).to_vec());
            sites.push(match parameter {
                Ok(parameter) if exact => Site::Query { index, parameter },
                _ => Site::Nowhere("a query parameter"),
            });
        }
        if sites.len() == before {
            sites.push(Site::Nowhere("the query"));
        }
    }
    for (name, value) in &head.headers {
        let value = value.as_bytes();
        if !in_header(value, needle) {
            continue;
        }
        if *name != COOKIE && head.headers.get_all(name).iter().count() > 1 {
            let place = format!("header `{name}`");
            return Err(Misuse { secret: handle.name.clone(), place, why: Why::Twice });
        }
        sites.extend(header_sites(name, value, needle));
    }
    Ok(sites)
}

fn header_sites(name: &HeaderName, value: &[u8], needle: &[u8]) -> Vec<Site> {
    if let Some(credentials) = basic(value) {
        let colon = credentials.iter().position(|byte| *byte == b':');
        let user = if *credentials == needle {
            Some(Vec::new())
        } else {
            colon
                .filter(|colon| credentials[colon + 1..] == *needle)
                .map(|colon| credentials[..colon].to_vec())
        };
        if let Some(user) = user {
            return vec![Site::Basic { name: name.clone(), user }];
        }
    }
    if *name == AUTHORIZATION && value.starts_with(resign::ALGORITHM) {
        return vec![Site::Signature];
    }
    if *name == COOKIE {
        return value
            .split(|byte| *byte == b';')
            .filter(|pair| in_header(pair, needle))
            .map(|pair| {
                let (name, value) = cookie(pair);
                match std::str::from_utf8(name) {
                    Ok(name) if value == needle => Site::Cookie { name: name.to_owned() },
                    _ => Site::Nowhere("a cookie"),
                }
            })
            .collect();
    }
    vec![Site::Header { name: name.clone(), value: value.to_vec() }]
}

fn cookie(pair: &[u8]) -> (&[u8], &[u8]) {
    let pair = pair.trim_ascii();
    let at = pair.iter().position(|byte| *byte == b'=').unwrap_or(pair.len());
    (&pair[..at], pair.get(at + 1..).unwrap_or_default())
}

/// The binding that lets the placeholder of `handle` stand at `site`.
fn admit<'a>(
    handle: &'a Handle,
    site: &Site,
    to: &Destination,
    head: &Parts,
    path: &str,
) -> Result<&'a Binding, Misuse> {
    let mut nearest = Mismatch::Host;
    for binding in &handle.bindings {
        match binding.covers(to, &head.method, path) {
            Ok(()) if fits(&binding.place, site, &handle.placeholder) => return Ok(binding),
            Ok(()) => nearest = Mismatch::Place,
            Err(mismatch) => nearest = nearest.max(mismatch),
        }
    }
    let place = match site {
        Site::Query { .. } => "a query parameter".to_owned(),
        Site::Header { name, .. } | Site::Basic { name, .. } => format!("header `{name}`"),
        Site::Cookie { .. } => "a cookie".to_owned(),
        Site::Signature => "an AWS signature".to_owned(),
        Site::Nowhere(place) => (*place).to_owned(),
    };
    Err(Misuse { secret: handle.name.clone(), place, why: Why::Mismatch(nearest) })
}

fn fits(place: &Place, site: &Site, placeholder: &str) -> bool {
    match (place, site) {
        (Place::Header { name, prefix }, Site::Header { name: at, value }) => {
            let (start, end) = value.split_at(prefix.len().min(value.len()));
            name == at && start.eq_ignore_ascii_case(prefix.as_bytes()) && end == placeholder.as_bytes()
        }
        (Place::Basic { user }, Site::Basic { name, user: sent }) => {
            let fixed = match user {
                BasicUser::Fixed(user) => user.as_bytes() == sent,
                BasicUser::AsSent => true,
                BasicUser::InSecret => sent.is_empty(),
            };
            *name == AUTHORIZATION && fixed
        }
        (Place::Query { parameter }, Site::Query { parameter: at, .. }) => parameter == at,
        (Place::Cookie { name }, Site::Cookie { name: at }) => name == at,
        (Place::SigV4 { .. }, Site::Signature) => true,
        _ => false,
    }
}

/// What `binding` writes at `site`, or of its own accord.
fn edit(
    handle: &Handle,
    binding: &Binding,
    site: Option<Site>,
    held: &Arc<Held>,
) -> Result<Option<Edit>, Misuse> {
    let value = copied(held);
    let unwritable = |place: String| Misuse { secret: handle.name.clone(), place, why: Why::Unwritable };
    let header = |name: &HeaderName, bytes: &[u8]| {
        let mut value = HeaderValue::from_bytes(bytes).map_err(|_| unwritable(format!("header `{name}`")))?;
        value.set_sensitive(true);
        Ok(Edit::Header { name: name.clone(), value })
    };
    Ok(Some(match &binding.place {
        Place::Header { name, prefix } => {
            header(name, &Zeroizing::new([prefix.as_bytes(), &value].concat()))?
        }
        Place::Basic { user } => {
            let sent = match site {
                Some(Site::Basic { user, .. }) => user,
                _ => Vec::new(),
            };
            let credentials = Zeroizing::new(match user {
                BasicUser::Fixed(user) => [user.as_bytes(), b":", &value].concat(),
                BasicUser::AsSent => [&sent, &b":"[..], &value].concat(),
                BasicUser::InSecret => value.to_vec(),
            });
            let text = Zeroizing::new(format!("Basic {}", STANDARD.encode(&*credentials)));
            header(&AUTHORIZATION, text.as_bytes())?
        }
        Place::Query { parameter } => {
            let index = match site {
                Some(Site::Query { index, .. }) => Some(index),
                _ => None,
            };
            Edit::Query { index, parameter: parameter.clone(), value: percent(&value, b"") }
        }
        Place::Cookie { name } => {
            if value.iter().any(|byte| !byte.is_ascii_graphic() || b";,\"\\".contains(byte)) {
                return Err(unwritable("a cookie".into()));
            }
            let old = site.is_some().then(|| handle.placeholder.clone());
            Edit::Cookie { name: name.clone(), old, value }
        }
        Place::SigV4 { service, region } if site.is_some() => {
            Edit::Sign { service: service.clone(), region: region.clone(), held: held.clone() }
        }
        // There is nothing in a head to sign or fill on one's own.
        Place::SigV4 { .. } | Place::BodyField { .. } => return Ok(None),
    }))
}

/// Writes all edits, or none of them.
fn apply(
    to: &Destination,
    head: &mut Parts,
    edits: Vec<Edit>,
    body: Option<&[u8]>,
    secrets: &[UsedSecret],
) -> Result<(), Misuse> {
    if edits.is_empty() {
        return Ok(());
    }
    let stop = |why: Why, place: &str| {
        let secret = secrets.last().map(|used| used.name.clone());
        secret.map(|secret| Misuse { secret, place: place.to_owned(), why })
    };
    let mut headers = head.headers.clone();
    let query = head.uri.query().unwrap_or_default().to_owned();
    let mut pairs: Vec<Zeroizing<String>> =
        query.split('&').filter(|_| !query.is_empty()).map(|pair| Zeroizing::new(pair.to_owned())).collect();
    let (mut asked, mut signs) = (false, Vec::new());
    for edit in edits {
        match edit {
            Edit::Header { name, value } => {
                headers.insert(name, value);
            }
            Edit::Query { index, parameter, value } => {
                asked = true;
                let name = percent(parameter.as_bytes(), b"");
                let pair = Zeroizing::new(format!("{}={}", *name, *value));
                match index.and_then(|index| pairs.get_mut(index)) {
                    Some(slot) => *slot = pair,
                    None => {
                        let other = |pair: &Zeroizing<String>| {
                            let name = pair.split('=').next().unwrap_or_default();
                            *unpercent(name.as_bytes()) != parameter.as_bytes()
                        };
                        // Emptied, not removed: the places of the others stay what they were.
                        pairs.iter_mut().filter(|pair| !other(pair)).for_each(|pair| pair.clear());
                        pairs.push(pair);
                    }
                }
            }
            Edit::Cookie { name, old, value } => set_cookie(&mut headers, &name, old.as_deref(), &value),
            Edit::Sign { service, region, held } => signs.push((service, region, held)),
        }
    }
    let mut uri = head.uri.clone();
    if asked {
        let joined: Vec<&str> =
            pairs.iter().map(|pair| pair.as_str()).filter(|pair| !pair.is_empty()).collect();
        let target = Zeroizing::new(format!("{}?{}", head.uri.path(), joined.join("&")));
        let mut parts = uri.into_parts();
        let written = target.parse().map(|target| parts.path_and_query = Some(target)).is_ok();
        uri = match http::Uri::from_parts(parts) {
            Ok(uri) if written => uri,
            _ => return stop(Why::Unwritable, "a query parameter").map_or(Ok(()), Err),
        };
    }
    for (service, region, held) in signs {
        let signed = resign::sign(to, &head.method, &uri, &mut headers, body, &service, &region, &held);
        if let Err(why) = signed {
            return stop(Why::Signature(why), "an AWS signature").map_or(Ok(()), Err);
        }
    }
    (head.headers, head.uri) = (headers, uri);
    Ok(())
}

fn set_cookie(headers: &mut HeaderMap, name: &str, old: Option<&str>, value: &[u8]) {
    let all: Vec<HeaderValue> = headers.get_all(COOKIE).iter().cloned().collect();
    let mut pairs: Vec<Zeroizing<Vec<u8>>> = Vec::new();
    let mut found = false;
    let fresh = || Zeroizing::new([name.as_bytes(), b"=", value].concat());
    for pair in all.iter().flat_map(|header| header.as_bytes().split(|byte| *byte == b';')) {
        let (at, present) = cookie(pair);
        let mine = at == name.as_bytes() && old.is_none_or(|old| present == old.as_bytes());
        if mine && !found {
            pairs.push(fresh());
        } else if !mine && !at.is_empty() {
            pairs.push(Zeroizing::new(pair.trim_ascii().to_vec()));
        }
        found |= mine;
    }
    if !found {
        pairs.push(fresh());
    }
    let pairs: Vec<&[u8]> = pairs.iter().map(|pair| pair.as_slice()).collect();
    if let Ok(mut joined) = HeaderValue::from_bytes(&pairs.join(&b"; "[..])) {
        joined.set_sensitive(true);
        headers.insert(COOKIE, joined);
    }
}
