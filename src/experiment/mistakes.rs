//! All that is wrong with a file at once: each mistake is put right for a moment, or taken away, to see what else is wrong.

use serde::Deserialize as _;
use toml::de::{DeTable, DeValue, Deserializer};
use toml::{Spanned, Value};

use super::plan::Plan;
use super::text::Text;
use super::words;
use super::written::Experiment;
use crate::error::{Error, Fault, Result};
use crate::run::ASKED;

/// Mistakes that are looked for in one file.
const MOST: usize = 20;

/// What a text says. Error: all words and types that are wrong, and, where every key could be read for what was meant, values that can't work.
pub(super) fn read(text: &Text) -> Result<Experiment> {
    let (found, mut mistakes) = parse(text);
    match found {
        Some(experiment) if mistakes.is_empty() => Ok(experiment),
        Some(experiment) => {
            mistakes.extend(faults(&experiment).into_iter().map(|fault| text.fault(fault)));
            Err(together(text, mistakes))
        }
        None => Err(together(text, mistakes)),
    }
}

/// The plan of an experiment. Error: values that can't work.
pub(super) fn plan(experiment: &Experiment, text: &Text) -> Result<Plan> {
    experiment.plan().map_err(|_| together(text, faults(experiment).into_iter().map(|fault| text.fault(fault)).collect()))
}

fn together(text: &Text, mut mistakes: Vec<Error>) -> Error {
    text.sort(&mut mistakes);
    match mistakes.len() {
        1 => mistakes.remove(0),
        n => Error::Mistakes { message: format!("{} has {n} mistakes", text.name), mistakes },
    }
}

/// The experiment, where it is clear what each of its words means, and what is wrong with words and types.
fn parse(text: &Text) -> (Option<Experiment>, Vec<Error>) {
    let (mut mistakes, mut tree) = (Vec::new(), text.tree());
    let (mut removed, mut guessed) = (Vec::<Vec<String>>::new(), false);
    for _ in 0..MOST {
        let (error, path) = match refusal(&tree) {
            Ok(read) => return (Some(read).filter(|_| removed.is_empty() && !guessed), mistakes),
            Err(refusal) => refusal,
        };
        if !removed.iter().any(|gone| gone.starts_with(&path)) {
            mistakes.push(text.misspelt(&error, &path));
        }
        match mended(&tree, &error, &path) {
            Some(mended) => (tree, guessed) = (mended.0, guessed || mended.1),
            None if table_at(&mut tree, &path).is_some_and(|(table, last)| table.remove(last).is_some()) => removed.push(path),
            None => break,
        }
    }
    (None, mistakes)
}

/// The experiment that a text says, or what is wrong with it and where.
fn refusal(tree: &Spanned<DeTable>) -> Result<Experiment, (toml::de::Error, Vec<String>)> {
    Experiment::deserialize(Deserializer::from(tree.clone())).map_err(|error| {
        let path = error.span().and_then(|span| path_of(tree.get_ref(), &span));
        (error, path.unwrap_or_default())
    })
}

/// The key that an error misses.
fn missing(error: &toml::de::Error) -> Option<&str> {
    error.message().strip_prefix("missing field `")?.split('`').next()
}

/// A text in which something stands at the place of an error that is no error there, and whether that is a guess.
fn mended<'i>(tree: &Spanned<DeTable<'i>>, error: &toml::de::Error, path: &[String]) -> Option<(Spanned<DeTable<'i>>, bool)> {
    let words: Vec<&str> = error.message().split('`').skip(1).step_by(2).collect();
    if let (Some((wrong, choices)), Some((last, tables))) = (words.split_first(), path.split_last())
        && wrong == last
    {
        // A key is called otherwise, or belongs to nobody.
        let mut tree = tree.clone();
        let (table, last) = table_at(&mut tree, path)?;
        let (key, value) = table.remove_entry(last)?;
        match words::meant(wrong, &tables.join("."), choices) {
            Some(meant) if !table.contains_key(meant) => drop(table.insert(Spanned::new(key.span(), meant.to_owned().into()), value)),
            _ if error.message().starts_with("unknown field") => {}
            _ => return None,
        }
        return Some((tree, false));
    }
    let choices = words.iter().skip(1).map(|word| DeValue::String(word.to_string().into()));
    let values = ["1", "0.5", "true", "[]", "'x'", "{}"].into_iter().filter_map(|value| Some(DeValue::parse(value).ok()?.into_inner()));
    let place = path.iter().map(String::as_str).chain(missing(error)).map(str::to_owned).collect::<Vec<_>>();
    let mut tried = values.chain(choices).filter_map(|value| {
        let mut tree = tree.clone();
        let (table, last) = table_at(&mut tree, &place)?;
        let span = table.get(last).map_or_else(|| error.span().unwrap_or_default(), Spanned::span);
        table.insert(Spanned::new(span.clone(), last.to_owned().into()), Spanned::new(span, value));
        Some(tree)
    });
    let works = |tree: &Spanned<DeTable>| match refusal(tree) {
        Ok(_) => true,
        Err((_, next)) => !next.starts_with(&place),
    };
    tried.find(works).map(|tree| (tree, true))
}

/// The table in which a path ends, and its last name.
fn table_at<'a, 'i, 'p>(tree: &'a mut Spanned<DeTable<'i>>, path: &'p [String]) -> Option<(&'a mut DeTable<'i>, &'p str)> {
    let (last, tables) = path.split_last()?;
    let mut table = tree.get_mut();
    for name in tables {
        match table.get_mut(name.as_str()).map(Spanned::get_mut) {
            Some(DeValue::Table(inner)) => table = inner,
            _ => return None,
        }
    }
    Some((table, last))
}

/// The names that lead to the deepest key or value around a place in the text.
fn path_of(table: &DeTable, place: &std::ops::Range<usize>) -> Option<Vec<String>> {
    let within = |span: std::ops::Range<usize>| span.start <= place.start && place.end <= span.end;
    table.iter().find_map(|(key, value)| {
        let name = || vec![key.get_ref().to_string()];
        let deeper = match value.get_ref() {
            DeValue::Table(inner) => path_of(inner, place),
            _ => None,
        };
        match deeper {
            Some(deeper) => Some([name(), deeper].concat()),
            None => (within(key.span()) || within(value.span())).then(name),
        }
    })
}

/// What can't work: the first fault of a plan, and those behind it that show whatever takes its place.
fn faults(experiment: &Experiment) -> Vec<Fault> {
    let mut found: Vec<Fault> = Vec::new();
    let mut next = experiment.plan().err().map(|fault| (experiment.clone(), fault));
    while let Some((experiment, fault)) = next.filter(|_| found.len() < MOST) {
        let key = fault.key.clone();
        if found.iter().any(|known| known.key == key) {
            break;
        }
        found.push(fault);
        next = behind(&experiment, &key);
    }
    found
}

/// The fault that is left when what stands at a key works: an experiment in which it does, and the fault.
fn behind(experiment: &Experiment, key: &str) -> Option<(Experiment, Fault)> {
    let path: Vec<&str> = key.split('.').collect();
    let value = Value::try_from(experiment).expect("an experiment is a TOML document");
    let read = |value: Value| value.try_into::<Experiment>().ok().map(|read| Experiment { network: experiment.network.clone(), ..read });
    let others = at(&mut value.clone(), &path).map_or(Vec::new(), |there| substitutes(there));
    let changed = others.into_iter().filter_map(|other| {
        let mut value = value.clone();
        *at(&mut value, &path)? = other;
        read(value)
    });
    let changed: Vec<Experiment> = if path[0] == "network" { Vec::new() } else { changed.collect() };
    let mut left: Vec<Option<(Experiment, Fault)>> = Vec::new();
    for changed in changed {
        match changed.plan() {
            Ok(_) => left.push(None),
            Err(fault) if fault.key != key => left.push(Some((changed, fault))),
            Err(_) => {}
        }
    }
    if left.is_empty() {
        let asked = ASKED.iter().find(|asked| asked.table == path[0])?;
        let mut value = value;
        value.as_table_mut()?.remove(asked.table);
        let without = read(value)?;
        return without.plan().err().map(|fault| (without, fault));
    }
    // What shows behind few of them is of them.
    let fault_of = |next: &Option<(Experiment, Fault)>| next.as_ref().map(|(_, fault)| fault.clone());
    let shown = |fault: &Option<Fault>| left.iter().filter(|next| fault_of(next) == *fault).count();
    let most = left.iter().map(fault_of).max_by_key(shown)?;
    let often = left.iter().all(Option::is_some) && 2 * shown(&most) > left.len();
    left.into_iter().find(|next| often && fault_of(next) == most)?
}

/// The value at a path, if there is one.
fn at<'a>(value: &'a mut Value, path: &[&str]) -> Option<&'a mut Value> {
    path.iter().try_fold(value, |value, name| value.get_mut(*name))
}

/// Values that could stand in the place of one.
fn substitutes(value: &Value) -> Vec<Value> {
    let floats = [1.0, 0.5, 0.9, 0.1, 1e-3, 1e-5, 2.0, 10.0, 100.0, 0.0];
    match value {
        Value::Integer(_) => [1, 2, 4, 10, 100, 1000, 0].map(Value::Integer).to_vec(),
        Value::Float(_) => floats.map(Value::Float).to_vec(),
        Value::Boolean(value) => vec![Value::Boolean(!value)],
        Value::Array(_) => [[0.0, 0.5], [0.9, 0.999], [-1.0, 1.0], [1.0, 2.0]].map(|pair| pair.map(Value::Float).to_vec().into()).to_vec(),
        _ => Vec::new(),
    }
}
