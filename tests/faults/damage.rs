//! Damage of every kind to every file of a finished and of a half-finished run.

use std::fs;
use std::path::Path;

use crate::home::Home;
use crate::process;
use crate::tally::{Fault, Step, Verdict};
use crate::world::{Random, Task, World};

#[derive(Clone, Copy, Debug)]
enum Damage {
    /// In the first, the middle and the last byte.
    FlipHead,
    FlipMiddle,
    FlipTail,
    Truncate,
    Empty,
    Remove,
    Folder,
    Append,
}

use Damage::*;

const ALL: [Damage; 8] = [FlipHead, FlipMiddle, FlipTail, Truncate, Empty, Remove, Folder, Append];

impl Damage {
    fn inflict(self, path: &Path) {
        let mut bytes = fs::read(path).unwrap();
        let n = bytes.len();
        let mut flip = |at: usize| bytes.get_mut(at).into_iter().for_each(|byte| *byte ^= 0x10);
        match self {
            FlipHead => flip(0),
            FlipMiddle => flip(n / 2),
            FlipTail => flip(n.saturating_sub(2)),
            Truncate => bytes.truncate(n / 2),
            Empty => bytes.clear(),
            Append => bytes.extend(b"rubbish"),
            Remove => return fs::remove_file(path).unwrap(),
            Folder => {
                fs::remove_file(path).unwrap();
                return fs::create_dir(path).unwrap();
            }
        }
        fs::write(path, bytes).unwrap();
    }
}

pub fn faults<'a>(worlds: &'a [World], count: usize, random: &mut Random) -> Vec<Fault<'a>> {
    let mut all = Vec::new();
    for world in worlds {
        let halves = world.halves.iter().map(|(phase, home)| (*phase, home));
        for (phase, source) in halves.chain([("finished", &world.finished)]) {
            for file in files(source, "run") {
                let tasks: Vec<&Task> = match phase {
                    // Readers see damage, too.
                    "finished" if !file.contains("likelihood") && !file.contains("samples") => {
                        [&world.run].into_iter().chain(&world.verbs[..2]).collect()
                    }
                    _ => vec![&world.run],
                };
                all.extend(
                    ALL.iter().flat_map(|damage| {
                        tasks.iter().map(|task| (world, phase, source, file.clone(), *damage, *task)).collect::<Vec<_>>()
                    }),
                );
            }
        }
    }
    // Without its newest checkpoint a run is one of fewer steps, and a reader that says so is right.
    all.retain(|(.., file, damage, task)| !(matches!(damage, Remove) && file.contains("checkpoints/step") && task.arguments[0] != "run"));
    let some = random.some(all, count);
    let fault = |(world, phase, source, file, damage, task): (&'a World, &str, &'a Home, String, Damage, &'a Task)| Fault {
        class: "damage",
        name: format!("{} ({phase}): {damage:?} of {file}, then {}", world.name, task.arguments[0]),
        act: Box::new(move || act(world, source, &file, damage, task).unwrap_or_else(|verdict| verdict)),
    };
    some.into_iter().map(fault).collect()
}

/// The files below a folder of a home.
fn files(home: &Home, folder: &str) -> Vec<String> {
    let mut found = Vec::new();
    for name in home.names(folder).iter().map(|name| format!("{folder}/{name}")) {
        match home.path(&name).is_dir() {
            true => found.extend(files(home, &name)),
            false if name.ends_with(".lock") || name.contains(".partial-") => {}
            false => found.push(name),
        }
    }
    found
}

fn act(world: &World, source: &Home, file: &str, damage: Damage, task: &Task) -> Step<Verdict> {
    let home = world.copy_of(source);
    let path = home.path(file);
    damage.inflict(&path);
    // A verb that reads leaves the damaged file alone.
    if task.arguments[0] != "run" {
        let ended = process::run(&home, &task.arguments)?;
        if ended.code == Some(0) {
            restore(&home, source, file);
            let same = task.state.difference(&crate::compare::State::of(&home));
            return same.map_or(Ok(Verdict::Whole), |what| Err(Verdict::Different(format!("{what}: {}", ended.said()))));
        }
    } else if world.recovers(&home, task)? {
        return Ok(Verdict::Whole);
    }
    restore(&home, source, file);
    Ok(match world.ends(&home, task) {
        Verdict::Whole => Verdict::Refused,
        other => other,
    })
}

/// Puts the file back as it was.
fn restore(home: &Home, source: &Home, file: &str) {
    let path = home.path(file);
    if path.is_dir() {
        fs::remove_dir_all(&path).unwrap();
    }
    fs::write(path, source.read(file)).unwrap();
}
