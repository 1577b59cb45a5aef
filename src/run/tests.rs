use std::os::unix::fs::PermissionsExt;

use super::*;

fn files(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn a_run_has_one_writer() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("runs/toy");
    let run = Run::open(&path).unwrap();
    let error = Run::open(&path).unwrap_err();
    let Error::Run { path: named, message, help } = &error else { panic!("{error:?}") };
    assert_eq!(named, &path);
    assert!(message.contains(&format!("process {}", std::process::id())), "{message}");
    assert!(help.contains("--out"), "{help}");
    drop(run);
    Run::open(&path).unwrap();
}

#[test]
fn a_write_replaces_the_file_and_leaves_nothing_else() {
    let home = tempfile::tempdir().unwrap();
    let run = Run::open(home.path()).unwrap();
    assert_eq!(run.read("samples/a.txt").unwrap(), None);
    run.write("samples/a.txt", b"first").unwrap();
    let path = run.write("samples/a.txt", b"second").unwrap();
    assert_eq!(path, home.path().join("samples/a.txt"));
    assert_eq!(run.read("samples/a.txt").unwrap().unwrap(), b"second");
    run.write("lab/table.csv", b"nfe").unwrap();
    let error = run.replace("samples/a.txt", |file| file.write_all(b"torn").and(Err(io::Error::other("no space")))).unwrap_err();
    assert!(error.to_string().contains("samples/a.txt: no space"), "{error}");
    assert_eq!(run.read("samples/a.txt").unwrap().unwrap(), b"second");
    assert_eq!(files(&home.path().join("samples")), ["a.txt"]);
    assert_eq!(files(home.path()), [".lock", "checkpoints", "lab", "samples"]);

    let plain = home.path().join("plain");
    fs::OpenOptions::new().write(true).create_new(true).open(&plain).unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&path), 0o644 & mode(&plain), "others may read what they may read of any file");
}

/// A half-written file of a process that is no more.
const ORPHAN: &str = ".partial-4294967290-0";

#[test]
fn what_a_killed_process_left_half_written_is_swept_and_nothing_else() {
    let home = tempfile::tempdir().unwrap();
    let run = Run::open(home.path()).unwrap();
    let own = format!(".partial-{}-7", std::process::id());
    let kept = ["checkpoints/whole", ".partial-foreign", "child/.partial-4294967290-0", &own];
    for name in kept.iter().chain([&ORPHAN, &"checkpoints/.partial-4294967290-0"]) {
        run.write(name, b"").unwrap();
    }
    assert!(Run::open(home.path()).is_err());
    assert_eq!(files(&home.path().join("checkpoints")).len(), 2, "only the owner of the lock may sweep");
    drop(run);
    let run = Run::open(home.path()).unwrap();
    assert!(kept.iter().all(|name| run.has(name)));
    assert!(!run.has(ORPHAN) && !run.has("checkpoints/.partial-4294967290-0"));
}

#[test]
fn who_lost_the_folder_or_the_lock_writes_no_more() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("run");
    let lost = |run: &Run| {
        let message = run.write("a.txt", b"late").unwrap_err().to_string();
        assert!(message.contains("was removed, moved or replaced"), "{message}");
        assert!(run.product("p", Value::Null).write("b.txt", b"late").is_err());
        files(&path)
    };
    let first = Run::open(&path).unwrap();
    fs::remove_file(path.join(LOCK)).unwrap();
    let second = Run::open(&path).unwrap();
    assert!(!lost(&first).contains(&"a.txt".to_owned()));
    second.write("a.txt", b"in time").unwrap();
    fs::rename(&path, home.path().join("moved")).unwrap();
    let third = Run::open(&path).unwrap();
    assert_eq!(lost(&second), [".lock", "checkpoints", "samples"]);
    assert_eq!(fs::read(home.path().join("moved/a.txt")).unwrap(), b"in time", "nothing half-made, nothing lost");
    third.write("a.txt", b"new").unwrap();
}

#[test]
fn a_lock_that_leads_elsewhere_is_not_followed() {
    let home = tempfile::tempdir().unwrap();
    let target = home.path().join("precious");
    fs::write(&target, b"data").unwrap();
    let path = home.path().join("run");
    fs::create_dir(&path).unwrap();
    std::os::unix::fs::symlink(&target, path.join(LOCK)).unwrap();
    assert!(Run::open(&path).is_err());
    assert_eq!(fs::read(&target).unwrap(), b"data");
}

#[test]
fn a_run_that_must_exist_and_does_not_names_its_neighbours() {
    let home = tempfile::tempdir().unwrap();
    let at = |name: &str| home.path().join(name);
    let help = |path: &Path| match Run::existing(path).unwrap_err() {
        Error::Run { message, help, .. } => format!("{message}; {help}"),
        other => panic!("{other:?}"),
    };
    assert!(help(&at("runs/a")).starts_with("does not exist;"));
    assert!(!at("runs").exists(), "looking creates nothing");
    for name in ["runs/a", "runs/b"] {
        Run::open(&at(name)).unwrap().write(EXPERIMENT, b"seed = 1").unwrap();
    }
    Run::open(&at("runs/c")).unwrap();
    for wrong in ["runs/c", "runs/d", "runs", "runs/a/experiment.toml"] {
        let help = help(&at(wrong));
        let (a, b) = (at("runs/a").display().to_string(), at("runs/b").display().to_string());
        assert!(wrong.ends_with("toml") || (help.contains(&a) && help.contains(&b)), "{wrong}: {help}");
        assert!(!help.contains(&at("runs/c").display().to_string()), "{wrong}: {help}");
    }
    assert!(help(&at("runs/c")).starts_with("is not a run: it holds no experiment.toml;"));
    assert_eq!(Run::existing(&at("runs/a")).unwrap().experiment().unwrap().unwrap(), "seed = 1");
    assert!(matches!(Run::open(&at("runs/a/experiment.toml")), Err(Error::Run { .. })));
}
