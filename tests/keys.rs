//! `docs/keys.md` is made of the doc comments of the structs that parse an experiment, and every key has one.

mod common;

use std::collections::VecDeque;

use common::schema::Schema;
use serde_json::Value;

const PAGE: &str = "docs/keys.md";
const HEAD: &str = "# Keys of an experiment\n\n\
    Every table and key that an experiment file can have, from the doc comments of the structs that parse it. A key is required unless it\n\
    says otherwise; *operational* keys change no result. `SCORE_SDE_WRITE=1 cargo test --test keys` writes this page anew.\n";

/// A section of the page: a type, by the name of its heading.
struct Section {
    title: String,
    name: String,
    /// Where the type is used.
    places: Vec<String>,
}

/// A key's own words, or else those of its type.
fn words_of(schema: &Schema, value: &Value) -> Option<String> {
    let own = value["description"].as_str().map(str::to_owned);
    own.or_else(|| schema.0[&schema.reference(value)?]["description"].as_str().map(str::to_owned))
}

/// All types with where they are used, in the order in which a reader meets them.
fn sections(schema: &Schema) -> Vec<Section> {
    let mut sections: Vec<Section> = Vec::new();
    let mut open = VecDeque::from([("Experiment".to_owned(), String::new())]);
    while let Some((name, place)) = open.pop_front() {
        if let Some(known) = sections.iter_mut().find(|section| section.name == name) {
            known.places.push(place);
            continue;
        }
        let mut found = Vec::new();
        uses(schema, &schema.0[&name], &place, &mut found);
        // What belongs to a table follows it.
        found.into_iter().rev().for_each(|next| open.push_front(next));
        sections.push(Section { title: String::new(), name, places: vec![place] });
    }
    for section in &mut sections {
        section.title = match &section.places[..] {
            [place] => place.clone(),
            _ => kebab(section.name.trim_end_matches("Spec")),
        };
    }
    sections
}

/// The types that a type's keys refer to, each with its place.
fn uses(schema: &Schema, value: &Value, place: &str, found: &mut Vec<(String, String)>) {
    let below = |key: &str| if place.is_empty() { key.to_owned() } else { format!("{place}.{key}") };
    for (key, value, _) in schema.keys(value) {
        match schema.reference(value) {
            Some(name) => found.push((name, below(key))),
            None => uses(schema, value, &below(key), found),
        }
    }
    value["oneOf"].as_array().into_iter().flatten().for_each(|choice| uses(schema, choice, place, found));
}

fn kebab(name: &str) -> String {
    let dashed = |(i, c): (usize, char)| if c.is_uppercase() && i > 0 { format!("-{c}") } else { c.to_string() };
    name.chars().enumerate().map(dashed).collect::<String>().to_lowercase()
}

/// One line of Markdown: links to code become code.
fn line(words: &str) -> String {
    let mut text = words.replace("\n\n", " ").replace('\n', " ").replace('|', "\\|");
    while let Some(begin) = text.find("[`") {
        let end = begin + text[begin..].find("`]").expect("a link ends");
        let name = text[begin + 2..end].rsplit("::").next().unwrap().to_owned();
        let rest = match text[end + 2..].strip_prefix('(') {
            Some(target) => target[target.find(')').expect("a target ends") + 1..].to_owned(),
            None => text[end + 2..].to_owned(),
        };
        text = format!("{}`{name}`{rest}", &text[..begin]);
    }
    text
}

/// What kind of value a key takes.
fn kind(schema: &Schema, sections: &[Section], value: &Value) -> String {
    if let Some(name) = schema.reference(value) {
        let title = &sections.iter().find(|section| section.name == name).unwrap().title;
        return format!("[{title}](#{})", title.replace('.', ""));
    }
    let types: Vec<&str> = match &value["type"] {
        Value::String(one) => vec![one],
        many => many.as_array().into_iter().flatten().filter_map(Value::as_str).filter(|name| *name != "null").collect(),
    };
    match types[..] {
        ["integer"] => "whole number".into(),
        ["number"] => "number".into(),
        ["boolean"] => "true or false".into(),
        ["string"] => "text".into(),
        ["array"] => format!("list of {}", kind(schema, sections, &value["items"]).replace("number", "numbers").replace("list", "lists")),
        _ => "table".into(),
    }
}

/// Rows of keys, and of the keys of tables that have no section of their own; `missing` gets the keys without a word.
fn rows(schema: &Schema, sections: &[Section], table: &Value, prefix: &str, missing: &mut Vec<String>) -> String {
    let row = |(key, value, required): (&str, &Value, bool)| {
        let words = words_of(schema, value).unwrap_or_else(|| {
            missing.push(format!("{prefix}{key}"));
            String::new()
        });
        let left_out = match &value["default"] {
            _ if required => String::new(),
            Value::Null => " May be left out.".into(),
            Value::Array(list) if list.is_empty() => " May be left out.".into(),
            default => format!(" {default} if left out."),
        };
        format!("| `{prefix}{key}` | {} | {}{left_out} |\n", kind(schema, sections, value), line(&words))
    };
    schema.keys(table).into_iter().map(row).collect()
}

/// The page, and the keys that have no words.
fn page() -> (String, Vec<String>) {
    let schema = Schema::new();
    let sections = sections(&schema);
    let (mut text, mut missing) = (HEAD.to_owned(), Vec::new());
    for Section { title, name, places } in &sections {
        let value = &schema.0[name];
        if !title.is_empty() {
            text += &format!("\n## {title}\n");
        }
        if places.len() > 1 {
            let places: Vec<String> = places.iter().map(|place| format!("`{place}`")).collect();
            text += &format!("\nOf {}.\n", places.join(", "));
        }
        if let Some(words) = value["description"].as_str() {
            text += &format!("\n{}\n", line(words));
        }
        let keys = rows(&schema, &sections, value, "", &mut missing);
        if !keys.is_empty() {
            text += &format!("\n| key | value | meaning |\n| --- | --- | --- |\n{keys}");
        }
        let Some(choices) = value["oneOf"].as_array() else { continue };
        text += "\n| choice | value | meaning |\n| --- | --- | --- |\n";
        for choice in choices {
            let words = choice["description"].as_str().map(line);
            if let Some(word) = choice["const"].as_str() {
                let words = words.clone().unwrap_or_else(|| {
                    missing.push(format!("{title} {word}"));
                    String::new()
                });
                text += &format!("| `\"{word}\"` | | {words} |\n");
            }
            for word in choice["enum"].as_array().into_iter().flatten().filter_map(Value::as_str) {
                text += &format!("| `\"{word}\"` | | |\n");
            }
            for (key, value, _) in schema.keys(choice) {
                let words = words.clone().or_else(|| Some(line(&words_of(&schema, value)?))).unwrap_or_default();
                text += &format!("| `{key}` | {} | {words} |\n", kind(&schema, &sections, value));
                text += &rows(&schema, &sections, value, &format!("{key}."), &mut missing);
            }
        }
    }
    (text, missing)
}

#[test]
fn the_page_is_what_the_structs_say_and_every_key_has_its_words() {
    let (text, missing) = page();
    assert!(missing.is_empty(), "keys without a doc comment: {}", missing.join(", "));
    if std::env::var_os("SCORE_SDE_WRITE").is_some() {
        std::fs::write(PAGE, &text).unwrap();
    }
    let written = std::fs::read_to_string(PAGE).unwrap_or_default();
    let differs = text.lines().zip(written.lines()).find(|(made, written)| made != written);
    assert!(text == written, "{PAGE} is out of date at {differs:?}: SCORE_SDE_WRITE=1 cargo test --test keys writes it anew");
}

#[test]
fn choices_are_in_kebab_case_and_keys_in_snake_case() {
    let (mut choices, mut keys) = (Vec::new(), Vec::new());
    for (_, value) in Schema::new().0 {
        keys.extend(value["properties"].as_object().into_iter().flatten().map(|(key, _)| key.clone()));
        for choice in value["oneOf"].as_array().into_iter().flatten() {
            choices.extend(choice["const"].as_str().map(str::to_owned));
            choices.extend(choice["enum"].as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned));
            for (choice, table) in choice["properties"].as_object().into_iter().flatten() {
                choices.push(choice.clone());
                keys.extend(table["properties"].as_object().into_iter().flatten().map(|(key, _)| key.clone()));
            }
        }
    }
    let otherwise = |names: Vec<String>, dash: char| {
        names.into_iter().filter(|n| !n.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == dash)).collect::<Vec<_>>()
    };
    assert!(choices.len() > 80 && keys.len() > 150, "{} choices, {} keys", choices.len(), keys.len());
    assert_eq!(otherwise(choices, '-'), Vec::<String>::new());
    assert_eq!(otherwise(keys, '_'), Vec::<String>::new());
}
