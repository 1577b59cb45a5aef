use super::*;
use serde_json::json;
use std::fs;

const NAME: &str = "deep/squares.journal";

/// The records of a journal of five squares, and how many were made now.
fn squares(folder: &Folder) -> (Vec<f64>, usize) {
    let mut journal = Journal::open(folder, NAME, &json!({ "power": 2 })).unwrap();
    let mut made = 0;
    let mut next = |i: usize| {
        journal.next(|| {
            made += 1;
            Ok((i as f64).powi(2) + f64::EPSILON)
        })
    };
    let records = (0..5).map(|i| next(i).unwrap()).collect();
    (records, made)
}

#[test]
fn a_journal_cut_anywhere_goes_on_and_ends_with_the_same_records() {
    let home = tempfile::tempdir().unwrap();
    let folder = Folder::create(home.path()).unwrap();
    let path = folder.at(NAME);
    let (whole, made) = squares(&folder);
    assert_eq!(made, 5);
    assert_eq!(squares(&folder), (whole.clone(), 0));
    let bytes = fs::read(&path).unwrap();
    let mut before = 5;
    for cut in 0..bytes.len() {
        fs::write(&path, &bytes[..cut]).unwrap();
        let (records, made) = squares(&folder);
        assert_eq!(records, whole, "cut at {cut}");
        assert!(made <= before && (made == 5) == (cut < bytes.len() - 4 * 32), "{made} made after a cut at {cut}");
        before = made;
    }
    assert_eq!(before, 1);
}

#[test]
fn a_flipped_bit_is_made_again_with_all_that_follows() {
    let home = tempfile::tempdir().unwrap();
    let folder = Folder::create(home.path()).unwrap();
    let path = folder.at(NAME);
    let (whole, _) = squares(&folder);
    let bytes = fs::read(&path).unwrap();
    for at in MAGIC.len()..bytes.len() {
        let mut flipped = bytes.clone();
        flipped[at] ^= 1;
        fs::write(&path, &flipped).unwrap();
        let (records, made) = squares(&folder);
        assert_eq!(records, whole, "bit at {at}");
        assert!(made > 0, "bit at {at}");
    }
}

#[test]
fn what_is_of_something_else_is_refused_by_its_key() {
    let home = tempfile::tempdir().unwrap();
    let folder = Folder::create(home.path()).unwrap();
    let path = folder.at(NAME);
    squares(&folder);
    let refusal = |of: &Value| Journal::<f64>::open(&folder, NAME, of).err().unwrap().to_string();
    assert!(refusal(&json!({ "power": 3 })).contains("power is 2 there, 3 now"));
    assert!(refusal(&json!({ "power": 2, "of": { "what": 1 } })).contains("of is nothing there"));
    fs::write(&path, "{\"power\":2}\n").unwrap();
    assert!(refusal(&json!({ "power": 2 })).contains("is no journal"));
    assert_eq!(fs::read(&path).unwrap(), b"{\"power\":2}\n", "and left alone");

    let other = folder.at("other.journal");
    let mut held = Journal::<f64>::open(&folder, "other.journal", &json!(1)).unwrap();
    assert!(Journal::<f64>::open(&folder, "other.journal", &json!(1)).err().unwrap().to_string().contains("another process"));
    let failed = held.next(|| Err(Error::Usage { message: "no number".into(), help: String::new() }));
    assert!(failed.is_err() && other.exists());
    drop(held);
    assert!(!other.exists(), "no record was made");
    let mut held = Journal::open(&folder, "other.journal", &json!(1)).unwrap();
    held.next(|| Ok(1.0)).unwrap();
    held.remove().unwrap();
    assert!(!other.exists());
}
