use std::fs;
use std::path::{Path, PathBuf};

use tensorboard_proto::event::SessionLog_SessionStatus;

use super::*;

/// CRC-32C, bit by bit, masked as in TFRecord files.
fn masked_crc32c(bytes: &[u8]) -> u32 {
    let crc = !bytes
        .iter()
        .fold(!0u32, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), |crc, _| (crc >> 1) ^ (0x82f6_3b78 & 0u32.wrapping_sub(crc & 1))));
    crc.rotate_right(15).wrapping_add(0xa282_ead8)
}

/// The records of an event file, whose checksums fit.
fn records(bytes: &[u8]) -> Vec<Event> {
    let word = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
    let events = events::records(bytes);
    let mut at = 0;
    for _ in &events {
        let n = u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap()) as usize;
        assert_eq!(word(at + 8), masked_crc32c(&bytes[at..at + 8]));
        assert_eq!(word(at + 12 + n), masked_crc32c(&bytes[at + 12..at + 12 + n]));
        at += 16 + n;
    }
    events
}

/// A session whose phase `group` begins at a step.
fn begun<'a>(run: &'a Run, group: &str, first: u64) -> Log<'a> {
    let mut log = Log::open(run, "# seed".into()).unwrap();
    log.begin(group, first).unwrap();
    log
}

fn event_files(run: &Run) -> Vec<PathBuf> {
    let mut paths: Vec<_> = fs::read_dir(run.path()).unwrap().map(|e| e.unwrap().path()).collect();
    paths.retain(|path| path.file_name().unwrap().to_str().unwrap().starts_with(EVENTS));
    paths.sort();
    paths
}

/// The (step, value) of `tag` that a reader shows: files in order of their names, START purges from its step on.
fn curve(run: &Run, tag: &str) -> Vec<(i64, f32)> {
    let mut points = Vec::new();
    for event in event_files(run).iter().flat_map(|path| records(&fs::read(path).unwrap())) {
        if event.get_session_log().get_status() == SessionLog_SessionStatus::START {
            points.retain(|(step, _)| *step < event.get_step());
        }
        let values = event.get_summary().get_value().iter().filter(|value| value.get_tag() == tag);
        points.extend(values.map(|value| (event.get_step(), value.get_simple_value())));
    }
    points
}

fn metrics(run: &Run) -> String {
    String::from_utf8(run.read(METRICS).unwrap().unwrap()).unwrap()
}

fn metric_steps(run: &Run) -> Vec<u64> {
    metrics(run).lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["step"].as_u64().unwrap()).collect()
}

#[test]
fn an_event_file_begins_with_its_version_and_the_experiment_and_holds_what_was_logged() {
    assert_eq!(masked_crc32c(b"123456789"), 0xe306_9283u32.rotate_right(15).wrapping_add(0xa282_ead8), "the standard's check value");
    let home = tempfile::tempdir().unwrap();
    let run = Run::open(home.path()).unwrap();
    let mut log = begun(&run, "train", 7);
    log.scalars(7, &[("train/loss", 0.5), ("train/lr", f64::NAN)]);
    let picture = image::RgbImage::from_fn(6, 2, |x, y| image::Rgb([x as u8, y as u8, 9]));
    log.show(&Points { group: "samples", step: 8, pictures: vec![("samples".into(), picture.clone())], ..Points::default() }).unwrap();

    let events = records(&fs::read(&event_files(&run)[0]).unwrap());
    assert_eq!(events[0].get_file_version(), "brain.Event:2");
    let value = |event: &Event, i: usize| event.get_summary().get_value()[i].clone();
    assert_eq!((value(&events[2], 0).get_tag(), value(&events[2], 0).get_simple_value()), ("train/loss", 0.5));
    assert!(value(&events[2], 1).get_simple_value().is_nan());
    let text = value(&events[1], 0);
    assert_eq!(text.get_metadata().get_plugin_data().get_plugin_name(), "text");
    assert_eq!(text.get_tensor().get_string_val(), [b"```toml\n# seed```".to_vec()]);
    let image = value(&events[3], 0).take_image();
    assert_eq!((image.get_width(), image.get_height(), events[3].get_step()), (6, 2, 8));
    assert_eq!(image::load_from_memory(image.get_encoded_image_string()).unwrap().to_rgb8(), picture);
    assert_eq!(events.len(), 4);
    assert!(events.iter().all(|event| event.get_wall_time() > 1.7e9));
}

#[test]
fn a_line_of_metrics_is_json_whatever_the_numbers() {
    let values = [("a", 0.1), ("b\"", f64::NAN), ("c", f64::INFINITY), ("d", f64::NEG_INFINITY), ("e", 1e-300)];
    let line = json_line(3, 1.5, &values);
    assert_eq!(line, "{\"step\":3,\"wall_time\":1.500,\"a\":0.1,\"b\\\"\":\"nan\",\"c\":\"inf\",\"d\":\"-inf\",\"e\":1e-300}\n");
    assert_eq!(serde_json::from_str::<Value>(&line).unwrap()["b\""], "nan");
}

#[test]
fn a_resumed_run_has_one_curve() {
    let home = tempfile::tempdir().unwrap();
    let run = Run::open(home.path()).unwrap();
    let session = |first: u64, last: u64, value: f64| {
        let mut log = begun(&run, "train", first);
        (first..=last).for_each(|step| log.scalars(step, &[("train/loss", value)]));
    };
    session(1, 13, 1.0);
    // Killed in the middle of a record, in both files.
    let torn = |path: &Path| fs::write(path, &fs::read(path).unwrap()[..fs::metadata(path).unwrap().len() as usize - 5]).unwrap();
    torn(&event_files(&run)[0]);
    torn(&home.path().join(METRICS));
    session(13, 14, 2.0);
    session(11, 20, 3.0);

    let expected = |step: u64| if step <= 10 { 1.0 } else { 3.0 };
    assert_eq!(curve(&run, "train/loss"), (1..=20).map(|step| (step as i64, expected(step))).collect::<Vec<_>>());
    assert_eq!(metric_steps(&run), (1..=20).collect::<Vec<_>>());
    assert_eq!(metrics(&run).matches("\"train/loss\":3.0").count(), 10);
}

#[test]
fn a_torn_line_of_metrics_is_dropped() {
    let home = tempfile::tempdir().unwrap();
    let run = Run::open(home.path()).unwrap();
    run.write(METRICS, b"{\"step\":1}\n{\"step\":2}\n{\"step\":3").unwrap();
    begun(&run, "train", 100).scalars(100, &[]);
    assert_eq!(metric_steps(&run), [1, 2, 100]);
    // A line that lost nothing but its end of line would merge with the next.
    run.write(METRICS, b"{\"step\":1}\n{\"step\":2}").unwrap();
    begun(&run, "train", 100).scalars(100, &[]);
    assert_eq!(metric_steps(&run), [1, 100]);
}

#[test]
fn sessions_within_one_second_have_files_of_their_own_in_order() {
    let home = tempfile::tempdir().unwrap();
    let run = Run::open(home.path()).unwrap();
    (0..5).for_each(|step| begun(&run, "x", step).scalars(step, &[("x/y", step as f64)]));
    assert_eq!(event_files(&run).len(), 5);
    assert_eq!(curve(&run, "x/y"), [(0, 0.0), (1, 1.0), (2, 2.0), (3, 3.0), (4, 4.0)]);
}

#[test]
fn a_record_that_can_t_be_written_waits_and_nothing_is_saved_before_it() {
    let home = tempfile::tempdir().unwrap();
    let run = Run::open(home.path()).unwrap();
    let mut log = begun(&run, "train", 1);
    log.scalars(1, &[("train/loss", 1.0)]);
    let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let metrics = std::mem::replace(&mut log.metrics.as_mut().unwrap().file, full);
    log.scalars(2, &[("train/loss", 2.0)]);
    log.scalars(3, &[("train/loss", 3.0)]);
    assert_eq!(metric_steps(&run), [1]);
    assert!(log.sync().unwrap_err().to_string().contains("metrics.jsonl"), "what comes after it must not be saved");
    log.metrics.as_mut().unwrap().file = metrics;
    log.scalars(4, &[("train/loss", 4.0)]);
    assert_eq!(metric_steps(&run), [1, 2, 3, 4], "there was room again");
    log.sync().unwrap();
}

#[test]
fn a_curve_that_was_damaged_since_it_was_synced_is_refused_by_name() {
    let home = tempfile::tempdir().unwrap();
    let run = Run::open(home.path()).unwrap();
    let mut log = begun(&run, "train", 1);
    log.scalars(1, &[("train/loss", 1.0)]);
    log.sync().unwrap();
    log.scalars(2, &[("train/loss", 2.0)]);
    drop(log);
    let lost = home.path().join("events.out.tfevents.9999999999.1");
    fs::write(&lost, b"of a session that never synced").unwrap();
    drop(Log::open(&run, String::new()).unwrap());
    assert!(metric_steps(&run) == [1] && !lost.exists(), "what came later is logged again");
    assert_eq!(curve(&run, "train/loss"), [(1, 1.0)]);

    for path in [home.path().join(METRICS), event_files(&run)[0].clone()] {
        let bytes = fs::read(&path).unwrap();
        let refused = || {
            let error = Log::open(&run, String::new()).err().expect("damage").to_string();
            assert!(error.contains(path.file_name().unwrap().to_str().unwrap()), "{error}");
        };
        for at in 0..bytes.len() {
            let mut flipped = bytes.clone();
            flipped[at] ^= 4;
            fs::write(&path, flipped).unwrap();
            refused();
            fs::write(&path, &bytes[..at]).unwrap();
            refused();
        }
        fs::remove_file(&path).unwrap();
        refused();
        fs::write(&path, bytes).unwrap();
    }
    drop(Log::open(&run, String::new()).unwrap());
}

#[test]
fn who_lost_the_lock_logs_no_more() {
    let home = tempfile::tempdir().unwrap();
    let run = Run::open(home.path()).unwrap();
    let mut log = begun(&run, "train", 1);
    log.scalars(1, &[("train/loss", 1.0)]);
    fs::remove_file(home.path().join(".lock")).unwrap();
    let other = Run::open(home.path()).unwrap();
    log.scalars(2, &[("train/loss", 2.0)]);
    assert!(log.sync().is_err());
    assert_eq!((metric_steps(&other), curve(&other, "train/loss")), (vec![1], vec![(1, 1.0)]));
}

#[test]
fn a_phase_that_is_done_again_replaces_its_own_curves_and_no_others() {
    let home = tempfile::tempdir().unwrap();
    let run = Run::open(home.path()).unwrap();
    let train = |first: u64, value: f64| {
        let mut log = begun(&run, "train", first);
        (first..=20).for_each(|step| log.scalars(step, &[("train/loss", value)]));
    };
    let likelihood = |value: f64| begun_and_logged(&run, "likelihood", 20, &[("likelihood/nats", value)]);
    train(1, 1.0);
    begun_and_logged(&run, "samples", 20, &[("samples", 5.0)]);
    likelihood(2.0);
    // The newest checkpoint was lost, and with it nothing of the later phases.
    train(11, 3.0);
    assert_eq!(curve(&run, "likelihood/nats"), [(20, 2.0)]);
    assert_eq!(curve(&run, "samples"), [(20, 5.0)]);
    // A product was lost.
    likelihood(4.0);
    likelihood(4.0);
    assert_eq!(curve(&run, "likelihood/nats"), [(20, 4.0)]);
    assert_eq!(curve(&run, "samples"), [(20, 5.0)]);
    let loss = |step: u64| if step <= 10 { 1.0 } else { 3.0 };
    assert_eq!(curve(&run, "train/loss"), (1..=20).map(|step| (step as i64, loss(step))).collect::<Vec<_>>());
    let lines = metrics(&run);
    assert_eq!((lines.matches("likelihood/nats").count(), lines.matches("train/loss").count()), (1, 20), "{lines}");
}

fn begun_and_logged(run: &Run, group: &str, step: u64, scalars: &[(&str, f64)]) {
    begun(run, group, step).scalars(step, scalars);
}
