//! `score-sde schema` and `keys`: what an experiment file can say, for editors and for people.

use clap::Args;

use crate::error::{Error, Result};
use crate::experiment;
use crate::progress::wrapped;

#[derive(Args, Debug)]
pub struct Keys {
    /// A table or choice, such as train or sde.ve [default: the names of all].
    table: Option<String>,
}

/// Every key with its words, which a test holds to the structs that parse a file.
const PAGE: &str = include_str!("../../docs/keys.md");

pub fn schema() -> Result<()> {
    println!("{:#}", experiment::schema());
    Ok(())
}

pub fn keys(Keys { table }: Keys) -> Result<()> {
    let sections = PAGE.split("\n## ").skip(1).map(|section| section.split_once('\n').unwrap_or((section, "")));
    let Some(table) = table else {
        sections.for_each(|(title, _)| println!("{title}"));
        return Ok(());
    };
    let unknown = || Error::Usage { message: format!("there is no table {table}"), help: "score-sde keys names all".into() };
    let section = |name: &str| sections.clone().find(|(title, _)| *title == name);
    if let Some((_, text)) = section(&table) {
        print!("{}", for_people(&table, text));
        return Ok(());
    }
    // A choice is in the section of all of them, and its keys there, too, or in one that is named.
    let (above, choice) = table.rsplit_once('.').ok_or_else(unknown)?;
    let (_, text) = section(above).ok_or_else(unknown)?;
    let row = text.lines().find(|line| line.starts_with(&format!("| `{choice}` "))).ok_or_else(unknown)?;
    print!("{}", for_people(above, text));
    if let Some((title, text)) = row.split('[').nth(1).and_then(|link| section(link.split(']').next()?)) {
        print!("\n{}", for_people(title, text));
    }
    Ok(())
}

/// A section without Markdown's tables, in lines of 80 letters.
fn for_people(title: &str, text: &str) -> String {
    let mut shown = format!("{title}\n");
    for line in text.lines().filter(|line| !line.is_empty()) {
        let Some(cells) = line.strip_prefix("| ") else {
            shown += &(wrapped(line, "", "") + "\n");
            continue;
        };
        // Bars within a cell are escaped.
        let cells: Vec<String> = cells.replace("\\|", "\0").split('|').map(|cell| cell.trim().replace('\0', "|")).collect();
        let [key, kind, words, ..] = &cells[..] else { continue };
        let name = key.trim_matches(['`', '"']);
        if ["key", "choice", "---"].contains(&&**key) {
            continue;
        }
        // A link's words are its name.
        let kind = kind.trim_start_matches('[').split(']').next().unwrap_or_default();
        shown += &format!(
            "\n{name}{}\n{}",
            if kind.is_empty() { String::new() } else { format!("  ({kind})") },
            wrapped(words, "    ", "    ") + "\n"
        );
    }
    shown
}
