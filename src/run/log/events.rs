//! Event files as TensorBoard reads them.

use protobuf::{Message, RepeatedField};
use tensorboard_proto::event::{Event, SessionLog, SessionLog_SessionStatus};
use tensorboard_proto::summary::{Summary, Summary_Value};
use tensorboard_rs::record_writer::RecordWriter;

use super::{EVENTS, wall_time};
use crate::error::Result;
use crate::run::Run;

/// The event that a file begins with.
pub fn version() -> Event {
    let mut event = Event::new();
    event.set_file_version("brain.Event:2".to_owned());
    event.set_wall_time(wall_time());
    event
}

/// What is known of a step.
pub fn summary(step: u64, values: Vec<Summary_Value>) -> Event {
    let mut summary = Summary::new();
    summary.set_value(RepeatedField::from_vec(values));
    let mut event = Event::new();
    event.set_summary(summary);
    event.set_step(step as i64);
    event.set_wall_time(wall_time());
    event
}

/// An event as a file has it.
pub fn record(event: &Event) -> Vec<u8> {
    framed(&event.write_to_bytes().expect("a message without required fields"))
}

fn framed(message: &[u8]) -> Vec<u8> {
    let mut record = Vec::with_capacity(message.len() + 16);
    RecordWriter::new(&mut record).write(message).expect("memory takes everything");
    record
}

/// Readers drop all that they know from `step` on.
pub fn start(step: u64) -> Event {
    let mut session = SessionLog::new();
    session.set_status(SessionLog_SessionStatus::START);
    let mut event = Event::new();
    event.set_session_log(session);
    event.set_step(step as i64);
    event.set_wall_time(wall_time());
    event
}

/// Whether a tag is `group` or `group/…`.
pub fn is_in(tag: &str, group: &str) -> bool {
    tag.strip_prefix(group).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Whether an event logs a tag of a group.
pub fn is_of(event: &Event, group: &str) -> bool {
    event.get_summary().get_value().iter().any(|value| is_in(value.get_tag(), group))
}

/// The event files of a run in the order in which readers take them.
pub fn files(run: &Run) -> Result<Vec<String>> {
    let mut names = run.folder().names("")?;
    names.retain(|name| name.starts_with(EVENTS));
    Ok(names)
}

/// What a reader knows of a run from a step on.
pub fn from_step(run: &Run, step: u64) -> Result<Vec<Event>> {
    let mut known: Vec<Event> = Vec::new();
    for name in files(run)? {
        for event in records(&run.read(&name)?.unwrap_or_default()) {
            if event.get_session_log().get_status() == SessionLog_SessionStatus::START {
                known.retain(|earlier| earlier.get_step() < event.get_step());
            } else if event.has_summary() && event.get_step() >= step as i64 {
                known.push(event);
            }
        }
    }
    Ok(known)
}

/// What is wrong with an event file.
pub fn judge(bytes: &[u8]) -> Result<(), String> {
    match split(bytes).1.len() {
        0 => Ok(()),
        n => Err(format!("its last {n} bytes are no whole records")),
    }
}

/// The whole records of a file, up to the first that is torn.
pub fn records(bytes: &[u8]) -> Vec<Event> {
    split(bytes).0
}

/// The whole records, and what follows them. A record is its length, the length's checksum, the message and its checksum.
fn split(mut bytes: &[u8]) -> (Vec<Event>, &[u8]) {
    let mut events = Vec::new();
    while let Some((length, rest)) = bytes.split_first_chunk() {
        let length = u64::from_le_bytes(*length) as usize;
        let message = rest.get(4..).and_then(|rest| rest.get(..length));
        let (Some(message), Some(next)) = (message, rest.get(length.saturating_add(8)..)) else { break };
        let (true, Ok(event)) = (bytes.starts_with(&framed(message)), Event::parse_from_bytes(message)) else { break };
        events.push(event);
        bytes = next;
    }
    (events, bytes)
}
