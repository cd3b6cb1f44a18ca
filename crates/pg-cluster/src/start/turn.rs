//! A lock with a timeout, for threads that start the same server.

use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// A lock that is acquired with a timeout.
#[derive(Debug, Default)]
pub(crate) struct Turn {
    taken: Mutex<bool>,
    given: Condvar,
}

/// The acquired lock, until it is dropped.
#[derive(Debug)]
pub(crate) struct Taken<'t>(&'t Turn);

impl Turn {
    /// Acquires the lock; none if other threads hold it for longer than the limit.
    pub(crate) fn take(&self, limit: Duration) -> Option<Taken<'_>> {
        let begun = Instant::now();
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        while *taken {
            let left = limit
                .checked_sub(begun.elapsed())
                .filter(|left| !left.is_zero())?;
            let waited = self.given.wait_timeout(taken, left);
            taken = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        *taken = true;
        Some(Taken(self))
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        let taken = self.0.taken.lock();
        *taken.unwrap_or_else(PoisonError::into_inner) = false;
        self.0.given.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_turn_is_waited_for_up_to_the_limit() {
        let turn = Turn::default();
        let held = turn.take(Duration::ZERO).expect("the first turn");
        assert!(turn.take(Duration::ZERO).is_none());
        std::thread::scope(|scope| {
            let next = scope.spawn(|| turn.take(Duration::from_secs(60)).is_some());
            drop(held);
            assert!(next.join().expect("no panic"));
        });
        assert!(turn.take(Duration::ZERO).is_some());
    }
}
