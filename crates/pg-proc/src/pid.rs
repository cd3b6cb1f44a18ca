//! A process ID.

use std::fmt;
use std::num::NonZeroI32;
use std::str::FromStr;

use thiserror::Error;

/// The number of one process: at least 1.
///
/// Zero and negative numbers mean process groups to `kill(2)`, so they are no `Pid`: a number from
/// a hostile or damaged `postmaster.pid` cannot reach a group of processes.
///
/// A number alone identifies nothing. The kernel gives it to another process as soon as the first
/// one was reaped; signals are sent through [`Postmaster`](crate::Postmaster), which has checked
/// whom it means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pid(NonZeroI32);

impl Pid {
    /// The process with this number; nothing for numbers below 1.
    pub const fn new(number: i32) -> Option<Self> {
        match NonZeroI32::new(number) {
            Some(n) if n.get() > 0 => Some(Self(n)),
            _ => None,
        }
    }

    /// The calling process.
    pub fn current() -> Self {
        Self(rustix::process::getpid().as_raw_nonzero())
    }

    /// The number, at least 1.
    pub const fn as_raw(self) -> i32 {
        self.0.get()
    }

    pub(crate) fn rustix(self) -> rustix::process::Pid {
        // Cannot fail: the number is positive. The fallback is this process, which no caller
        // signals.
        rustix::process::Pid::from_raw(self.as_raw()).unwrap_or_else(rustix::process::getpid)
    }
}

impl fmt::Display for Pid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for Pid {
    type Err = PidError;

    fn from_str(text: &str) -> Result<Self, PidError> {
        let refused = || PidError {
            text: text.chars().take(40).collect(),
        };
        if !text.bytes().all(|b| b.is_ascii_digit()) {
            return Err(refused());
        }
        text.parse().ok().and_then(Self::new).ok_or_else(refused)
    }
}

impl TryFrom<i32> for Pid {
    type Error = PidError;

    fn try_from(number: i32) -> Result<Self, PidError> {
        Self::new(number).ok_or_else(|| PidError {
            text: number.to_string(),
        })
    }
}

impl From<Pid> for i32 {
    fn from(pid: Pid) -> i32 {
        pid.as_raw()
    }
}

/// A text or number is not a process ID.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{text:?} is not a process ID from 1 to {}", i32::MAX)]
pub struct PidError {
    text: String,
}

#[cfg(feature = "serde")]
mod with_serde {
    use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

    use super::Pid;

    impl Serialize for Pid {
        fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
            self.as_raw().serialize(to)
        }
    }

    impl<'de> Deserialize<'de> for Pid {
        fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
            Pid::try_from(i32::deserialize(from)?).map_err(D::Error::custom)
        }
    }
}
