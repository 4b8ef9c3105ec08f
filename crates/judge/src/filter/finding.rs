//! What the filter found: which kind, how sure, where. It never holds the text that was found.

/// How sure a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Confidence {
    /// Its surroundings say so: a name before it, and that it looks random.
    Possible,
    /// Its own form says so.
    Likely,
    /// Check digits say so, or it is one of the guarded values.
    Certain,
}

impl Confidence {
    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Possible => "possible",
            Self::Likely => "likely",
            Self::Certain => "certain",
        }
    }
}

/// What sort of thing was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// A handle that stands for something found before; it is left as it is.
    Handle,
    /// A guarded value.
    Known,
    /// A credential.
    Secret,
    /// Something about a person.
    Personal,
    /// What a user's own rule describes.
    Rule,
}

impl Class {
    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Handle => "handle",
            Self::Known => "known",
            Self::Secret => "secret",
            Self::Personal => "personal",
            Self::Rule => "rule",
        }
    }
}

/// Something found, and replaced.
#[must_use]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The detector's name, the rule's name, or whose value it is.
    pub kind: std::sync::Arc<str>,
    /// What sort of thing it is.
    pub class: Class,
    /// How sure that is.
    pub confidence: Confidence,
    /// First byte, as an offset in the input stream.
    pub start: u64,
    /// One past the last byte.
    pub end: u64,
    /// What was written in its place.
    pub handle: Box<str>,
}
