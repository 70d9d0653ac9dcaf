//! Memory that decoding may take, shared by all threads that decode.

use std::sync::{Condvar, Mutex, PoisonError};

/// Bytes that are lent to who needs them, and waited for where they are lent out.
pub(super) struct Budget {
    free: Mutex<u64>,
    returned: Condvar,
}

/// Bytes lent until this is dropped.
pub(super) struct Loan<'a> {
    budget: &'a Budget,
    bytes: u64,
}

impl Budget {
    /// The most bytes that pictures which are decoded at one time take together: three for each of
    /// 64 megapixels.
    pub(super) const LIMIT: u64 = 192 << 20;

    pub(super) fn new() -> Self {
        Self { free: Mutex::new(Self::LIMIT), returned: Condvar::new() }
    }

    /// Waits for `bytes`, at most [`Self::LIMIT`], to be free.
    pub(super) fn lend(&self, bytes: u64) -> Loan<'_> {
        debug_assert!(bytes <= Self::LIMIT, "would be waited for for ever");
        let free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        let enough = self.returned.wait_while(free, |free| *free < bytes);
        *enough.unwrap_or_else(PoisonError::into_inner) -= bytes;
        Loan { budget: self, bytes }
    }
}

impl Drop for Loan<'_> {
    fn drop(&mut self) {
        *self.budget.free.lock().unwrap_or_else(PoisonError::into_inner) += self.bytes;
        self.budget.returned.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    #[test]
    fn never_more_is_lent_than_there_is() {
        let (budget, lent) = (Budget::new(), AtomicU64::new(0));
        let share = Budget::LIMIT / 3 + 1;
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..50 {
                        let _loan = budget.lend(share);
                        assert!(lent.fetch_add(share, Ordering::SeqCst) + share <= Budget::LIMIT);
                        std::thread::yield_now();
                        lent.fetch_sub(share, Ordering::SeqCst);
                    }
                });
            }
        });
        assert_eq!(*budget.free.lock().unwrap(), Budget::LIMIT);
    }
}
