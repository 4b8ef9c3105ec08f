//! Fills bound fields of a JSON or form body in place: every other byte stays what it was. It reads nothing but whole
//! bodies of bounded size.

use super::super::used::{Field, Misuse, Why};
use super::scan::misuse;
use crate::binding::Mismatch;
use crate::encode::{percent, unpercent};
use memchr::memmem;
use serde_json::Value as Json;
use zeroize::Zeroizing;

/// A body with its fields filled, and where.
pub(super) type Filled = (Zeroizing<Vec<u8>>, Vec<std::ops::Range<usize>>);

/// Fills the fields of a JSON body in place, so that the rest of it keeps every byte; `None` when there is none to fill.
pub(super) fn fill_json(body: &[u8], fields: &[Field]) -> Result<Option<Filled>, Misuse> {
    let Ok(tree) = serde_json::from_slice::<Json>(body) else { return Ok(None) };
    let mut filling = Vec::new();
    for (handle, field, held) in fields {
        let at = field.split('.').try_fold(&tree, |tree, key| tree.get(key));
        if at.and_then(Json::as_str) != Some(handle.placeholder.as_str()) {
            continue;
        }
        // Once as a whole string in the text, or it stands somewhere else as well: a key, a duplicate, another field.
        let quoted = Zeroizing::new(Json::from(handle.placeholder.as_str()).to_string());
        let mut places = memmem::find_iter(body, quoted.as_bytes());
        let (Some(start), None) = (places.next(), places.next()) else {
            return Err(misuse(&handle.name, Why::Mismatch(Mismatch::Place)));
        };
        let held = held.as_ref().map_err(|error| misuse(&handle.name, Why::Unavailable(error.clone())))?;
        let value = held.expose(|value| {
            std::str::from_utf8(value)
                .ok()
                .map(|text| Zeroizing::new(Json::from(text).to_string().into_bytes()))
        });
        let value = value.ok_or_else(|| misuse(&handle.name, Why::Unwritable))?;
        filling.push((start..start + quoted.len(), value));
    }
    Ok(splice(body, filling))
}

/// The same for a form.
pub(super) fn fill_form(body: &[u8], fields: &[Field]) -> Result<Option<Filled>, Misuse> {
    let mut filling = Vec::new();
    let mut start = 0;
    for pair in body.split(|byte| *byte == b'&') {
        let equals = pair.iter().position(|byte| *byte == b'=').unwrap_or(pair.len());
        let (name, value) = (&pair[..equals], pair.get(equals + 1..).unwrap_or_default());
        let mine = |(handle, field, _): &&Field| {
            *unpercent(name) == field.as_bytes() && *unpercent(value) == handle.placeholder.as_bytes()
        };
        if let Some((handle, _, held)) = fields.iter().find(mine) {
            let held =
                held.as_ref().map_err(|error| misuse(&handle.name, Why::Unavailable(error.clone())))?;
            let value = held.expose(|value| Zeroizing::new(percent(value, b"").as_bytes().to_vec()));
            filling.push((start + equals + 1..start + pair.len(), value));
        }
        start += pair.len() + 1;
    }
    Ok(splice(body, filling))
}

/// `body` with each range replaced, and the ranges where the replacements are.
fn splice(body: &[u8], mut filling: Vec<(std::ops::Range<usize>, Zeroizing<Vec<u8>>)>) -> Option<Filled> {
    if filling.is_empty() {
        return None;
    }
    filling.sort_by_key(|(range, _)| range.start);
    filling.dedup_by_key(|(range, _)| range.start);
    let room = body.len() + filling.iter().map(|(_, value)| value.len()).sum::<usize>();
    let mut out = Zeroizing::new(Vec::with_capacity(room));
    let (mut from, mut written) = (0, Vec::new());
    for (range, value) in filling {
        out.extend_from_slice(&body[from..range.start]);
        written.push(out.len()..out.len() + value.len());
        out.extend_from_slice(&value);
        from = range.end;
    }
    out.extend_from_slice(&body[from..]);
    Some((out, written))
}
