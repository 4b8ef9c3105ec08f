//! The part of CBOR (RFC 8949) that authenticators speak: definite lengths, integers, strings, lists, maps, simple words.
//! Tags, floats and indefinite lengths are refused, as is a map that names a key twice.

/// How deep items may be nested (CTAP 2.1 §8 allows four).
const LEVELS_MAX: usize = 4;
/// Items in one list or map, entries.
const ENTRIES_MAX: u64 = 64;

/// Bytes that are none of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it is not the CBOR an authenticator writes")]
pub(super) struct NotCbor;

/// One item; texts and bytes are borrowed from the input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Item<'a> {
    Int(i64),
    Bytes(&'a [u8]),
    Text(&'a str),
    List(Vec<Item<'a>>),
    Map(Vec<(Item<'a>, Item<'a>)>),
    /// False, true, null or undefined.
    Word(u8),
}

impl<'a> Item<'a> {
    /// The value under a key.
    pub(super) fn get(&self, key: &Item<'_>) -> Option<&Item<'a>> {
        let Item::Map(members) = self else { return None };
        members.iter().find(|(found, _)| found == key).map(|(_, value)| value)
    }

    pub(super) fn bytes(&self) -> Option<&'a [u8]> {
        match self {
            Item::Bytes(bytes) => Some(bytes),
            _ => None,
        }
    }
}

/// Reads one item and moves `rest` past it.
pub(super) fn item<'a>(rest: &mut &'a [u8]) -> Result<Item<'a>, NotCbor> {
    nested(rest, LEVELS_MAX)
}

fn nested<'a>(rest: &mut &'a [u8], levels: usize) -> Result<Item<'a>, NotCbor> {
    let (&first, after) = rest.split_first().ok_or(NotCbor)?;
    *rest = after;
    let (major, low) = (first >> 5, first & 0x1f);
    if major == 7 {
        return if (20..=23).contains(&low) { Ok(Item::Word(low)) } else { Err(NotCbor) };
    }
    let argument = argument(rest, low)?;
    let int = || i64::try_from(argument).map_err(|_| NotCbor);
    match major {
        0 => Ok(Item::Int(int()?)),
        1 => Ok(Item::Int(-1 - int()?)),
        2 => Ok(Item::Bytes(take(rest, argument)?)),
        3 => Ok(Item::Text(std::str::from_utf8(take(rest, argument)?).map_err(|_| NotCbor)?)),
        4 | 5 if levels == 0 || argument > ENTRIES_MAX => Err(NotCbor),
        4 => (0..argument).map(|_| nested(rest, levels - 1)).collect::<Result<_, _>>().map(Item::List),
        5 => {
            let mut members: Vec<(Item<'a>, Item<'a>)> = Vec::new();
            for _ in 0..argument {
                let key = nested(rest, levels - 1)?;
                if members.iter().any(|(known, _)| *known == key) {
                    return Err(NotCbor);
                }
                members.push((key, nested(rest, levels - 1)?));
            }
            Ok(Item::Map(members))
        }
        _ => Err(NotCbor),
    }
}

/// A length or a number. Some software passkeys write it longer than needed, which changes nothing.
fn argument(rest: &mut &[u8], low: u8) -> Result<u64, NotCbor> {
    let bytes = match low {
        0..=23 => return Ok(u64::from(low)),
        24 => 1,
        25 => 2,
        26 => 4,
        27 => 8,
        _ => return Err(NotCbor),
    };
    Ok(take(rest, bytes)?.iter().fold(0u64, |value, byte| value << 8 | u64::from(*byte)))
}

fn take<'a>(rest: &mut &'a [u8], count: u64) -> Result<&'a [u8], NotCbor> {
    let count = usize::try_from(count).map_err(|_| NotCbor)?;
    let (taken, after) = rest.split_at_checked(count).ok_or(NotCbor)?;
    *rest = after;
    Ok(taken)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_authenticator_writes_is_read_and_its_neighbours_are_not() {
        let read = |bytes: &[u8]| {
            let mut rest = bytes;
            item(&mut rest).map(|found| (format!("{found:?}"), rest.len()))
        };
        for (bytes, shown) in [
            (&[0x17][..], "Int(23)"),
            (&[0x18, 0x18], "Int(24)"),
            (&[0x19, 0x00, 0x18], "Int(24)"),
            (&[0x26], "Int(-7)"),
            (&[0x39, 0x01, 0x00], "Int(-257)"),
            (&[0x42, 1, 2], "Bytes([1, 2])"),
            (&[0x63, b'f', b'm', b't'], "Text(\"fmt\")"),
            (&[0xa1, 0x01, 0x82, 0x02, 0xf5], "Map([(Int(1), List([Int(2), Word(21)]))])"),
        ] {
            assert_eq!(read(bytes), Ok((shown.to_owned(), 0)));
        }
        assert_eq!(read(&[0x01, 0xff]), Ok(("Int(1)".to_owned(), 1)), "what follows an item is left");
        for bad in [
            &[][..],
            &[0x1b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff], // past 2^63
            &[0x42, 1],                                              // cut off
            &[0x5f, 0x41, 1, 0xff],                                  // indefinite
            &[0x62, 0xff, 0xfe],                                     // no UTF-8
            &[0xc0, 0x01],                                           // a tag
            &[0xf9, 0, 0],                                           // a float
            &[0xa2, 0x01, 0x02, 0x01, 0x03],                         // a key twice
            &[0x98, 0x41],                         // more entries than any authenticator writes
            &[0x81, 0x81, 0x81, 0x81, 0x81, 0x01], // too deep
            &[0xbb, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
        ] {
            assert_eq!(read(bad), Err(NotCbor), "{bad:?}");
        }
    }
}
