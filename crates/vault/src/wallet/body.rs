//! A request's body on its way out: a placeholder in the one field that its binding names is replaced, a placeholder or
//! a value anywhere else stops the body before its last byte has left. Bodies stream; only those with a bound field wait.

mod fill;
mod scan;

use super::Wallet;
use super::used::{Field, Misuse, Used};
use fill::{fill_form, fill_json};
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderMap};
use scan::{Decoder, FormScan, Needles};
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
    Stream { held: Zeroizing<Vec<u8>>, form: Option<FormScan> },
    /// Compressed: looked through beside the stream.
    Inflate { decoder: Decoder },
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
        let coding = text(CONTENT_ENCODING).unwrap_or_default().trim().to_ascii_lowercase();
        let way = match coding.as_str() {
            "gzip" | "x-gzip" => Way::Inflate { decoder: Decoder::gzip(needles.clone()) },
            "deflate" => Way::Inflate { decoder: Decoder::zlib(needles.clone()) },
            "" | "identity" if (json || form) && !used.fields.is_empty() => {
                Way::Field { body: Zeroizing::default(), fields: used.fields.clone(), json }
            }
            // In a coding that is not known here a placeholder stays what it is, and is of no use to anybody.
            _ => {
                Way::Stream { held: Zeroizing::default(), form: form.then(|| FormScan::new(needles.clone())) }
            }
        };
        Some(BodyPass { needles, way })
    }
}

impl BodyPass {
    /// Takes `chunk` and appends to `out` what may leave.
    ///
    /// # Errors
    /// When a placeholder or a value does not belong where it is; nothing more may be sent then.
    pub fn push(&mut self, chunk: &[u8], out: &mut Vec<u8>) -> Result<(), Misuse> {
        match &mut self.way {
            Way::Stream { held, form } => stream(&self.needles, held, form.as_mut(), chunk, out),
            Way::Inflate { decoder } => {
                decoder.push(chunk)?;
                out.extend_from_slice(chunk);
                Ok(())
            }
            Way::Field { body, .. } if body.len() + chunk.len() <= BODY_FIELD_BYTES_MAX => {
                body.extend_from_slice(chunk);
                Ok(())
            }
            // Too long for a field to be filled, so none may be in it.
            Way::Field { body, json, .. } => {
                let form = (!*json).then(|| FormScan::new(self.needles.clone()));
                let before = std::mem::take(body);
                self.way = Way::Stream { held: Zeroizing::default(), form };
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
            Way::Inflate { decoder } => decoder.finish(),
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

fn stream(
    needles: &Needles,
    held: &mut Zeroizing<Vec<u8>>,
    form: Option<&mut FormScan>,
    chunk: &[u8],
    out: &mut Vec<u8>,
) -> Result<(), Misuse> {
    let encoded = match form {
        Some(form) => form.push(chunk)?,
        None => 0,
    };
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
