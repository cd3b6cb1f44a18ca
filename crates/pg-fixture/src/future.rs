//! Futures without a runtime: a thread does the work, and wakes the task that waits.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::thread;

use crate::builder::TempClusterBuilder;
use crate::error::TempError;
use crate::temp_cluster::TempCluster;

impl TempCluster {
    /// As [`start`](Self::start), without blocking the calling thread: see
    /// [`TempClusterBuilder::start_async`].
    ///
    /// # Errors
    ///
    /// Fails as [`start`](Self::start) does.
    pub fn start_async() -> impl Future<Output = Result<Self, TempError>> + Send + use<> {
        Self::builder().start_async()
    }
}

impl TempClusterBuilder {
    /// As [`start`](Self::start), without blocking the calling thread.
    ///
    /// The future needs no runtime: a thread does the work and wakes the task. Nothing begins
    /// before the first poll. If the future is dropped, the thread goes on and then drops what it
    /// has made.
    ///
    /// # Errors
    ///
    /// Fails as [`start`](Self::start) does.
    pub fn start_async(
        &self,
    ) -> impl Future<Output = Result<TempCluster, TempError>> + Send + use<> {
        let builder = self.clone();
        in_thread(move || builder.start())
    }
}

/// Does the work in a thread of its own, from the first poll on. A panic is passed on to the task
/// that waits.
///
/// If the future is dropped before, the work is not stopped: its result is dropped by the thread.
/// Where no thread can be had, the first poll does the work.
pub(crate) fn in_thread<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> impl Future<Output = T> + Send {
    InThread(Arc::new(Mutex::new(Progress::Waiting(Box::new(work)))))
}

struct InThread<T>(Arc<Mutex<Progress<T>>>);

enum Progress<T> {
    Waiting(Box<dyn FnOnce() -> T + Send>),
    Working(Waker),
    Done(Result<T, Box<dyn Any + Send>>),
    /// The result was returned, or the future was dropped.
    Over,
}

impl<T: Send + 'static> Future for InThread<T> {
    type Output = T;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<T> {
        let waker = context.waker().clone();
        match replace(&self.0, Progress::Working(waker)) {
            Progress::Waiting(work) => {
                // Kept where it can be had again if there is no thread.
                let work = Arc::new(Mutex::new(Some(work)));
                let (theirs, progress) = (Arc::clone(&work), Arc::clone(&self.0));
                let run = move || {
                    if let Some(work) = lock(&theirs).take() {
                        finish(&progress, catch_unwind(AssertUnwindSafe(work)));
                    }
                };
                let thread = thread::Builder::new().name("pg-fixture future".to_owned());
                if thread.spawn(run).is_err()
                    && let Some(work) = lock(&work).take()
                {
                    replace(&self.0, Progress::Over);
                    return Poll::Ready(work());
                }
                Poll::Pending
            }
            Progress::Working(_) => Poll::Pending,
            Progress::Done(outcome) => {
                replace(&self.0, Progress::Over);
                Poll::Ready(outcome.unwrap_or_else(|panic| resume_unwind(panic)))
            }
            Progress::Over => {
                replace(&self.0, Progress::Over);
                Poll::Pending
            }
        }
    }
}

impl<T> Drop for InThread<T> {
    fn drop(&mut self) {
        // What was replaced is dropped after the lock is released: it may take a while.
        drop(replace(&self.0, Progress::Over));
    }
}

/// Hands the outcome over, or drops it here if the future was dropped.
fn finish<T>(progress: &Mutex<Progress<T>>, outcome: thread::Result<T>) {
    let mut guard = lock(progress);
    if let Progress::Working(_) = &*guard
        && let Progress::Working(waker) = std::mem::replace(&mut *guard, Progress::Done(outcome))
    {
        drop(guard);
        waker.wake();
    }
}

fn replace<T>(progress: &Mutex<Progress<T>>, next: Progress<T>) -> Progress<T> {
    std::mem::replace(&mut *lock(progress), next)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;
    use std::task::Wake;

    /// Reports that it is woken.
    struct Bell(mpsc::Sender<()>);

    impl Wake for Bell {
        fn wake(self: Arc<Self>) {
            let _ = self.0.send(());
        }
    }

    fn wait<T>(future: impl Future<Output = T>) -> T {
        let (sender, bell) = mpsc::channel();
        let waker = Waker::from(Arc::new(Bell(sender)));
        let mut future = std::pin::pin!(future);
        loop {
            match future.as_mut().poll(&mut Context::from_waker(&waker)) {
                Poll::Ready(value) => return value,
                Poll::Pending => bell.recv().unwrap(),
            }
        }
    }

    #[test]
    fn the_value_of_the_thread_is_that_of_the_future() {
        let caller = thread::current().id();
        let worker = wait(in_thread(|| thread::current().id()));
        assert_ne!(worker, caller);
    }

    #[test]
    fn nothing_begins_before_the_first_poll() {
        let (sender, receiver) = mpsc::channel();
        drop(in_thread(move || sender.send(())));
        // The sender is gone, and has sent nothing.
        receiver.recv().unwrap_err();
    }

    #[test]
    fn a_panic_is_passed_on() {
        let panicked = catch_unwind(|| wait(in_thread(|| -> u8 { panic!("in the thread") })));
        let message = *panicked.unwrap_err().downcast::<&str>().unwrap();
        assert_eq!(message, "in the thread");
    }

    #[test]
    fn what_a_dropped_future_makes_is_dropped_by_its_thread() {
        struct Made(mpsc::Sender<thread::ThreadId>);
        impl Drop for Made {
            fn drop(&mut self) {
                self.0.send(thread::current().id()).unwrap();
            }
        }
        let (begin, begun) = mpsc::channel::<()>();
        let (dropped, receiver) = mpsc::channel();
        let mut future = Box::pin(in_thread(move || {
            begun.recv().unwrap();
            Made(dropped)
        }));
        let poll = future
            .as_mut()
            .poll(&mut Context::from_waker(Waker::noop()));
        assert!(poll.is_pending());
        drop(future);
        begin.send(()).unwrap();
        assert_ne!(receiver.recv().unwrap(), thread::current().id());
    }
}
