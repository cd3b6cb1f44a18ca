//! The effect on a server when its owner exits.

use crate::launch::stop_plan::StopPlan;

/// The effect on a server when its owner, the process that started it, exits.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(
    clippy::exhaustive_enums,
    reason = "a server outlives its owner or does not"
)]
pub enum Ownership {
    /// It is stopped by this plan, however the owner exits: by returning, panicking, `exit`,
    /// `abort` or SIGKILL. SIGKILL follows the last step.
    Bound(StopPlan),
    /// It goes on running.
    Detached,
}

impl Default for Ownership {
    /// Bound, with the plan [`StopPlan::brief`].
    fn default() -> Self {
        Self::Bound(StopPlan::brief())
    }
}
