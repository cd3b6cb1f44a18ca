//! A server that runs for the length of a scope.

use std::time::Duration;

use pg_proc::{Maker, Signal, StopPlan};

use crate::start::{StartError, StartOptions, StartWait, Started};
use crate::stop::Stopped;
use crate::{Cluster, ControlError};

/// A running server that is shut down at the end of a scope, made by [`Cluster::run_scoped`].
///
/// # Cleanup
///
/// Dropping this value shuts the server down: fast, waiting up to ten seconds, then immediately,
/// waiting up to five. Errors are ignored; [`finish`](Self::finish) returns them. Dropping the
/// value in a process that was forked from the one that made it does nothing.
#[derive(Debug)]
#[must_use = "the server is shut down when this is dropped"]
pub struct Running<'c> {
    cluster: &'c Cluster,
    started: Started,
    finished: bool,
    maker: Maker,
}

impl Cluster {
    /// Starts the server, waits until it is ready, and shuts it down when the result is dropped. A
    /// server that is running already is used, and shut down too.
    ///
    /// ```no_run
    /// # fn example(cluster: &pg_cluster::Cluster) -> Result<(), Box<dyn std::error::Error>> {
    /// use pg_cluster::StartOptions;
    ///
    /// let running = cluster.run_scoped(&StartOptions::new().socket_only("/tmp"))?;
    /// println!("{:?}", running.cluster().connection_info()?);
    /// running.finish()?; // or drop it, which ignores errors
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Fails as [`start`](Self::start) does.
    pub fn run_scoped(&self, options: &StartOptions) -> Result<Running<'_>, StartError> {
        let options = options.clone().wait(StartWait::Ready);
        Ok(Running {
            cluster: self,
            started: self.start(&options)?,
            finished: false,
            maker: Maker::this_process(),
        })
    }
}

impl Running<'_> {
    /// The cluster.
    pub fn cluster(&self) -> &Cluster {
        self.cluster
    }

    /// Returns whether the server was started for this scope, or was running before.
    pub fn started(&self) -> Started {
        self.started
    }

    /// Shuts the server down now, and returns the outcome.
    ///
    /// # Errors
    ///
    /// Fails as [`Cluster::stop`] does.
    pub fn finish(mut self) -> Result<Stopped, ControlError> {
        self.finished = true;
        self.cluster.stop(&StopPlan::fast())
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        if !self.finished && self.maker.is_this_process() {
            let plan = StopPlan::new(Signal::Fast, Duration::from_secs(10))
                .then(Signal::Immediate, Duration::from_secs(5));
            let _ = self.cluster.stop(&plan);
        }
    }
}
