//! Ctrl-C and SIGTERM.
//!
//! All that a command writes appears under its name when it is whole, so that a command may end at any
//! moment, and does at the first signal, whatever long computation it is in. Only a training has
//! something to lose: the steps since its last checkpoint. While there are any
//! ([`Stop::hold`]) the first signal is a request, which the training loop sees after the step it is
//! in; a second one ends the process all the same.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use signal_hook::consts::{SIGINT, SIGTERM, SIGXFSZ};
use signal_hook::iterator::Signals;
use signal_hook::{flag, low_level};

use crate::terminal;

/// Signals within this time are one: `timeout` sends two, and a terminal may send one to each process of
/// a pipeline that passes it on.
const ONE_REQUEST: Duration = Duration::from_secs(1);
/// How long the last words may take. A pipe that nobody reads would hold them for ever.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// What this process does when it is asked to end.
#[derive(Debug, Clone)]
pub(crate) struct Stop {
    asked: Arc<AtomicBool>,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    /// Whether an end at this moment would lose something.
    holding: bool,
    /// Said on the standard output at the end.
    farewell: Option<String>,
    /// The signal that came.
    signal: Option<i32>,
}

impl Stop {
    /// Listens from now on. SIGHUP is left alone, so that `nohup` works. A file that grows beyond the limit
    /// of the process becomes an error of the write, which names the file; by default it kills.
    pub(crate) fn listen() -> Result<Self> {
        let stop = Self { asked: Arc::default(), state: Arc::default() };
        let mut signals = Signals::new([SIGINT, SIGTERM]).context("cannot listen for Ctrl-C")?;
        flag::register(SIGXFSZ, Arc::default()).context("cannot listen for SIGXFSZ")?;
        let listener = stop.clone();
        thread::Builder::new()
            .name("signals".into())
            .spawn(move || {
                let mut first: Option<Instant> = None;
                for signal in signals.forever() {
                    match first {
                        None => listener.first(signal),
                        Some(first) if first.elapsed() < ONE_REQUEST => continue,
                        Some(_) => low_level::exit(code(signal)),
                    }
                    first = Some(Instant::now());
                }
            })
            .context("cannot listen for Ctrl-C")?;
        Ok(stop)
    }

    fn first(&self, signal: i32) {
        let mut state = self.state();
        state.signal = Some(signal);
        self.asked.store(true, Ordering::Relaxed);
        let (holding, farewell) = (state.holding, state.farewell.take());
        // The lock is held: nothing is begun that would have to be kept.
        within(LAST_WORDS, move || {
            if holding {
                terminal::note("stopping after this step; once more stops without saving it");
            } else {
                terminal::note("stopping");
                // This process ends as interrupted in any case.
                farewell.map_or(Ok(()), terminal::print).unwrap_or_default();
            }
        });
        if !holding {
            low_level::exit(code(signal));
        }
    }

    /// Whether the process was asked to end.
    pub(crate) fn asked(&self) -> &AtomicBool {
        &self.asked
    }

    /// From now on an end would lose something: a signal is only a request.
    pub(crate) fn hold(&self) {
        self.state().holding = true;
    }

    /// From now on all is saved: a signal ends the process, which says `farewell` first.
    pub(crate) fn release(&self, farewell: String) {
        let mut state = self.state();
        state.holding = false;
        state.farewell = Some(farewell);
    }

    /// The exit code of a process that ended as it was asked to.
    pub(crate) fn exit_code(&self) -> u8 {
        code(self.state().signal.unwrap_or(SIGINT)) as u8
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// As shells say it: 130 after Ctrl-C, 143 after SIGTERM.
fn code(signal: i32) -> i32 {
    128 + signal
}

/// Does something, and does not wait for it any longer than this.
fn within(limit: Duration, work: impl FnOnce() + Send + 'static) {
    let (done, is_done) = mpsc::channel();
    thread::spawn(move || {
        work();
        let _ = done.send(());
    });
    let _ = is_done.recv_timeout(limit);
}
