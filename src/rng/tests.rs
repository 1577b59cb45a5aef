mod ledger;

pub(super) use ledger::{derived, used};

use super::*;

fn values(t: &Tensor) -> Vec<f32> {
    Vec::try_from(t.flatten(0, -1)).unwrap()
}

#[test]
fn a_draw_is_a_function_of_its_name_alone() {
    let shape = [3, 5000];
    let once = values(&normal(1, Purpose::Noise, 7, &shape, Device::Cpu));
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
    let again = pool.install(|| values(&normal(1, Purpose::Noise, 7, &shape, Device::Cpu)));
    assert_eq!(once, again);
    for other in [
        normal(2, Purpose::Noise, 7, &shape, Device::Cpu),
        normal(1, Purpose::Prior, 7, &shape, Device::Cpu),
        normal(1, Purpose::Noise, 8, &shape, Device::Cpu),
    ] {
        let equal = values(&other).iter().zip(&once).filter(|(a, b)| a == b).count();
        assert!(equal < 10, "{equal} of 15000 draws are shared");
    }
}

#[test]
fn a_row_does_not_depend_on_its_batch() {
    let draw = |range, draw| rows(Law::Gaussian, 4, Purpose::Brownian, range, draw, &[3], Device::Cpu);
    assert_eq!(values(&draw(0..200, 1).narrow(0, 150, 2)), values(&draw(150..152, 1)));
    assert_ne!(values(&draw(0..1, 1)), values(&draw(0..1, 2)));
    let signs = values(&rows(Law::Rademacher, 4, Purpose::Probe, 0..1000, 0, &[4], Device::Cpu));
    let sum: f32 = signs.iter().sum();
    assert!(signs.iter().all(|s| s.abs() == 1.0) && sum.abs() < 4.0 * 4000f32.sqrt(), "{sum}");
}

#[test]
fn normal_draws_have_the_normal_moments() {
    let z = normal(3, Purpose::Prior, 0, &[200_000], Device::Cpu).to_kind(tch::Kind::Double);
    for (power, truth, sd) in [(1, 0.0, 1.0), (2, 1.0, 2f64.sqrt()), (3, 0.0, 15f64.sqrt()), (4, 3.0, 96f64.sqrt())] {
        let moment = z.pow_tensor_scalar(power).mean(None).double_value(&[]);
        assert!((moment - truth).abs() < 5.0 * sd / 200_000f64.sqrt(), "moment {power} is {moment}, not {truth}");
    }
}

#[test]
fn rows_of_the_sphere_have_its_radius_and_identity_as_second_moment() {
    let (n, d) = (20_000, 5i64);
    let z = rows(Law::Sphere, 3, Purpose::Probe, 0..n, 0, &[d], Device::Cpu).to_kind(tch::Kind::Double);
    let norms = z.square().sum_dim_intlist(1i64, false, None::<tch::Kind>);
    assert!((norms - d as f64).abs().max().double_value(&[]) < 1e-5);
    let moment = z.transpose(0, 1).matmul(&z) / n as f64 - Tensor::eye(d, (tch::Kind::Double, Device::Cpu));
    assert!(moment.abs().max().double_value(&[]) < 5.0 / (n as f64).sqrt());
    let some = rows_at(Law::Sphere, 3, Purpose::Probe, &[(7, 2), (0, 0)], &[d], Device::Cpu);
    assert_eq!(values(&some.get(1)), values(&rows(Law::Sphere, 3, Purpose::Probe, 0..1, 0, &[d], Device::Cpu)));
    assert_eq!(values(&some.get(0)), values(&rows(Law::Sphere, 3, Purpose::Probe, 7..8, 2, &[d], Device::Cpu)));
}

#[test]
fn uniform_rows_belong_to_their_positions() {
    let whole = uniform_rows(1, Purpose::Time, 0..3000, 0);
    assert_eq!(whole[1000..], uniform_rows(1, Purpose::Time, 1000..3000, 0));
    let mean = whole.iter().sum::<f64>() / 3000.0;
    assert!((mean - 0.5).abs() < 4.0 / (12.0 * 3000f64).sqrt() && whole.iter().all(|u| (0.0..1.0).contains(u)), "{mean}");
    assert_ne!(whole[..10], uniform_rows(2, Purpose::Time, 0..10, 0));
}
