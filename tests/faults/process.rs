//! Processes of the real binary: how they end, and what they must never do.

use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use crate::home::Home;
use crate::tally::{Step, Verdict};

/// After which a process hangs.
const PATIENCE: Duration = Duration::from_secs(60);

pub struct Ended {
    pub code: Option<i32>,
    pub signal: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Ended {
    pub fn said(&self) -> String {
        format!("exit code {:?}, signal {:?}\n{}{}", self.code, self.signal, self.stdout, self.stderr)
    }
}

pub fn kill(child: &Child, signal: &str) {
    let _ = Command::new("kill").args([signal, &child.id().to_string()]).output();
}

/// Runs a command to its end.
pub fn run(home: &Home, arguments: &[&str]) -> Step<Ended> {
    wait(home.start(arguments), home)
}

/// Waits for the end of a process that nobody killed.
pub fn wait(child: Child, home: &Home) -> Step<Ended> {
    let ended = end(child)?;
    match ended.code {
        Some(0) => named_files_exist(&ended, home)?,
        Some(1 | 2) if !ended.stderr.contains("help:") => return Err(Verdict::Panic(format!("no cure: {}", ended.said()))),
        Some(1 | 2) => {}
        _ => return Err(Verdict::Panic(ended.said())),
    }
    Ok(ended)
}

/// Waits for the end of a process that may have been sent a signal.
pub fn end(mut child: Child) -> Step<Ended> {
    let begun = Instant::now();
    while child.try_wait().unwrap().is_none() {
        if begun.elapsed() > PATIENCE {
            child.kill().unwrap();
            let output = child.wait_with_output().unwrap();
            return Err(Verdict::Hang(String::from_utf8_lossy(&output.stderr).into_owned()));
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    let output = child.wait_with_output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (code, signal) = (output.status.code(), output.status.signal());
    let ended = Ended { code, signal, stdout: text(&output.stdout), stderr: text(&output.stderr) };
    let words = ["panicked", "backtrace", "terminate called"];
    match words.iter().any(|word| ended.stderr.contains(word)) || matches!(signal, Some(4 | 6 | 7 | 8 | 11)) {
        true => Err(Verdict::Panic(ended.said())),
        false => Ok(ended),
    }
}

/// What a command says it made is there.
fn named_files_exist(ended: &Ended, home: &Home) -> Step {
    let lines = ended.stdout.lines().chain(ended.stderr.lines());
    let named = lines.map(|line| line.split_once(": ").map_or(line, |(_, name)| name)).filter(|name| {
        let name = Path::new(name);
        !name.to_string_lossy().contains(' ')
            && name.extension().is_some_and(|kind| ["png", "json", "npz", "csv"].iter().any(|k| kind == *k))
    });
    for name in named {
        if !home.path(name).is_file() {
            return Err(Verdict::Different(format!("{name} is named, but it does not exist: {}", ended.said())));
        }
    }
    Ok(())
}
