//! Which address stands for which name inside one sandbox. Addresses are given to names that were asked for and never
//! given to another one; nothing of the world's addresses is known here.

use crate::name::Name;
use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::sync::{Mutex, PoisonError};

/// The first address that a name can stand for; the sandbox's whole range is 198.18.0.0/15.
const FIRST: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 2);
/// How many names of one sandbox can be told apart; later ones do not exist there. Fits into the range.
pub const NAMES_MAX: usize = 65_536;

/// The names of one sandbox and their addresses, for its whole life.
#[derive(Default)]
pub(crate) struct Names(Mutex<Table>);

#[derive(Default)]
struct Table {
    index: HashMap<Name, usize>,
    names: Vec<Name>,
}

impl Names {
    /// The address that stands for `name`, the same each time; `None` once there are [`NAMES_MAX`] others.
    pub(crate) fn address(&self, name: &Name) -> Option<Ipv4Addr> {
        let mut table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let index = match table.index.get(name) {
            Some(index) => *index,
            None if table.names.len() >= NAMES_MAX => return None,
            None => {
                let index = table.names.len();
                table.names.push(name.clone());
                table.index.insert(name.clone(), index);
                index
            }
        };
        Some(Ipv4Addr::from_bits(FIRST.to_bits() + u32::try_from(index).ok()?))
    }

    /// The name that an address stands for, if it was ever given.
    pub(crate) fn name(&self, address: Ipv4Addr) -> Option<Name> {
        let index = usize::try_from(address.to_bits().checked_sub(FIRST.to_bits())?).ok()?;
        self.0.lock().unwrap_or_else(PoisonError::into_inner).names.get(index).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_name_keeps_its_address_and_the_table_is_bounded() {
        let names = Names::default();
        let name = |index: usize| Name::parse(format!("n{index}.example")).unwrap();
        assert_eq!(names.address(&name(0)), Some(Ipv4Addr::new(198, 18, 0, 2)));
        assert_eq!(names.address(&name(1)), Some(Ipv4Addr::new(198, 18, 0, 3)));
        assert_eq!(names.address(&name(0)), Some(Ipv4Addr::new(198, 18, 0, 2)));
        for (address, known) in [
            ([198, 18, 0, 2], Some(name(0))),
            ([198, 18, 0, 3], Some(name(1))),
            ([198, 18, 0, 4], None),
            ([198, 18, 0, 1], None),
            ([127, 0, 0, 1], None),
            ([255, 255, 255, 255], None),
        ] {
            assert_eq!(names.name(address.into()), known, "{address:?}");
        }
        for index in 2..NAMES_MAX {
            assert!(names.address(&name(index)).is_some());
        }
        assert_eq!(names.address(&name(NAMES_MAX)), None);
        assert_eq!(names.address(&name(NAMES_MAX - 1)), Some(Ipv4Addr::new(198, 19, 0, 1)));
    }
}
