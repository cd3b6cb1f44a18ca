//! One piece of work done by several threads.

use std::thread::{Builder, available_parallelism, scope};

/// More threads than this get into each other's way in the kernel.
const THREADS: usize = 4;

/// Does the work in the calling thread and, for each further processor, in another one of this
/// name, as far as the system starts threads. Returns the first error; `died` is that of a thread
/// that panicked.
pub(super) fn in_threads<E: Send>(
    name: &str,
    died: impl Fn() -> E,
    work: impl Fn() -> Result<(), E> + Sync,
) -> Result<(), E> {
    let threads = available_parallelism().map_or(1, |n| n.get().min(THREADS));
    scope(|scope| {
        let others: Vec<_> = (1..threads)
            .map_while(|_| {
                let builder = Builder::new().name(name.to_owned());
                builder.spawn_scoped(scope, &work).ok()
            })
            .collect();
        let own = work();
        others
            .into_iter()
            .map(|thread| thread.join().unwrap_or_else(|_| Err(died())))
            .fold(own, Result::and)
    })
}
