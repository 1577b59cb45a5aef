//! Orders, flips and noise of batches; damaged examples.

use ndarray::{Array2, Array4};
use tch::Kind;

use super::super::arrays::{Images, Vectors};
use super::*;
use crate::error::Error;

const PLAIN: Scale = Scale::Vectors { scale: 1.0 };
const PIXELS: Scale = Scale::Pixels { range: [-1.0, 1.0], dequantise: true };

/// n vectors of one component, their own index.
fn counting(n: usize) -> Arc<dyn Dataset> {
    tch::set_num_threads(1);
    let values = Array2::from_shape_fn((n, 1), |(i, _)| i as f32);
    Arc::new(Vectors { values, log_density: Box::new(|_| None) })
}

/// n equal images [2, 2, 3]: every row rises to the right.
fn rising(n: usize) -> Arc<dyn Dataset> {
    tch::set_num_threads(1);
    Arc::new(Images { pixels: Array4::from_shape_fn((n, 2, 2, 3), |(_, c, h, w)| (50 * c + 20 * h + 3 * w) as u8), note: None })
}

fn values(t: &Tensor) -> Vec<f64> {
    Vec::try_from(t.to_kind(Kind::Double).flatten(0, -1)).unwrap()
}

#[test]
fn every_epoch_shows_every_example_once_in_its_own_order() {
    let (n, batch) = (30, 12);
    let mut batches = Batches::start(counting(n), PLAIN, false, 1, batch, 0);
    let seen: Vec<f64> = (0..10).flat_map(|_| values(&batches.next().unwrap())).collect();
    let epochs: Vec<&[f64]> = seen.chunks(n).collect();
    for epoch in &epochs {
        let mut sorted = epoch.to_vec();
        sorted.sort_by(f64::total_cmp);
        assert!(sorted.iter().enumerate().all(|(i, x)| *x == i as f64));
    }
    assert!((1..4).all(|k| epochs[k] != epochs[0]) && epochs[1] != epochs[2]);
    assert_ne!(values(&Batches::start(counting(n), PLAIN, false, 2, batch, 0).next().unwrap()), &seen[..batch]);
}

#[test]
fn a_batch_is_a_function_of_seed_and_step() {
    let mut fresh = Batches::start(rising(7), PIXELS, true, 3, 4, 0);
    let run: Vec<Tensor> = (0..9).map(|_| fresh.next().unwrap()).collect();
    assert_eq!((run[0].size(), run[0].kind()), (vec![4, 2, 2, 3], Kind::Float));
    for first in [1, 5, 8] {
        let mut resumed = Batches::start(rising(7), PIXELS, true, 3, 4, first as u64);
        assert!(run[first..].iter().all(|x| *x == resumed.next().unwrap()), "resumed at step {first}");
    }
    assert_ne!(run[0], run[1]);
}

#[test]
fn parts_are_those_of_the_batches_and_read_no_other_example() {
    let whole: Vec<Tensor> = {
        let mut batches = Batches::start(rising(7), PIXELS, true, 3, 4, 0);
        (0..5).map(|_| batches.next().unwrap()).collect()
    };
    for part in [0..1, 1..4] {
        let mut batches = Batches::start_part(rising(7), PIXELS, true, 3, (4, part.clone()), 2);
        for (step, whole) in whole.iter().enumerate().skip(2) {
            let (x, examples) = batches.shown().unwrap();
            assert_eq!(x, whole.narrow(0, part.start as i64, part.len() as i64), "step {step}");
            let positions = 4 * step as u64 + part.start as u64..4 * step as u64 + part.end as u64;
            assert_eq!(examples, examples_at(3, 7, positions));
        }
    }
    // One of the three places of an epoch shows the damaged example.
    let read = |place: usize| Batches::start_part(Arc::new(Damaged), PLAIN, false, 0, (3, place..place + 1), 0).next();
    assert_eq!((0..3).filter(|place| read(*place).is_err()).count(), 1);
}

#[test]
fn half_of_the_images_are_flipped_along_their_width() {
    let n = 4000;
    let x = Batches::start(rising(n), Scale::Pixels { range: [0.0, 255.0], dequantise: false }, true, 4, n, 0).next().unwrap();
    let [upright, flipped] = [
        [0.0, 3.0, 6.0, 20.0, 23.0, 26.0, 50.0, 53.0, 56.0, 70.0, 73.0, 76.0],
        [6.0, 3.0, 0.0, 26.0, 23.0, 20.0, 56.0, 53.0, 50.0, 76.0, 73.0, 70.0],
    ];
    let x = values(&x);
    let close = |image: &[f64], truth: &[f64]| image.iter().zip(truth).all(|(a, b)| (a - b).abs() < 1e-4);
    let count = x.chunks(12).filter(|image| close(image, &flipped)).count();
    assert!(x.chunks(12).all(|image| close(image, &flipped) || close(image, &upright)));
    assert!((count as f64 - 2000.0).abs() < 4.0 * 1000f64.sqrt(), "{count} of {n} are flipped");
}

#[test]
fn noise_is_uniform_within_the_bin_and_pixels_come_back() {
    let n = 2000;
    let x = Batches::start(rising(n), PIXELS, false, 5, n, 0).next().unwrap();
    let pixels = examples(rising(n).as_ref(), 0..n).unwrap();
    assert_eq!(PIXELS.to_data(&x).to_kind(Kind::Float), pixels);
    let u = (x.to_kind(Kind::Double) + 1.0) * 128.0 - pixels;
    let count = 12.0 * n as f64;
    for (power, truth) in [(1, 1.0 / 2.0), (2, 1.0 / 3.0), (4, 1.0 / 5.0)] {
        let moment = u.pow_tensor_scalar(power).mean(None).double_value(&[]);
        assert!((moment - truth).abs() < 4.0 * 0.3 / count.sqrt(), "E u^{power} is {moment}");
    }
}

#[test]
fn an_example_gets_new_noise_each_time_it_is_seen() {
    let x = Batches::start(rising(1), PIXELS, false, 5, 2, 0).next().unwrap();
    assert_ne!(x.get(0), x.get(1));
}

#[test]
fn likelihood_noise_belongs_to_the_example() {
    let set = rising(9);
    let scale = Scale::Pixels { range: [-1.0, 1.0], dequantise: false };
    let all = dequantised(set.as_ref(), scale, &[0, 1, 2, 3, 4, 5, 6, 7, 8].map(|i| (i, 0)), 6).unwrap();
    let some = dequantised(set.as_ref(), scale, &[(7, 0), (2, 0), (7, 1)], 6).unwrap();
    assert_eq!(all.kind(), Kind::Double);
    assert_eq!(some.get(0), all.get(7));
    assert_eq!(some.get(1), all.get(2));
    assert_ne!(all.get(0), all.get(1));
    assert_ne!(some.get(2), some.get(0), "another draw is other noise");
    assert_eq!(((all + 1.0) * 128.0).floor().to_kind(Kind::Float), examples(set.as_ref(), 0..9).unwrap());
    let vectors = dequantised(counting(5).as_ref(), Scale::Vectors { scale: 4.0 }, &[(3, 0)], 6).unwrap();
    assert_eq!(values(&vectors), [0.75]);
}

/// Three examples, the last of which is damaged.
struct Damaged;
impl Dataset for Damaged {
    fn shape(&self) -> &[usize] {
        &[1]
    }
    fn len(&self) -> usize {
        3
    }
    fn read(&self, i: usize, _: &mut [f32]) -> Result<()> {
        if i < 2 { Ok(()) } else { Err(Error::data("x.png", "is damaged", "bring a fresh copy")) }
    }
}

#[test]
fn a_batch_with_a_damaged_example_is_an_error_that_names_the_file() {
    tch::set_num_threads(1);
    let mut batches = Batches::start(Arc::new(Damaged), PLAIN, false, 0, 1, 0);
    let epoch: Vec<Result<Tensor>> = (0..3).map(|_| batches.next()).collect();
    let errors: Vec<String> = epoch.into_iter().filter_map(|batch| Some(batch.err()?.to_string())).collect();
    assert_eq!(errors, ["x.png: is damaged"]);
    assert!(chosen(&Damaged, &[0, 2]).is_err() && chosen(&Damaged, &[0, 1]).is_ok());
}

#[test]
fn dropping_the_batches_ends_their_thread() {
    let set = counting(100);
    let mut batches = Batches::start(set.clone(), PLAIN, false, 0, 10, 0);
    let _ = batches.next().unwrap();
    drop(batches);
    drop(Batches::start(set.clone(), PLAIN, false, 0, 10, 0));
    assert_eq!(Arc::strong_count(&set), 1);
}
