//! A request's body on its way out: a placeholder in the one field that its binding names is replaced, a placeholder or
//! a value anywhere else stops the body before its last byte has left. Bodies stream; only those with a bound field wait.

mod coding;
mod fill;
mod scan;

pub use coding::{Coding, Look, Unpacking, Unread};

use super::Wallet;
use super::used::{Field, Misuse, Used, Why};
use fill::{fill_form, fill_json};
use http::header::{CONTENT_TYPE, HeaderMap};
use scan::{EscapeScan, FormScan, Needles, Twice};
use std::sync::Arc;
use zeroize::{Zeroize as _, Zeroizing};

/// Longest body in which a field can be filled, in bytes.
pub const BODY_FIELD_BYTES_MAX: usize = 1024 * 1024;

/// One body on its way out.
pub struct BodyPass {
    needles: Arc<Needles>,
    way: Way,
}

enum Way {
    /// Looked through as it passes.
    Stream { held: Zeroizing<Vec<u8>>, form: Option<FormScan>, escaped: EscapeScan },
    /// Compressed: looked through beside the stream, and as it is, since what a decoder skips says something too.
    Coded { raw: Twice, unpacking: Box<Unpacking<Twice>> },
    /// In a coding that cannot be looked through.
    Unread(String),
    /// Kept whole, because a field in it is to be filled.
    Field { body: Zeroizing<Vec<u8>>, fields: Vec<Field>, json: bool },
}

impl Wallet {
    /// What the body of the request that `used` came from must be passed through; nothing when this wallet is empty.
    /// `headers` are the request's.
    #[must_use]
    pub fn body(&self, used: &Used, headers: &HeaderMap) -> Option<BodyPass> {
        let needles = Arc::new(Needles::of(self));
        if needles.is_empty() {
            return None;
        }
        let text = |name| headers.get(name).and_then(|value: &http::HeaderValue| value.to_str().ok());
        let kind = text(CONTENT_TYPE).unwrap_or_default().split(';').next().unwrap_or_default();
        let kind = kind.trim().to_ascii_lowercase();
        let json =
            kind == "application/json" || (kind.starts_with("application/") && kind.ends_with("+json"));
        let form = kind == "application/x-www-form-urlencoded";
        let coding = Coding::of(headers);
        let way = match Unpacking::new(&coding, Twice::new(needles.clone())) {
            Err(name) => Way::Unread(name),
            Ok(unpacking) if coding != Coding::Plain => {
                Way::Coded { raw: Twice::new(needles.clone()), unpacking: Box::new(unpacking) }
            }
            Ok(_) if (json || form) && !used.fields.is_empty() => {
                Way::Field { body: Zeroizing::default(), fields: used.fields.clone(), json }
            }
            Ok(_) => Way::streamed(&needles, form),
        };
        Some(BodyPass { needles, way })
    }
}

impl Way {
    fn streamed(needles: &Arc<Needles>, form: bool) -> Self {
        let form = form.then(|| FormScan::new(needles.clone()));
        Self::Stream { held: Zeroizing::default(), form, escaped: EscapeScan::new(needles.clone()) }
    }
}

impl Look for Twice {
    type Stop = Misuse;
    fn look(&mut self, slice: &[u8]) -> Result<(), Misuse> {
        self.push(slice)
    }
}

impl BodyPass {
    /// Takes `chunk` and appends to `out` what may leave.
    ///
    /// # Errors
    /// When a placeholder or a value does not belong where it is; nothing more may be sent then.
    pub fn push(&mut self, chunk: &[u8], out: &mut Vec<u8>) -> Result<(), Misuse> {
        match &mut self.way {
            Way::Stream { held, form, escaped } => {
                stream(&self.needles, held, form.as_mut(), escaped, chunk, out)
            }
            Way::Coded { raw, unpacking } => {
                raw.push(chunk)?;
                unpacking.push(chunk).or_else(|unread| stopped(&self.needles, unread))?;
                out.extend_from_slice(chunk);
                Ok(())
            }
            Way::Unread(_) if chunk.is_empty() => Ok(()),
            Way::Unread(coding) => self.needles.unread(Why::Coding(coding.clone())),
            Way::Field { body, .. } if body.len() + chunk.len() <= BODY_FIELD_BYTES_MAX => {
                body.extend_from_slice(chunk);
                Ok(())
            }
            // Too long for a field to be filled, so none may be in it.
            Way::Field { body, json, .. } => {
                let (before, form) = (std::mem::take(body), !*json);
                self.way = Way::streamed(&self.needles, form);
                self.push(&before, out)?;
                self.push(chunk, out)
            }
        }
    }

    /// The end of the body: lets go of everything that was kept.
    ///
    /// # Errors
    /// As [`BodyPass::push`].
    pub fn flush(&mut self, out: &mut Vec<u8>) -> Result<(), Misuse> {
        match &mut self.way {
            Way::Stream { held, .. } => {
                out.extend_from_slice(held);
                held.clear();
                Ok(())
            }
            Way::Coded { unpacking, .. } => {
                unpacking.finish().or_else(|unread| stopped(&self.needles, unread))
            }
            Way::Unread(_) => Ok(()),
            Way::Field { body, fields, json } => {
                let body = std::mem::take(body);
                let filled = if *json { fill_json(&body, fields)? } else { fill_form(&body, fields)? };
                let (text, written) = filled.unwrap_or((body, Vec::new()));
                // The filled field now holds a value; everything else must hold neither.
                self.needles.refuse_except(&text, &written)?;
                out.extend_from_slice(&text);
                Ok(())
            }
        }
    }

    /// Whether what comes out is as long as what went in.
    #[must_use]
    pub fn keeps_length(&self) -> bool {
        !matches!(self.way, Way::Field { .. })
    }
}

fn stopped(needles: &Needles, unread: Unread<Misuse>) -> Result<(), Misuse> {
    match unread {
        Unread::Stopped(misuse) => Err(misuse),
        Unread::Malformed => needles.unread(Why::Undecodable),
        Unread::TooLarge => needles.unread(Why::TooLarge),
    }
}

fn stream(
    needles: &Needles,
    held: &mut Zeroizing<Vec<u8>>,
    form: Option<&mut FormScan>,
    escaped: &mut EscapeScan,
    chunk: &[u8],
    out: &mut Vec<u8>,
) -> Result<(), Misuse> {
    let encoded = match form {
        Some(form) => form.push(chunk)?,
        None => 0,
    };
    let encoded = encoded.max(escaped.push(held, chunk)?);
    held.extend_from_slice(chunk);
    if let Some(misuse) = needles.find(held) {
        return Err(misuse);
    }
    let keep = needles.pending(held).max(encoded).min(held.len());
    let leaving = held.len() - keep;
    out.extend_from_slice(&held[..leaving]);
    held[..leaving].zeroize();
    held.drain(..leaving);
    Ok(())
}
