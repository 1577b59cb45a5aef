//! What made the files of a run: program, libraries, machine, and the time that they took.

use std::time::Instant;

use rustix::time::{ClockId, clock_gettime};
use serde::Serialize;
use serde_json::{Value, json};

/// Of this process.
#[derive(Clone, Debug, Serialize)]
pub struct Provenance {
    pub version: &'static str,
    /// The commit that a release was built of, with `+` where files differed from it; none where it is not known.
    pub commit: Option<&'static str>,
    /// LibTorch's version.
    pub libtorch: Option<&'static str>,
    pub host: String,
    /// The command line.
    pub arguments: Vec<String>,
    pub process: u32,
    /// Of LibTorch.
    pub threads: i32,
}

impl Provenance {
    pub fn of_this_process() -> Provenance {
        Provenance {
            version: env!("CARGO_PKG_VERSION"),
            commit: option_env!("SCORE_SDE_COMMIT"),
            libtorch: option_env!("SCORE_SDE_LIBTORCH"),
            host: rustix::system::uname().nodename().to_string_lossy().into_owned(),
            arguments: std::env::args_os().map(|word| word.to_string_lossy().into_owned()).collect(),
            process: std::process::id(),
            threads: tch::get_num_threads(),
        }
    }
}

/// A clock on the wall, and one of the processor.
pub struct Clock {
    begun: Instant,
    processor: f64,
}

impl Clock {
    pub fn start() -> Clock {
        Clock { begun: Instant::now(), processor: processor() }
    }

    /// Seconds since the start: `seconds`, and `cpu_seconds` of all threads.
    pub fn read(&self) -> Value {
        let rounded = |seconds: f64| (seconds * 1e3).round() / 1e3;
        json!({ "seconds": rounded(self.begun.elapsed().as_secs_f64()), "cpu_seconds": rounded(processor() - self.processor) })
    }
}

/// Seconds of all processors that this process has used.
fn processor() -> f64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 * 1e-9
}
