//! The process that made a value.

/// The process that made a value, which a forked process has a copy of.
///
/// What ends a server, removes a directory or waits for a thread when it is dropped must do so in
/// the process that made it only: in another one the same value is a copy, whose server, directory
/// and thread are not its own. Such values keep a `Maker`, and ask it when they are dropped.
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
