//! A thread that works ahead: step after step, at most `depth` results in waiting.
//!
//! Use it for whatever the training thread should not wait for: gathering batches, drawing noise.

use std::any::Any;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread::JoinHandle;

/// Why a [`Prefetch`] gives no result.
#[derive(Debug, thiserror::Error)]
pub enum PrefetchError {
    /// The thread could not be started.
    #[error("cannot start the prefetch thread; close other programs or raise the thread limit")]
    Spawn(#[source] std::io::Error),
    /// The work panicked.
    #[error("the prefetch thread panicked at step {step}: {message}")]
    Panicked {
        /// The step it worked on.
        step: u64,
        /// What it panicked with.
        message: String,
    },
}

/// An endless iterator over the results of a closure that runs ahead on a thread of its own.
///
/// A panic of the closure comes out as one [`PrefetchError::Panicked`], in its place, and ends the
/// iterator. Dropping a `Prefetch` ends the thread and waits for the step it is in.
///
/// ```
/// use vdm_data::Prefetch;
/// let squares: Vec<u64> = Prefetch::spawn(3, 2, |step| step * step)?.take(3).collect::<Result<_, _>>()?;
/// assert_eq!(squares, [9, 16, 25]);
/// # Ok::<(), vdm_data::PrefetchError>(())
/// ```
pub struct Prefetch<T> {
    /// `None` once dropping has begun.
    results: Option<Receiver<Result<T, PrefetchError>>>,
    worker: Option<JoinHandle<()>>,
}

impl<T: Send + 'static> Prefetch<T> {
    /// Starts `work(first_step)`, `work(first_step + 1)`, … with `depth` results (2 to 4 hide the
    /// usual unevenness) kept waiting; beyond them the thread pauses.
    ///
    /// # Errors
    /// [`PrefetchError::Spawn`] if the system gives no thread.
    pub fn spawn(
        first_step: u64,
        depth: usize,
        mut work: impl FnMut(u64) -> T + Send + 'static,
    ) -> Result<Self, PrefetchError> {
        let (sender, results) = sync_channel(depth);
        let run = move || {
            for step in first_step.. {
                // Sound to assert: after a panic `work` is not called again.
                let result = catch_unwind(AssertUnwindSafe(|| work(step))).map_err(|payload| {
                    PrefetchError::Panicked { step, message: panic_message(&*payload) }
                });
                let ended = result.is_err();
                if sender.send(result).is_err() || ended {
                    return;
                }
            }
        };
        let worker = std::thread::Builder::new()
            .name("vdm-prefetch".into())
            .spawn(run)
            .map_err(PrefetchError::Spawn)?;
        Ok(Self { results: Some(results), worker: Some(worker) })
    }
}

/// The text of a panic.
pub(crate) fn panic_message(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().copied();
    text.or_else(|| payload.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("a panic without a message")
        .into()
}

impl<T> Iterator for Prefetch<T> {
    type Item = Result<T, PrefetchError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.results.as_ref()?.recv().ok()
    }
}

impl<T> Drop for Prefetch<T> {
    fn drop(&mut self) {
        // A worker that waits for room is woken by the end of the channel: drop that first.
        drop(self.results.take());
        if let Some(worker) = self.worker.take() {
            // The work's panics were caught and sent, so there is none to pass on.
            drop(worker.join());
        }
    }
}

impl<T> fmt::Debug for Prefetch<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Prefetch").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::time::{Duration, Instant};

    use super::*;

    #[test]
    fn a_panic_surfaces_in_its_place_and_ends_the_iterator() {
        let mut prefetch = Prefetch::spawn(0, 2, |step| {
            assert!(step < 2, "step {step} is too far");
            step
        })
        .unwrap();
        assert_eq!(prefetch.next().unwrap().unwrap(), 0);
        assert_eq!(prefetch.next().unwrap().unwrap(), 1);
        let error = prefetch.next().unwrap().unwrap_err();
        assert_eq!(error.to_string(), "the prefetch thread panicked at step 2: step 2 is too far");
        assert!(prefetch.next().is_none());
    }

    #[test]
    fn the_worker_is_at_most_depth_ahead() {
        let begun = Arc::new(AtomicU64::new(0));
        let count = Arc::clone(&begun);
        let mut prefetch =
            Prefetch::spawn(0, 2, move |_| count.fetch_add(1, Ordering::SeqCst)).unwrap();
        for taken in 1..=20 {
            prefetch.next().unwrap().unwrap();
            // Two waiting, and one in the worker's hands.
            assert!(begun.load(Ordering::SeqCst) <= taken + 3);
        }
        let deadline = Instant::now() + Duration::from_secs(10);
        while begun.load(Ordering::SeqCst) < 23 {
            assert!(Instant::now() < deadline, "the worker does not run ahead");
            std::thread::yield_now();
        }
    }

    #[test]
    fn dropping_ends_a_worker_that_waits_for_room() {
        let alive = Arc::new(());
        let held = Arc::clone(&alive);
        let prefetch = Prefetch::spawn(0, 2, move |_| Arc::strong_count(&held)).unwrap();
        drop(prefetch);
        assert_eq!(Arc::strong_count(&alive), 1, "the worker still holds its closure");
    }
}
