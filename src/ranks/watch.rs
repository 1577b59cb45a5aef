//! Whether the other ranks live: a heartbeat in the store, looked at from beside the work.
//!
//! Each rank counts up a number of its own and looks at its successor's: one that stands still for as long as patience lasts is hung, whatever it
//! was doing. Who finds a fault says so in the store, the first word stays, and every rank ends with it. A rank that is stopped together with the
//! store that it keeps is noticed by the calls that don't return.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use comm::{Error, Store};

use crate::interrupt;

/// Beats within the time that a silent rank is given.
const BEATS: u32 = 20;

/// What helps whatever rank ended.
pub const AGAIN: &str = "what was saved before is whole; start all ranks again with the same command";

/// What a rank says when it ends for all: who, the exit code, and why.
#[derive(Clone, Debug, PartialEq)]
pub struct Word {
    pub rank: usize,
    pub code: u8,
    pub why: String,
}

impl Word {
    /// As the others report it.
    pub fn error(self) -> crate::error::Error {
        crate::error::Error::Rank { message: self.why, help: AGAIN, code: self.code }
    }

    pub fn written(&self) -> String {
        format!("{} {} {}", self.rank, self.code, self.why)
    }

    pub fn read(text: &str) -> Option<Word> {
        let mut parts = text.splitn(3, ' ');
        Some(Word { rank: parts.next()?.parse().ok()?, code: parts.next()?.parse().ok()?, why: parts.next()?.to_owned() })
    }
}

/// What is known of the ranks.
pub struct Watch {
    of: Arc<Of>,
    threads: Vec<JoinHandle<()>>,
}

struct Of {
    store: Store,
    rank: usize,
    world: usize,
    /// Whether rank 0 keeps the store.
    kept: bool,
    patience: Duration,
    /// When the store answered last.
    answered: Mutex<Instant>,
    /// Whether it is over, and who waits for that.
    over: (Mutex<bool>, Condvar),
    /// Whether somebody has begun to end this process.
    ending: AtomicBool,
}

impl Watch {
    /// Watches over its own connection to the store; `tell` is called at most once, when another one's fault ends this process.
    pub fn begin(store: Store, (rank, world): (usize, usize), kept: bool, patience: Duration, tell: fn(&Word)) -> Watch {
        let answered = Mutex::new(Instant::now());
        let over = (Mutex::new(false), Condvar::new());
        let of = Arc::new(Of { store, rank, world, kept, patience, answered, over, ending: AtomicBool::new(false) });
        let start = |work: fn(&Of) -> Option<Word>, asks: bool| {
            let of = of.clone();
            thread::spawn(move || {
                if let Some(word) = work(&of).filter(|_| of.may_end()) {
                    tell(&word);
                    // A store that does not answer is not asked again.
                    if asks {
                        of.leave();
                    }
                    interrupt::exit_now(word.code);
                }
            })
        };
        let threads = vec![start(Of::beat, true), start(Of::judge, false)];
        Watch { of, threads }
    }

    /// Says why all end, unless somebody did before; the word that stays, or none where there is no store any more.
    pub fn end_all(&self, code: u8, why: String) -> Option<Word> {
        self.of.say(&Word { rank: self.of.rank, code, why })
    }

    /// Why a collective failed: what somebody said, or else who has stopped.
    pub fn why(&self, error: Error) -> Word {
        self.of.find(error)
    }

    /// What a signal that ends this process by itself calls before.
    pub fn farewell(&self) -> impl Fn(u8, String) + Send + 'static {
        let of = self.of.clone();
        move |code, why| {
            if of.may_end() {
                let _ = of.say(&Word { rank: of.rank, code, why });
                of.leave();
            }
        }
    }

    /// Ends watching, once all have come to their end or one of them ends all.
    pub fn close(mut self, fault: bool) {
        if !self.of.may_end() {
            // The other thread ends the process.
            loop {
                thread::park();
            }
        }
        *lock(&self.of.over.0) = true;
        self.of.over.1.notify_all();
        self.of.leave();
        // Of a fault, one may wait for a store that does not answer: it ends with the process.
        if !fault {
            self.threads.drain(..).for_each(|thread| drop(thread.join()));
        }
    }
}

impl Of {
    fn pause(&self) -> Duration {
        self.patience / BEATS
    }

    /// Waits for a beat; true if it is over.
    fn rest(&self) -> bool {
        let over = lock(&self.over.0);
        *self.over.1.wait_timeout_while(over, self.pause(), |over| !*over).unwrap_or_else(|broken| broken.into_inner()).0
    }

    /// Whether this is the first that ends the process.
    fn may_end(&self) -> bool {
        !self.ending.swap(true, Ordering::SeqCst)
    }

    /// Tells that this rank reads and says nothing more. Rank 0, with which the store may go, gives the others time to come to the same end.
    fn leave(&self) {
        let left = |more| self.store.add("left", more).map_or(self.world, |left| left as usize);
        let begun = Instant::now();
        let mut gone = left(1);
        while self.rank == 0 && gone < self.world && begun.elapsed() < self.patience / 5 {
            thread::sleep(Duration::from_millis(2));
            gone = left(0);
        }
    }

    /// Counts up, and looks for a word and at the successor, until it is over or there is a reason to end.
    fn beat(&self) -> Option<Word> {
        let next = (self.rank + 1) % self.world;
        let (mut seen, mut since) = (-1, Instant::now());
        loop {
            let look = || -> comm::Result<(i64, Option<Word>)> {
                self.store.add(&beats(self.rank), 1)?;
                Ok((self.store.add(&beats(next), 0)?, Word::read(&self.store.claim("word", "")?)))
            };
            match look() {
                Err(_) if *lock(&self.over.0) => return None,
                Err(_) => return Some(self.without_store()),
                // Who said a word of itself ends by itself.
                Ok((_, Some(word))) if word.rank != self.rank => return Some(word),
                Ok((count, _)) if count != seen => (seen, since) = (count, Instant::now()),
                // One that has left is not hung.
                Ok(_) if since.elapsed() > self.patience && self.store.add("left", 0) == Ok(0) => {
                    return self.say(&self.silent(next));
                }
                Ok(_) => {}
            }
            *lock(&self.answered) = Instant::now();
            if self.rest() {
                return None;
            }
        }
    }

    /// Sees to it that the store answers.
    fn judge(&self) -> Option<Word> {
        loop {
            if self.rest() {
                return None;
            }
            if lock(&self.answered).elapsed() > self.patience {
                return Some(match self.kept {
                    true => self.silent(0),
                    false => self.about(0, format!("the launcher's store has not answered for {} s", self.patience.as_secs())),
                });
            }
        }
    }

    /// What somebody said, or else who has stood still since a collective failed.
    fn find(&self, error: Error) -> Word {
        let all: Vec<usize> = (0..self.world).collect();
        let count = || all.iter().map(|rank| self.store.add(&beats(*rank), 0)).collect::<comm::Result<Vec<i64>>>();
        let Ok(first) = count() else { return self.without_store() };
        let begun = Instant::now();
        loop {
            let (Ok(now), Ok(said)) = (count(), self.store.claim("word", "")) else { return self.without_store() };
            if let Some(word) = Word::read(&said) {
                return word;
            }
            let still: Vec<usize> = all.iter().copied().filter(|&rank| rank != self.rank && now[rank] == first[rank]).collect();
            // Of several that stand still, some may be slow.
            let enough = if still.len() == 1 { 3 * self.pause() } else { self.patience / 2 };
            if begun.elapsed() > enough {
                let word = match still.first() {
                    Some(&gone) => self.about(gone, format!("{} is gone: killed, or its machine is down", self.name(gone))),
                    None => self.about(self.rank, format!("{} can't go on: {error}, although all ranks live", self.name(self.rank))),
                };
                return self.say(&word).unwrap_or(word);
            }
            thread::sleep(self.pause() / 4);
        }
    }

    /// Says it to all, unless somebody said something before; what stays, or none where there is no store to say it in.
    fn say(&self, word: &Word) -> Option<Word> {
        self.store.claim("word", &word.written()).ok().and_then(|kept| Word::read(&kept))
    }

    fn silent(&self, rank: usize) -> Word {
        self.about(rank, format!("{} has not answered for {} s", self.name(rank), self.patience.as_secs()))
    }

    fn without_store(&self) -> Word {
        match self.kept {
            true => self.about(0, format!("{}, which keeps the store, is gone: killed, or its machine is down", self.name(0))),
            false => self.about(0, "the launcher's store is gone".into()),
        }
    }

    fn about(&self, rank: usize, why: String) -> Word {
        Word { rank, code: 1, why }
    }

    fn name(&self, rank: usize) -> String {
        format!("rank {rank} of {}", self.world)
    }
}

fn beats(rank: usize) -> String {
    format!("beats/{rank}")
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|broken| broken.into_inner())
}
