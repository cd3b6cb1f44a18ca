//! The process that made a value.

/// The process that made a value, which a forked process has a copy of.
///
/// Dropping a value may shut down a server, remove a directory or wait for a thread. This must
/// happen only in the process that made the value. In another process the value is a copy, and the
/// server, directory and thread belong to its maker. Such values keep a `Maker` and check it when
/// they are dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Maker(u32);

impl Maker {
    /// The calling process.
    #[must_use]
    pub fn this_process() -> Self {
        Self(std::process::id())
    }

    /// Returns whether the calling process is the one that made the value.
    #[must_use]
    pub fn is_this_process(self) -> bool {
        self == Self::this_process()
    }
}
