use std::fs;

use tch::{Device, Kind};

use super::*;

fn tensors() -> Vec<(String, Tensor)> {
    tch::set_num_threads(1);
    let weight = Tensor::arange(12, (Kind::Float, Device::Cpu)).view([3, 4]);
    let turned = weight.transpose(0, 1);
    let named = [
        ("pixels", Tensor::arange(5, (Kind::Uint8, Device::Cpu))),
        ("weight", weight),
        ("turned", turned),
        ("part", Tensor::arange(20, (Kind::Double, Device::Cpu)).narrow(0, 3, 7).set_requires_grad(true)),
        ("count", Tensor::from(1i64 << 40)),
        ("empty", Tensor::zeros([0, 3], (Kind::Float, Device::Cpu))),
    ];
    named.map(|(name, tensor)| (name.to_owned(), tensor)).into()
}

fn save_at(run: &Run, step: u64, keep: usize) -> PathBuf {
    let tensors = tensors();
    let named: Vec<(String, &Tensor)> = tensors.iter().map(|(name, tensor)| (name.clone(), tensor)).collect();
    save(run, step, &named, &[("device", "cpu".to_owned())], keep).unwrap()
}

fn steps(run: &Run) -> Vec<u64> {
    list(run).unwrap().into_keys().collect()
}

#[test]
fn what_is_saved_comes_back() {
    let home = tempfile::tempdir().unwrap();
    let run = Run::open(home.path()).unwrap();
    assert!(latest(&run).unwrap().is_none());
    let path = save_at(&run, 20, 2);
    assert_eq!(path, home.path().join("checkpoints/step-00000020.safetensors"));
    let checkpoint = latest(&run).unwrap().unwrap();
    assert_eq!((checkpoint.step, checkpoint.meta("device"), checkpoint.meta("nothing")), (20, Some("cpu"), None));
    assert_eq!(checkpoint.names().collect::<Vec<_>>(), ["count", "empty", "part", "pixels", "turned", "weight"]);
    for (name, tensor) in tensors() {
        let read = checkpoint.tensor(&name).unwrap();
        assert_eq!((read.kind(), read.size()), (tensor.kind(), tensor.size()), "{name}");
        assert!(read.equal(&tensor), "{name}");
    }
    let bytes = fs::read(&path).unwrap();
    (0..5).for_each(|_| assert!(fs::read(save_at(&run, 20, 2)).unwrap() == bytes, "equal tensors make equal files"));
    let error = checkpoint.tensor("ema").unwrap_err().to_string();
    assert!(error.contains("step-00000020.safetensors: holds no tensor `ema`") && error.contains("weight"), "{error}");
}

#[test]
fn the_newest_are_kept() {
    let home = tempfile::tempdir().unwrap();
    let run = Run::open(home.path()).unwrap();
    for step in [10, 20, 30, 99_999_999, 100_000_000] {
        save_at(&run, step, 2);
    }
    assert_eq!(steps(&run), [99_999_999, 100_000_000]);
    assert_eq!(latest(&run).unwrap().unwrap().step, 100_000_000);
}

#[test]
fn every_flipped_bit_and_every_truncation_is_seen() {
    let home = tempfile::tempdir().unwrap();
    let run = Run::open(home.path()).unwrap();
    save_at(&run, 10, 3);
    let path = save_at(&run, 20, 3);
    let whole = fs::read(&path).unwrap();
    let whole_as_read = |bytes: &[u8]| {
        let damaged = home.path().join("damaged");
        fs::write(&damaged, bytes).unwrap();
        load(&damaged, &fs::read(&damaged).unwrap()).is_ok()
    };
    assert!(whole_as_read(&whole));
    for bit in 0..8 * whole.len() {
        let mut bytes = whole.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        assert!(!whole_as_read(&bytes), "bit {} of byte {} of {} flipped unseen", bit % 8, bit / 8, whole.len());
    }
    for length in 0..whole.len() {
        assert!(!whole_as_read(&whole[..length]), "truncation to {length} of {} unseen", whole.len());
    }
}

#[test]
fn a_damaged_checkpoint_gives_way_to_the_one_before() {
    let home = tempfile::tempdir().unwrap();
    let run = Run::open(home.path()).unwrap();
    let paths = [10, 20, 30].map(|step| save_at(&run, step, 3));
    let whole = fs::read(&paths[2]).unwrap();
    fs::write(&paths[2], &whole[..whole.len() - 1]).unwrap();
    assert_eq!(latest(&run).unwrap().unwrap().step, 20);
    fs::write(&paths[1], b"").unwrap();
    assert_eq!(latest(&run).unwrap().unwrap().step, 10);

    save_at(&run, 15, 1);
    assert_eq!(steps(&run), [15], "the damaged later ones must not push out the one just written");

    fs::write(run.folder().at(list(&run).unwrap().values().next().unwrap()), b"junk").unwrap();
    let Error::Run { message, help, .. } = latest(&run).unwrap_err() else { panic!() };
    assert!(message.contains("none of the 1 checkpoints"), "{message}");
    assert!(help.contains("step 0"), "{help}");
}
