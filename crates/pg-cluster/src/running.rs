//! A server for the length of a scope.

use pg_proc::Maker;

use crate::{Cluster, Escalation, StartError, StartOptions, Started, StopError, Stopped};

/// A running server that is shut down at the end of a scope; made by [`Cluster::running`].
///
/// # Cleanup
///
/// Dropping it is a fast shutdown that is waited for, for at most ten seconds, then an immediate
/// one. Errors are lost then: use [`finish`](Self::finish) to see them. In a process that was
/// forked from the one that made it, dropping it does nothing.
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
    /// server that runs already is used, and shut down just the same.
    ///
    /// # Errors
    ///
    /// As [`start`](Self::start).
    pub fn running(&self, options: &StartOptions) -> Result<Running<'_>, StartError> {
        let options = options.clone().wait(crate::StartWait::Ready);
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

    /// Whether the server was started for this scope.
    pub fn started(&self) -> Started {
        self.started
    }

    /// Shuts the server down now, and tells how that went.
    ///
    /// # Errors
    ///
    /// As [`Cluster::stop_and_wait`].
    pub fn finish(mut self) -> Result<Stopped, StopError> {
        self.finished = true;
        self.cluster.stop_and_wait(&Escalation::fast())
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        if !self.finished && self.maker.is_this_process() {
            let seconds = std::time::Duration::from_secs;
            let plan = Escalation::new(crate::StopMode::Fast, seconds(10))
                .then(crate::StopMode::Immediate, seconds(5));
            let _ = self.cluster.stop_and_wait(&plan);
        }
    }
}
