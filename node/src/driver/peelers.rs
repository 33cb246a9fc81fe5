//! Threads that open packets, so that the loop which times departures never waits for cryptography.
//!
//! The loop hands over what links bring, each packet with the moment of its arrival; a thread takes up to 64 of what has gathered,
//! never waiting for more, and gives them back opened. Both ways are bounded: a full intake sheds one of all that wait, each
//! as likely as any other; threads whose results nobody takes pause. Order is not kept, and need not be: what a packet may do
//! next is decided by the mixer, which counts its delay from its arrival.

use std::collections::VecDeque;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use mix::Packet;
use mix::mixer::{Arrival, Opened, Opener};
use mix::sphinx::BATCH;
use mix::time::Moment;
use rand_chacha::ChaCha20Rng;
use rand_core::Rng;
use tokio::sync::mpsc;

/// Packets that may wait for each thread: some 45 ms of work. Half of that the constant hold of every packet hides; more of a
/// queue would only make departures later than drawn, less would lose what a few links bring at once.
const WAITING: usize = 512;
/// Batches that may wait for the loop.
const RESULTS: usize = 64;

/// The threads, and the queue before them.
#[derive(Debug)]
pub struct Peelers {
    intake: Arc<Intake>,
    opened: mpsc::Receiver<Opened>,
    rng: ChaCha20Rng,
    cap: usize,
    shed: u64,
}

#[derive(Debug)]
struct Intake {
    state: Mutex<State>,
    work: Condvar,
    lost: AtomicU64,
}

#[derive(Debug, Default)]
struct State {
    opener: Option<Opener>,
    waiting: VecDeque<Arrival>,
    /// Threads that sleep.
    idle: usize,
    threads: usize,
    closed: bool,
}

/// As many threads as leave one core to the loop and the links, at least one.
#[must_use]
pub fn default_threads() -> usize {
    std::thread::available_parallelism().map_or(1, |cores| cores.get().saturating_sub(1).max(1))
}

impl Peelers {
    /// Starts `threads` threads. They open nothing before [`renew`](Self::renew) gave them keys.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start(threads: usize, rng: ChaCha20Rng) -> io::Result<Self> {
        Self::start_with(threads, rng, Opener::open)
    }

    fn start_with(
        threads: usize,
        rng: ChaCha20Rng,
        open: impl Fn(&Opener, Vec<Arrival>) -> Opened + Clone + Send + 'static,
    ) -> io::Result<Self> {
        let threads = threads.max(1);
        let (results, opened) = mpsc::channel(RESULTS);
        let intake = Arc::new(Intake {
            state: Mutex::new(State {
                threads,
                ..State::default()
            }),
            work: Condvar::new(),
            lost: AtomicU64::new(0),
        });
        // Made first: if a thread cannot be started, those that were are told to end.
        let peelers = Self {
            intake: intake.clone(),
            opened,
            rng,
            cap: WAITING * threads,
            shed: 0,
        };
        for number in 0..threads {
            let (intake, results, open) = (intake.clone(), results.clone(), open.clone());
            std::thread::Builder::new()
                .name(format!("peel-{number}"))
                .spawn(move || intake.serve(&results, open))?;
        }
        Ok(peelers)
    }

    /// From now on packets are opened with these keys. Earlier openers keep no key alive beyond the batches under way.
    pub fn renew(&mut self, opener: Opener) {
        self.intake.lock().opener = Some(opener);
        self.intake.work.notify_all();
    }

    /// Takes in packets that arrived at `now`.
    pub fn push(&mut self, now: Moment, packets: impl IntoIterator<Item = Packet>) {
        let mut state = self.intake.lock();
        for packet in packets {
            let arrival = Arrival { at: now, packet };
            if state.waiting.len() < self.cap {
                state.waiting.push_back(arrival);
                continue;
            }
            self.shed += 1;
            let all = state.waiting.len() as u64 + 1;
            // Lemire's multiplication; its bias, all in 2^64, is nothing one could see.
            let victim = (u128::from(self.rng.next_u64()) * u128::from(all)) >> 64;
            if let Some(place) = state.waiting.get_mut(victim as usize) {
                *place = arrival;
            }
        }
        let wake = state.idle.min(state.waiting.len());
        drop(state);
        for _ in 0..wake {
            self.intake.work.notify_one();
        }
    }

    /// The next batch that was opened. Cancelling it loses nothing. `None` if the threads have ended, which they do not.
    pub async fn opened(&mut self) -> Option<Opened> {
        self.opened.recv().await
    }

    /// A batch that is ready.
    pub fn try_opened(&mut self) -> Option<Opened> {
        self.opened.try_recv().ok()
    }

    /// Packets thrown out because too many waited.
    #[must_use]
    pub fn shed(&self) -> u64 {
        self.shed
    }

    /// Packets lost with a batch whose opening panicked: a mistake of ours, logged each time.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.intake.lost.load(Ordering::Relaxed)
    }
}

impl Drop for Peelers {
    fn drop(&mut self) {
        let mut state = self.intake.lock();
        state.closed = true;
        state.opener = None;
        state.waiting.clear();
        drop(state);
        self.intake.work.notify_all();
    }
}

impl Intake {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing panics while it is locked.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a thread does until the queue is closed.
    fn serve(
        &self,
        results: &mpsc::Sender<Opened>,
        open: impl Fn(&Opener, Vec<Arrival>) -> Opened,
    ) {
        while let Some((opener, arrivals)) = self.next_batch() {
            let count = arrivals.len();
            let work = AssertUnwindSafe(|| open(&opener, arrivals));
            match catch_unwind(work) {
                Ok(opened) => {
                    drop(opener);
                    if results.blocking_send(opened).is_err() {
                        return;
                    }
                }
                Err(_) => {
                    // One packet that can do this must not cost more than its batch; but it must not go unseen.
                    self.lost.fetch_add(count as u64, Ordering::Relaxed);
                    tracing::error!(
                        packets = count,
                        "opening packets panicked; report this as a bug"
                    );
                }
            }
        }
    }

    /// Waits for work and takes this thread's share of it.
    fn next_batch(&self) -> Option<(Opener, Vec<Arrival>)> {
        let mut state = self.lock();
        loop {
            if state.closed {
                return None;
            }
            if let Some(opener) = &state.opener
                && !state.waiting.is_empty()
            {
                let opener = opener.clone();
                let share = state.waiting.len().div_ceil(state.threads).min(BATCH);
                return Some((opener, state.waiting.drain(..share).collect()));
            }
            state.idle += 1;
            state = self
                .work
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
            state.idle -= 1;
        }
    }
}

#[cfg(test)]
mod tests;
