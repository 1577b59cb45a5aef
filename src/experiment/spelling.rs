//! How keys are spelt, today and in older files, and what the parser says of those that are not.

use std::borrow::Cow;

use toml::de::DeTable;

use super::words;

/// What the parser says of the word at a path, and the cure.
pub(super) fn in_words(error: &toml::de::Error, path: &[String]) -> (String, Option<String>) {
    let message = plainly(error.message().trim());
    let table = path.split_last().map_or(String::new(), |(_, table)| table.join("."));
    let quoted: Vec<&str> = message.split('`').skip(1).step_by(2).collect();
    let help = if message.contains("unknown field") || message.contains("unknown variant") {
        quoted.split_first().and_then(|(wrong, choices)| words::cure(wrong, &table, choices, message.contains("unknown field")))
    } else if message.contains("exactly one choice, but has more") {
        Some("keep one of them".into())
    } else if message.contains("exactly one choice, but has none") || message.contains("keys of its own") {
        Some("give one; the files in experiments/ show the choices".into())
    } else if message.contains("missing field") {
        Some("every number that changes a result is given in the file; the files in experiments/ show all keys".into())
    } else {
        None
    };
    (message, help)
}

/// Choices that older files write in snake_case; for the parser they are aliases.
const OLDER: [&str; 5] = ["two_moons", "swiss_roll", "gaussian_mixture", "npy_vectors", "npy_images"];

/// A key as this table spells it: in today's way or, if that is what is there, in the older one.
pub(super) fn as_written<'a>(table: &DeTable, key: &'a str) -> Cow<'a, str> {
    let older = key.replace('-', "_");
    let other = if older == key { key.replace('_', "-") } else { older.clone() };
    let only_the_other = OLDER.contains(&older.as_str()) && !table.contains_key(key) && table.contains_key(&*other);
    if only_the_other { other.into() } else { key.into() }
}

/// A message of the parser in a user's words, which offers no older spelling.
fn plainly(message: &str) -> String {
    let without = |message: String, older: &str| message.replace(&format!(", `{older}`"), "").replace(&format!(" or `{older}`"), "");
    let message = OLDER.into_iter().fold(message.to_owned(), without);
    let words = [
        ("wanted exactly 1 element, more than 1 element", "this table takes exactly one choice, but has more"),
        ("wanted exactly 1 element, found 0 elements", "this table takes exactly one choice, but has none"),
        ("invalid type: unit variant, expected struct variant", "this choice is a table with keys of its own"),
        ("expected u64", "expected a whole number of at least 0"),
        ("expected usize", "expected a whole number of at least 0"),
        ("expected f64", "expected a number"),
        ("expected a boolean", "expected true or false"),
    ];
    let ending = words.iter().find_map(|(rust, plain)| Some(format!("{}{plain}", message.strip_suffix(rust)?)));
    ending.unwrap_or(message)
}
