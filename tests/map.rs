//! The map of `src/`: imports point down the table in `docs/architecture.md`, and files of a folder do not import each other in a circle.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// The modules of the table in `docs/architecture.md`, from the outside in: row by row, each from left to right.
fn modules() -> Vec<String> {
    let text = fs::read_to_string("docs/architecture.md").unwrap();
    let map = text.split("# The map\n").nth(1).unwrap();
    let table = map.lines().filter_map(|line| line.strip_prefix("| [`"));
    let names = |row: &str| row.split(" | ").next().unwrap_or_default().split("[`").map(first_word).collect::<Vec<_>>();
    table.flat_map(names).collect()
}

/// The letters of a name that a text begins with.
fn first_word(text: &str) -> String {
    text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for path in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// The library's code without its tests: path and text.
fn code() -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    sources(Path::new("src"), &mut found);
    found.retain(|path| !path.to_string_lossy().contains("tests"));
    let text = |path: &Path| fs::read_to_string(path).unwrap().split("#[cfg(test)]\nmod tests {").next().unwrap().to_owned();
    found.into_iter().map(|path| (path.clone(), text(&path))).collect()
}

/// The names that follow a prefix such as `crate::`, brace lists included.
fn names_after(text: &str, prefix: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for line in text.lines().filter(|line| !line.trim_start().starts_with("//")) {
        for (at, _) in
            line.match_indices(prefix).filter(|(at, _)| !line[..*at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == ':'))
        {
            let rest = &line[at + prefix.len()..];
            match rest.strip_prefix('{') {
                None => drop(names.insert(first_word(rest))),
                Some(list) => names.extend(list.split(", ").map(first_word)),
            }
        }
    }
    names
}

#[test]
fn every_import_points_down_the_map() {
    let modules = modules();
    let place: BTreeMap<&str, usize> = modules.iter().enumerate().map(|(i, name)| (name.as_str(), i)).collect();
    let declared = names_after(&fs::read_to_string("src/lib.rs").unwrap().replace("pub mod ", "pub_mod::"), "pub_mod::");
    let listed: BTreeSet<String> = place.keys().map(|name| name.to_string()).collect();
    assert_eq!(declared, listed, "the map lists every module");
    let mut wrong = Vec::new();
    for (path, text) in code() {
        let module = path.iter().nth(1).unwrap().to_string_lossy().trim_end_matches(".rs").to_owned();
        let Some(own) = place.get(module.as_str()) else { continue };
        for name in names_after(&text, "crate::").into_iter().filter(|name| *name != module) {
            let other =
                place.get(name.as_str()).unwrap_or_else(|| panic!("{} uses crate::{name}, which is no module of the map", path.display()));
            if other <= own {
                wrong.push(format!("{} uses {name}, which does not stand below {module}", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn files_of_a_folder_do_not_import_each_other_in_a_circle() {
    let mut uses: BTreeMap<(PathBuf, String), BTreeSet<String>> = BTreeMap::new();
    for (path, text) in code() {
        let stem = path.file_stem().unwrap().to_string_lossy().into_owned();
        if stem == "mod" {
            // Its files see it as `super`, and a folder's own parent as `super::super`.
            continue;
        }
        uses.insert((path.parent().unwrap().to_owned(), stem), names_after(&text, "super::"));
    }
    let mut circles = Vec::new();
    for (folder, stem) in uses.keys() {
        let mut seen = BTreeSet::new();
        let mut open: Vec<&String> = vec![stem];
        while let Some(name) = open.pop() {
            for next in uses.get(&(folder.clone(), name.clone())).into_iter().flatten() {
                if next == stem {
                    circles.push(format!("{}/{stem}.rs comes back to itself through {name}", folder.display()));
                } else if seen.insert(next) {
                    open.push(next);
                }
            }
        }
    }
    assert!(circles.is_empty(), "{}", circles.join("\n"));
}
