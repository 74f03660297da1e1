//! What a route's `host` and `path` may say.

/// A host name as a route names it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum HostPattern {
    /// This host, lower case, without a trailing dot.
    Exact(String),
    /// `*.example.org`: any one label before this suffix (`example.org`).
    Wildcard(String),
}

/// A path as a route names it, in canonical form.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PathPattern {
    /// At least one; [`Segment::Rest`] only as the last.
    pub segments: Vec<Segment>,
}

/// One segment of a [`PathPattern`].
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Segment {
    /// Exactly this, canonical.
    Literal(String),
    /// `*`: any one segment that is not empty.
    One,
    /// `**`: all that follows, nothing too (`/a/**` matches `/a`, `/a/` and `/a/b/c`).
    Rest,
}
