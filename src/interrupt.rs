//! SIGINT and SIGTERM. While somebody works who must save first, the first signal asks for it and the second ends the process; while what
//! is done is on the disk anyway, the first one ends it, and says how far it came.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::error::{Error, Result};
use crate::progress::warn;

static STATE: Mutex<State> = Mutex::new(State::Idle);
static ASKED: AtomicBool = AtomicBool::new(false);

enum State {
    Idle,
    Saving,
    /// What is on the disk.
    Saved(String),
}

/// Listens from here on, for the whole process.
pub fn listen() -> Result<()> {
    let mut signals = Signals::new([SIGINT, SIGTERM]).map_err(|e| Error::io("listen for signals in", "this process", e))?;
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
            signal_hook::low_level::exit(error.exit_code().into());
        }
        _ => signal_hook::low_level::exit(128 + signal),
    }
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
