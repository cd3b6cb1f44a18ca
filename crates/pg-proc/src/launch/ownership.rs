//! What becomes of a server when its owner exits.

use std::time::Duration;

use crate::signal::Signal;
use crate::sys::Step;

/// What becomes of a server when its owner, the process that started it, ends.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(
    clippy::exhaustive_enums,
    reason = "a server outlives its owner or does not"
)]
pub enum Ownership {
    /// It is ended by this plan, however the owner ends: by returning, panicking, `exit`, `abort`
    /// or SIGKILL.
    Bound(StopPlan),
    /// It lives on.
    Detached,
}

impl Default for Ownership {
    /// Bound, with the [default plan](StopPlan::default).
    fn default() -> Self {
        Self::Bound(StopPlan::default())
    }
}

/// Signals to end a server with, and how long each may take before the next. SIGKILL follows the
/// last one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StopPlan {
    steps: Vec<(Signal, Duration)>,
}

impl StopPlan {
    /// SIGKILL at once, until steps are added with [`then`](Self::then).
    pub const fn new() -> Self {
        Self { steps: Vec::new() }
    }

    /// For data that will not be used again: immediate shutdown, SIGKILL after half a second.
    pub fn throw_away() -> Self {
        Self::new().then(Signal::Immediate, Duration::from_millis(500))
    }

    /// Adds a step. [`Signal::Reload`] and [`Signal::CheckRequests`] end nothing; they only cost
    /// the time.
    #[must_use]
    pub fn then(mut self, signal: Signal, patience: Duration) -> Self {
        self.steps.push((signal, patience));
        self
    }

    /// The steps before SIGKILL.
    pub fn steps(&self) -> &[(Signal, Duration)] {
        &self.steps
    }

    /// How long it takes until SIGKILL is sent.
    pub fn duration(&self) -> Duration {
        self.steps
            .iter()
            .fold(Duration::ZERO, |sum, (_, time)| sum.saturating_add(*time))
    }

    pub(crate) fn to_steps(&self) -> Vec<Step> {
        self.steps
            .iter()
            .map(|(signal, patience)| Step {
                signal: signal.as_raw().into(),
                patience_ms: i64::try_from(patience.as_millis()).unwrap_or(i64::MAX),
            })
            .collect()
    }
}

impl Default for StopPlan {
    /// Fast shutdown; after half a second immediate shutdown; after another 0.3 s SIGKILL: within a
    /// second in all.
    fn default() -> Self {
        Self::new()
            .then(Signal::Fast, Duration::from_millis(500))
            .then(Signal::Immediate, Duration::from_millis(300))
    }
}
