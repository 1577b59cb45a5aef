//! What a person sees while a phase works: a bar when stderr is a terminal, a plain line now and then when it is a file or a pipe.

use std::io::{self, IsTerminal, Write};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use textwrap::{Options, WordSeparator, WordSplitter};

/// How often a bar is redrawn, and how often a plain line is written.
const FRAME: Duration = Duration::from_millis(100);
const LINE: Duration = Duration::from_secs(10);

/// Whether another process speaks for this one.
static HUSHED: AtomicBool = AtomicBool::new(false);

/// From here on another process speaks for this one: it says and warns of nothing.
pub fn hush() {
    HUSHED.store(true, Ordering::Relaxed);
}

/// The phase that was begun last in this process.
static BEGUN: Mutex<Option<&str>> = Mutex::new(None);

/// The phase that was begun last in this process, if any was.
pub fn begun() -> Option<&'static str> {
    *BEGUN.lock().unwrap_or_else(|broken| broken.into_inner())
}

/// Where progress goes; made once.
pub struct Terminal {
    output: Output,
}

#[derive(Clone)]
enum Output {
    Quiet,
    Lines,
    Bars(MultiProgress),
}

impl Terminal {
    /// `quiet` silences everything but errors.
    pub fn new(quiet: bool) -> Terminal {
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        let quiet = quiet || HUSHED.load(Ordering::Relaxed);
        let output = match (quiet, io::stderr().is_terminal() && !dumb) {
            (true, _) => Output::Quiet,
            (false, false) => Output::Lines,
            (false, true) => Output::Bars(MultiProgress::new()),
        };
        Terminal { output }
    }

    /// One line on stderr, above a bar if there is one.
    pub fn say(&self, line: &str) {
        say(&self.output, line);
    }

    /// Begins a phase of `total` units (`"steps"`, `"images"`), of which `start` were done by an earlier process: they count as
    /// position, not as speed.
    pub fn phase(&self, name: &'static str, unit: &'static str, total: u64, start: u64) -> Phase {
        *BEGUN.lock().unwrap_or_else(|broken| broken.into_inner()) = Some(name);
        let bar = match &self.output {
            Output::Bars(bars) => {
                let style = ProgressStyle::with_template("{prefix} {bar:8} {pos}/{len}  {wide_msg}").expect("a valid template");
                let bar = ProgressBar::new(total).with_style(style).with_prefix(name).with_position(start);
                let bar = bars.add(bar);
                bar.tick();
                Some(bar)
            }
            _ => None,
        };
        let now = Instant::now();
        Phase { output: self.output.clone(), bar, name, unit, total, start, position: start, begun: now, earlier: 0.0, shown: None }
    }
}

/// A warning on stderr, on a line of its own even while a bar is drawn; not silenced by `--quiet`.
pub fn warn(message: &str) {
    if HUSHED.load(Ordering::Relaxed) {
        return;
    }
    let clear = if io::stderr().is_terminal() { "\r\x1b[2K" } else { "" };
    let _ = writeln!(io::stderr(), "{clear}warning: {message}");
}

/// Writes a line to stderr; that nobody reads it any more is no reason to stop.
fn say(output: &Output, line: &str) {
    let write = || {
        let _ = writeln!(io::stderr(), "{line}");
    };
    match output {
        Output::Quiet => {}
        Output::Lines => write(),
        Output::Bars(bars) => bars.suspend(write),
    }
}

/// A phase under way. Dropped without `finish`, its bar vanishes.
pub struct Phase {
    output: Output,
    bar: Option<ProgressBar>,
    name: &'static str,
    unit: &'static str,
    total: u64,
    start: u64,
    position: u64,
    begun: Instant,
    /// Seconds of earlier processes.
    earlier: f64,
    shown: Option<Instant>,
}

impl Phase {
    /// `position` units are done, those of earlier processes included; `note` is a word on how it goes (`loss 0.513`). Cheap enough for
    /// every step.
    pub fn set(&mut self, position: u64, note: &str) {
        self.position = position;
        let pause = if self.bar.is_some() { FRAME } else { LINE };
        if matches!(self.output, Output::Quiet) || self.shown.is_some_and(|shown| shown.elapsed() < pause) {
            return;
        }
        self.shown = Some(Instant::now());
        let rest = join(&[&self.rate(), &self.remaining(), note]);
        match &self.bar {
            Some(bar) => {
                bar.set_position(position);
                bar.set_message(rest);
            }
            None => say(&self.output, &format!("{} {position}/{}  {rest}", self.name, self.total)),
        }
    }

    /// Earlier processes worked so many seconds for what is done.
    pub fn earlier(&mut self, seconds: f64) {
        self.earlier = seconds;
    }

    fn seconds(&self) -> f64 {
        self.begun.elapsed().as_secs_f64() + self.earlier
    }

    /// The phase is over: one line says how far it came, how fast, and `note`.
    pub fn finish(self, note: &str) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
        let time = format!("in {}", clock(self.seconds()));
        let rest = join(&[&self.rate(), &time, note]);
        say(&self.output, &format!("{} {}/{}  {rest}", self.name, self.position, self.total));
    }

    /// Units per second; nothing before the first unit is done.
    fn speed(&self) -> Option<f64> {
        let (done, seconds) = (self.position.saturating_sub(self.start), self.seconds());
        (done > 0 && seconds > 0.0).then(|| done as f64 / seconds)
    }

    fn rate(&self) -> String {
        self.speed().map_or(String::new(), |speed| format!("{} {}/s", three_digits(speed), self.unit))
    }

    fn remaining(&self) -> String {
        let left = self.total.saturating_sub(self.position) as f64;
        self.speed().map_or(String::new(), |speed| format!("{} left", clock(left / speed)))
    }
}

/// The parts that are not empty, two spaces between.
fn join(parts: &[&str]) -> String {
    parts.iter().filter(|part| !part.is_empty()).copied().collect::<Vec<_>>().join("  ")
}

/// A positive number with three significant digits: 1234, 12.3, 0.0123.
fn three_digits(x: f64) -> String {
    let decimals = (2.0 - x.log10().floor()).clamp(0.0, 6.0) as usize;
    format!("{x:.decimals$}")
}

/// Seconds as m:ss, h:mm:ss or days.
fn clock(seconds: f64) -> String {
    let s = seconds.round() as u64;
    match (s / 3600, s / 60 % 60, s % 60) {
        (0, minutes, seconds) => format!("{minutes}:{seconds:02}"),
        (hours, minutes, seconds) if hours < 48 => format!("{hours}:{minutes:02}:{seconds:02}"),
        (hours, _, _) => format!("{:.1} days", hours as f64 / 24.0),
    }
}

/// About three digits.
pub fn short(x: f64) -> String {
    match x.abs() {
        0.0 => "0".into(),
        size if !(1e-3..1e5).contains(&size) => format!("{x:.2e}"),
        size => {
            let decimals = (2 - size.log10().floor() as i32).clamp(0, 5) as usize;
            let text = format!("{x:.decimals$}");
            if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
        }
    }
}

/// Three digits, rounded up.
pub fn short_up(x: f64) -> String {
    let unit = 10f64.powf(x.log10().floor() - 2.0);
    short(if unit > 0.0 && unit.is_finite() { (x / unit - 1e-9).ceil() * unit } else { x })
}

/// Rows with their columns one below the other.
pub fn columns<R: AsRef<[String]>>(rows: &[R]) -> String {
    let cells = || rows.iter().map(AsRef::as_ref);
    let width = |column: usize| cells().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..cells().next().map_or(0, <[String]>::len)).map(width).collect();
    let line = |row: &[String]| {
        let line: String = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}  ")).collect();
        format!("{}\n", line.trim_end())
    };
    cells().map(line).collect()
}

/// A text in lines of 80 letters that end between words, the first after `first`, the others after `rest`: a name that is broken can't be copied.
pub fn wrapped(text: &str, first: &str, rest: &str) -> String {
    let options = Options::new(80).word_splitter(WordSplitter::NoHyphenation).word_separator(WordSeparator::AsciiSpace);
    textwrap::fill(text, options.initial_indent(first).subsequent_indent(rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn phase(total: u64, start: u64, seconds_ago: u64) -> Phase {
        let mut phase = Terminal { output: Output::Quiet }.phase("train", "steps", total, start);
        phase.begun = Instant::now() - Duration::from_secs(seconds_ago);
        phase
    }

    #[test]
    fn steps_of_an_earlier_process_are_no_speed() {
        let mut resumed = phase(2000, 1000, 10);
        resumed.set(1101, "");
        assert!((resumed.speed().unwrap() - 10.1).abs() < 0.01, "{:?}", resumed.speed());
        assert_eq!(resumed.rate(), "10.1 steps/s");
        assert_eq!(resumed.remaining(), "1:29 left");
    }

    #[test]
    fn a_phase_without_a_step_has_no_rate() {
        let fresh = phase(2000, 1000, 10);
        assert_eq!((fresh.rate(), fresh.remaining()), (String::new(), String::new()));
        fresh.finish("");
        let mut empty = phase(0, 0, 0);
        empty.set(0, "");
        empty.finish("");
    }

    #[test]
    fn numbers_are_short() {
        let rates = [12345.6, 123.45, 12.34, 1.234, 0.1234, 0.01234];
        assert_eq!(rates.map(three_digits), ["12346", "123", "12.3", "1.23", "0.123", "0.0123"]);
        assert_eq!([0.4, 59.6, 3599.0, 3725.0, 86400.0 * 3.5].map(clock), ["0:00", "1:00", "59:59", "1:02:05", "3.5 days"]);
    }
}
