//! Where a value came from, carried by the value itself: nothing that comes back is plain data until it has been released.
//! Nothing here raises a label; that needs a recorded endorsement.

use crate::tool::ToolName;

/// A value with the operation it came from. The value can be read only by the filter.
#[must_use]
#[derive(Debug)]
pub struct Labeled<T> {
    value: T,
    source: ToolName,
}

impl<T> Labeled<T> {
    /// Labels what `source` answered.
    pub fn new(value: T, source: ToolName) -> Self {
        Self { value, source }
    }
    /// The operation it came from.
    pub fn source(&self) -> &ToolName {
        &self.source
    }
    /// Looks at what steers the protocol (a result's kind, a server's questions) before the filter has run.
    pub fn peek<R>(self, look: impl FnOnce(&T) -> R) -> (Self, R) {
        let seen = look(&self.value);
        (self, seen)
    }
    pub(crate) fn into_parts(self) -> (T, ToolName) {
        (self.value, self.source)
    }
}
