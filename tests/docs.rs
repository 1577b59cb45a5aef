//! The pages of `docs/` name tests that repeat their numbers: they are there.

use std::fs;
use std::path::Path;

fn sources(folder: &Path, text: &mut String) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.extension() {
            Some(extension) if extension == "rs" => text.push_str(&fs::read_to_string(&path).unwrap()),
            _ if path.is_dir() => sources(&path, text),
            _ => {}
        }
    }
}

#[test]
fn every_test_that_a_page_names_is_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut text = String::new();
    sources(&root.join("src"), &mut text);
    for page in ["docs/choose-a-solver.md", "docs/ancestors.md"] {
        let page = fs::read_to_string(root.join(page)).unwrap();
        // Words of four parts and more; nothing else there is as long.
        let names: Vec<&str> = page.split('`').skip(1).step_by(2).filter(|word| word.matches('_').count() > 2).collect();
        assert!(names.len() > 8, "{names:?}");
        for name in names {
            assert!(text.contains(&format!("fn {name}")), "no test begins with {name}");
        }
    }
}
