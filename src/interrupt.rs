//! SIGINT, SIGTERM, and SIGUSR1, by which batch systems tell that time is up. While somebody works who must save first, the first signal asks for it and the second ends the process; while what
//! is done is on the disk anyway, the first one ends it, and says how far it came.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use signal_hook::consts::{SIGINT, SIGTERM, SIGUSR1};
use signal_hook::iterator::Signals;

use crate::error::{Error, Result};
use crate::progress::warn;

static STATE: Mutex<State> = Mutex::new(State::Idle);
static ASKED: AtomicBool = AtomicBool::new(false);
static BEFORE_EXIT: Mutex<Option<Farewell>> = Mutex::new(None);

type Farewell = Box<dyn Fn(&Error) + Send>;

enum State {
    Idle,
    Saving,
    /// What is on the disk.
    Saved(String),
}

/// Listens from here on, for the whole process.
pub fn listen() -> Result<()> {
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGUSR1]).map_err(|e| Error::io("listen for signals in", "this process", e))?;
    std::thread::spawn(move || signals.forever().for_each(answer));
    Ok(())
}

fn answer(signal: i32) {
    let again = ASKED.swap(true, Ordering::Relaxed);
    let state = STATE.lock().unwrap_or_else(|broken| broken.into_inner());
    match &*state {
        State::Saving if !again => warn("asked to stop: this step is finished and saved; once more ends at once"),
        State::Saved(at) if !again => {
            let error = Error::Interrupted { at: at.clone() };
            warn(&error.to_string());
            if let Some(before) = &*BEFORE_EXIT.lock().unwrap_or_else(|broken| broken.into_inner()) {
                before(&error);
            }
            exit_now(error.exit_code());
        }
        _ => signal_hook::low_level::exit(128 + signal),
    }
}

/// What is called before a signal ends the process while all is saved.
pub fn before_exit(farewell: impl Fn(&Error) + Send + 'static) {
    *BEFORE_EXIT.lock().unwrap_or_else(|broken| broken.into_inner()) = Some(Box::new(farewell));
}

/// Ends the process at once, whatever its threads do.
pub fn exit_now(code: u8) {
    signal_hook::low_level::exit(code.into());
}

/// The work that begins ends by saving when it is [`asked`] to.
pub fn will_save() {
    set(State::Saving);
}

/// So much is on the disk; whatever is under way is no loss.
pub fn saved(at: String) {
    set(State::Saved(at));
}

/// Whether somebody asked to stop.
pub fn asked() -> bool {
    ASKED.load(Ordering::Relaxed)
}

fn set(state: State) {
    *STATE.lock().unwrap_or_else(|broken| broken.into_inner()) = state;
}
