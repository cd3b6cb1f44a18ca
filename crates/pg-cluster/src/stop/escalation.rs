//! How hard to ask, and for how long, before asking harder.

use std::time::Duration;

use pg_proc::Signal;

/// A way to ask a server to stop, from the gentlest to the one that needs recovery afterwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum StopMode {
    /// Refuse new connections and wait until the present ones end by themselves: SIGTERM.
    Smart,
    /// Roll back what is open, disconnect everybody, write a checkpoint: SIGINT.
    Fast,
    /// Leave at once, without a checkpoint; the next start recovers from the write-ahead log:
    /// SIGQUIT.
    Immediate,
    /// SIGKILL for the postmaster and all its children, and what they leave in shared memory is
    /// released.
    Kill,
}

impl StopMode {
    pub(crate) fn signal(self) -> Signal {
        match self {
            Self::Smart => Signal::Smart,
            Self::Fast => Signal::Fast,
            Self::Immediate => Signal::Immediate,
            Self::Kill => Signal::Kill,
        }
    }
}

/// Steps of stopping, each with the time it is given before the next one begins.
///
/// This is for a server that the program stops while it lives; what becomes of a server when the
/// program ends is said by its [`Ownership`](crate::Ownership).
///
/// ```
/// use std::time::Duration;
/// use pg_cluster::{StopMode, Escalation};
///
/// let escalation = Escalation::new(StopMode::Smart, Duration::from_secs(2))
///     .then(StopMode::Fast, Duration::from_secs(10))
///     .then(StopMode::Immediate, Duration::from_secs(5));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Escalation {
    steps: Vec<(StopMode, Duration)>,
}

impl Escalation {
    /// One step: ask like this, wait so long.
    pub fn new(mode: StopMode, patience: Duration) -> Self {
        Self {
            steps: vec![(mode, patience)],
        }
    }

    /// Then, if the server still runs, ask like this and wait so long.
    #[must_use]
    pub fn then(mut self, mode: StopMode, patience: Duration) -> Self {
        self.steps.push((mode, patience));
        self
    }

    /// A fast shutdown that is given a minute, which is what `pg_ctl stop` does; nothing harder
    /// follows.
    pub fn fast() -> Self {
        Self::new(StopMode::Fast, Duration::from_secs(60))
    }

    /// Two seconds for clients to leave, ten for a fast shutdown, five for an immediate one, then
    /// SIGKILL.
    pub fn escalating() -> Self {
        Self::new(StopMode::Smart, Duration::from_secs(2))
            .then(StopMode::Fast, Duration::from_secs(10))
            .then(StopMode::Immediate, Duration::from_secs(5))
            .then(StopMode::Kill, Duration::from_secs(5))
    }

    /// The time that all steps take together if none is enough.
    pub(crate) fn duration(&self) -> Duration {
        let patience = self.steps.iter().map(|&(_, patience)| patience);
        patience.fold(Duration::ZERO, Duration::saturating_add)
    }

    /// The steps in order.
    pub fn steps(&self) -> &[(StopMode, Duration)] {
        &self.steps
    }
}

/// [`Escalation::fast`].
impl Default for Escalation {
    fn default() -> Self {
        Self::fast()
    }
}
