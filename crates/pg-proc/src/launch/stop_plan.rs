//! The plan by which a server is stopped: how, for how long, and then how.

use std::time::Duration;

use crate::signal::Signal;
use crate::sys::Step;

/// The steps by which a server is stopped: each a signal and the time that the server has to exit
/// before the next step.
///
/// One plan serves everywhere: a program stops a server by it, and a [bound](crate::Ownership)
/// server is stopped by it when its owner exits. SIGKILL follows the last step of a bound server,
/// because no process is left that could decide otherwise.
///
/// ```
/// use std::time::Duration;
///
/// use pg_proc::{Signal, StopPlan};
///
/// let plan = StopPlan::new(Signal::Smart, Duration::from_secs(2))
///     .then(Signal::Fast, Duration::from_secs(10))
///     .then(Signal::Immediate, Duration::from_secs(5));
/// assert_eq!(plan.duration(), Duration::from_secs(17));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StopPlan {
    steps: Vec<(Signal, Duration)>,
}

impl StopPlan {
    /// One step: sends this signal, and waits up to this time. [`Signal::Reload`] and
    /// [`Signal::CheckRequests`] stop nothing; such a step only waits.
    pub fn new(signal: Signal, timeout: Duration) -> Self {
        Self {
            steps: vec![(signal, timeout)],
        }
    }

    /// Adds a step for a server that still runs after the steps before.
    #[must_use]
    pub fn then(mut self, signal: Signal, timeout: Duration) -> Self {
        self.steps.push((signal, timeout));
        self
    }

    /// A fast shutdown that may take a minute, as with `pg_ctl stop`, and no further step.
    pub fn fast() -> Self {
        Self::new(Signal::Fast, Duration::from_secs(60))
    }

    /// A smart shutdown for 2 seconds, a fast one for 10, an immediate one for 5, then SIGKILL.
    ///
    /// ```
    /// use pg_proc::{Signal, StopPlan};
    ///
    /// let plan = StopPlan::escalating();
    /// assert!(matches!(plan.steps(), [(Signal::Smart, _), .., (Signal::Kill, _)]));
    /// ```
    pub fn escalating() -> Self {
        Self::new(Signal::Smart, Duration::from_secs(2))
            .then(Signal::Fast, Duration::from_secs(10))
            .then(Signal::Immediate, Duration::from_secs(5))
            .then(Signal::Kill, Duration::from_secs(5))
    }

    /// A fast shutdown for 0.5 seconds, then an immediate one for 0.3 seconds: the default plan of
    /// a [bound](crate::Ownership) server, which exits within a second.
    pub fn brief() -> Self {
        Self::new(Signal::Fast, Duration::from_millis(500))
            .then(Signal::Immediate, Duration::from_millis(300))
    }

    /// An immediate shutdown for 0.5 seconds, for data that are not needed again.
    pub fn throw_away() -> Self {
        Self::new(Signal::Immediate, Duration::from_millis(500))
    }

    /// SIGKILL, with 10 seconds until the server and its child processes have exited.
    pub fn kill() -> Self {
        Self::new(Signal::Kill, Duration::from_secs(10))
    }

    /// The steps in order.
    pub fn steps(&self) -> &[(Signal, Duration)] {
        &self.steps
    }

    /// Returns whether SIGKILL is among the steps.
    ///
    /// ```
    /// use pg_proc::StopPlan;
    ///
    /// assert!(StopPlan::kill().kills());
    /// assert!(!StopPlan::fast().kills());
    /// ```
    pub fn kills(&self) -> bool {
        let mut signals = self.steps.iter().map(|&(signal, _)| signal);
        signals.any(|signal| signal == Signal::Kill)
    }

    /// The time that all steps take together if the server exits by none.
    pub fn duration(&self) -> Duration {
        let timeouts = self.steps.iter().map(|&(_, timeout)| timeout);
        timeouts.fold(Duration::ZERO, Duration::saturating_add)
    }

    pub(crate) fn to_steps(&self) -> Vec<Step> {
        let step = |&(signal, timeout): &(Signal, Duration)| Step {
            signal: signal.as_raw().into(),
            patience_ms: i64::try_from(timeout.as_millis()).unwrap_or(i64::MAX),
        };
        self.steps.iter().map(step).collect()
    }
}
