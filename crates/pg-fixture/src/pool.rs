//! Servers that are started before they are wanted.

use std::collections::VecDeque;
use std::num::NonZeroUsize;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use pg_proc::Maker;

use crate::builder::TempClusterBuilder;
use crate::error::{TempError, TempErrorKind};
use crate::log::OnPanic;
use crate::temp_cluster::{Keep, TempCluster};

/// The time that dropping a pool waits for a server that is being started.
const LAST_START: Duration = Duration::from_secs(5);
/// The time that [`TempPool::acquire`] waits for a server.
const ACQUIRE: Duration = Duration::from_secs(60);

/// Servers of one kind that are kept ready, so that a test does not wait for the start of a server.
///
/// One thread starts them, one after the other, as long as fewer than the wanted number are ready.
///
/// ```no_run
/// use std::num::NonZeroUsize;
///
/// use pg_fixture::{TempCluster, TempPool};
///
/// let pool = TempPool::new(TempCluster::builder(), NonZeroUsize::MIN)?;
/// let server = pool.acquire()?;
/// println!("{}", server.uri());
/// # Ok::<(), pg_fixture::TempError>(())
/// ```
///
/// # Cleanup
///
/// Dropping the pool removes the servers that were not acquired. It waits up to five seconds for a
/// server that is being started; a slower one is removed in the background. Acquired servers
/// outlive the pool. If the process exits without dropping the pool, all servers are removed, as
/// each [`TempCluster`] is.
#[derive(Debug)]
pub struct TempPool {
    shared: Arc<Shared>,
    maker: Maker,
}

#[derive(Debug)]
struct Shared {
    builder: TempClusterBuilder,
    size: NonZeroUsize,
    state: Mutex<State>,
    /// Notified of each change that the other side may wait for.
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    ready: VecDeque<TempCluster>,
    /// The error of the last start. The next start waits until the error has been returned.
    failed: Option<TempError>,
    is_closed: bool,
    has_thread_ended: bool,
}

impl TempPool {
    /// Starts servers in the background and keeps `size` of them ready.
    ///
    /// # Errors
    ///
    /// Fails if the servers are to be [detached](pg_proc::Ownership::Detached), or if the thread
    /// that starts them cannot be created. If a server cannot be started,
    /// [`acquire`](Self::acquire) reports it.
    pub fn new(builder: TempClusterBuilder, size: NonZeroUsize) -> Result<Self, TempError> {
        if builder.is_detached() {
            let problem = "the servers of a pool cannot be detached".to_owned();
            return Err(TempErrorKind::Option(problem).into());
        }
        let shared = Arc::new(Shared {
            builder,
            size,
            state: Mutex::default(),
            changed: Condvar::new(),
        });
        let own = Arc::clone(&shared);
        std::thread::Builder::new()
            .name("pg-cluster pool".to_owned())
            .spawn(move || own.refill())
            .map_err(TempErrorKind::Thread)?;
        Ok(Self {
            shared,
            maker: Maker::this_process(),
        })
    }

    /// Takes a server out of the pool, and waits up to a minute if none is ready.
    ///
    /// # Errors
    ///
    /// Fails as [`acquire_within`](Self::acquire_within) does.
    pub fn acquire(&self) -> Result<TempCluster, TempError> {
        self.acquire_within(ACQUIRE)
    }

    /// Takes a server out of the pool, and waits up to this time if none is ready.
    ///
    /// A server that has exited while it waited in the pool is thrown away.
    ///
    /// # Errors
    ///
    /// Fails if none is ready in time. If a server could not be started, one caller gets the error,
    /// as of [`TempClusterBuilder::start`], and then the next start is tried. Fails at once in a
    /// process that was forked from the one that made the pool.
    pub fn acquire_within(&self, limit: Duration) -> Result<TempCluster, TempError> {
        if !self.maker.is_this_process() {
            return Err(TempErrorKind::ForkedPool.into());
        }
        let begun = Instant::now();
        let mut state = self.shared.lock();
        loop {
            while let Some(temp) = state.ready.pop_front() {
                self.shared.changed.notify_all();
                if temp.is_alive() {
                    return Ok(temp);
                }
                // Dropping it takes a moment.
                drop(state);
                drop(temp);
                state = self.shared.lock();
            }
            if let Some(error) = state.failed.take() {
                self.shared.changed.notify_all();
                return Err(error);
            }
            let left = limit.saturating_sub(begun.elapsed());
            if left.is_zero() {
                return Err(TempErrorKind::PoolIsEmpty(limit).into());
            }
            let waited = self.shared.changed.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Returns the number of servers that are ready.
    pub fn ready(&self) -> usize {
        match self.maker.is_this_process() {
            true => self.shared.lock().ready.len(),
            false => 0,
        }
    }
}

impl Drop for TempPool {
    fn drop(&mut self) {
        // The thread is not in a forked process, and it may have held the lock.
        if !self.maker.is_this_process() {
            return;
        }
        let mut state = self.shared.lock();
        state.is_closed = true;
        self.shared.changed.notify_all();
        let ready = std::mem::take(&mut state.ready);
        drop(state);
        ready.into_iter().for_each(throw_away);
        let has_begun = |state: &mut State| !state.has_thread_ended;
        let state = self.shared.lock();
        let _ = self
            .shared
            .changed
            .wait_timeout_while(state, LAST_START, has_begun);
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts one server after the other while there is room.
    fn refill(&self) {
        let mut state = self.lock();
        loop {
            let is_full = |state: &mut State| {
                !state.is_closed && (state.ready.len() >= self.size.get() || state.failed.is_some())
            };
            let waited = self.changed.wait_while(state, is_full);
            state = waited.unwrap_or_else(PoisonError::into_inner);
            if state.is_closed {
                break;
            }
            drop(state);
            // A setup step may panic.
            let start = std::panic::AssertUnwindSafe(|| self.builder.start());
            let started = std::panic::catch_unwind(start)
                .unwrap_or_else(|_| Err(TempErrorKind::PoolPanicked.into()));
            state = self.lock();
            match started {
                Ok(temp) if state.is_closed => {
                    drop(state);
                    throw_away(temp);
                    state = self.lock();
                }
                Ok(temp) => state.ready.push_back(temp),
                Err(error) => state.failed = Some(error),
            }
            self.changed.notify_all();
        }
        state.has_thread_ended = true;
        self.changed.notify_all();
    }
}

/// Prepares a server that was not used for removal: its files are not kept, and its log is not
/// printed.
fn throw_away(mut temp: TempCluster) {
    temp.keep = Keep::Never;
    temp.log_use.on_panic = OnPanic::Silent;
    drop(temp);
}
