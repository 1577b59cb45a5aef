//! Adjoints, what each operator does to an image, and what is refused.

use super::*;
use crate::testing::{largest, normal};

const IMAGE: [usize; 3] = [3, 6, 4];

fn operators(shape: &[usize]) -> Vec<(&'static str, Box<dyn Operator>)> {
    let blur = OperatorSpec::Blur(blur::Spec { std: 0.8 });
    let specs = [
        ("box", OperatorSpec::Mask(mask::Spec::HiddenBox([1, 0, 2, 3]))),
        ("random", OperatorSpec::Mask(mask::Spec::Random(0.4))),
        ("grey", OperatorSpec::Grey {}),
        ("blur", blur),
        ("downsampling", OperatorSpec::Downsampling(downsampling::Spec { factor: 2 })),
    ];
    let built = specs.map(|(name, spec)| (name, spec.build(shape, 1, Device::Cpu).unwrap()));
    let d = shape.iter().product::<usize>() as i64;
    let matrix: Box<dyn Operator> = Box::new(Matrix::of(&normal(5, &[7, d]), shape));
    built.into_iter().chain([("matrix", matrix)]).collect()
}

/// Of vectors, as long as an image has numbers.
fn operators_of_vectors(d: usize) -> Vec<(&'static str, Box<dyn Operator>)> {
    let specs = [
        ("components", OperatorSpec::Mask(mask::Spec::Components(vec![1, 4]))),
        ("random", OperatorSpec::Mask(mask::Spec::Random(0.4))),
        ("blur", OperatorSpec::Blur(blur::Spec { std: 0.8 })),
        ("downsampling", OperatorSpec::Downsampling(downsampling::Spec { factor: 4 })),
    ];
    let built = specs.map(|(name, spec)| (name, spec.build(&[d], 1, Device::Cpu).unwrap()));
    let matrix: Box<dyn Operator> = Box::new(Matrix::of(&normal(5, &[7, d as i64]), &[d]));
    built.into_iter().chain([("matrix", matrix)]).collect()
}

#[test]
fn the_adjoint_is_the_transpose() {
    tch::set_num_threads(1);
    for (shape, operators) in [(&IMAGE[..], operators(&IMAGE)), (&[72], operators_of_vectors(72))] {
        let sizes: Vec<i64> = std::iter::once(2).chain(shape.iter().map(|&n| n as i64)).collect();
        for (name, a) in operators {
            let (x, y) = (normal(1, &sizes), normal(2, &[2, a.rows()]));
            assert_eq!((a.apply(&x).size(), a.adjoint(&y).size()), (vec![2, a.rows()], sizes.clone()), "{name}");
            let left = (a.apply(&x) * &y).sum(Kind::Double).double_value(&[]);
            let right = (a.adjoint(&y) * &x).sum(Kind::Double).double_value(&[]);
            assert!((left - right).abs() < 1e-12 * (1.0 + left.abs()), "{name}: {left} is not {right}");
            let matrix = matrix_of(&*a, shape, Device::Cpu);
            assert!(largest(&(x.flatten(1, -1).matmul(&matrix.tr()) - a.apply(&x))) < 1e-12, "{name}");
            if let Some(multiple) = a.gram() {
                let gram = matrix.matmul(&matrix.tr());
                assert!(largest(&(&gram - Tensor::eye(a.rows(), (Kind::Double, Device::Cpu)) * multiple)) < 1e-12, "{name}");
            }
            let one = a.apply(&x.to_kind(Kind::Float));
            assert!(one.kind() == Kind::Float && largest(&(one - a.apply(&x))) < 1e-5, "{name}");
        }
    }
}

#[test]
fn what_means_and_blurs_do_to_a_vector() {
    tch::set_num_threads(1);
    let x = normal(1, &[1, 12]);
    let by = |wanted: &str| operators_of_vectors(12).into_iter().find(|(name, _)| *name == wanted).unwrap().1;
    let mean = by("downsampling").apply(&x).double_value(&[0, 1]);
    assert!((mean - x.narrow(1, 4, 4).mean(Kind::Double).double_value(&[])).abs() < 1e-12);
    let flat = by("blur").apply(&x.ones_like());
    assert!(
        (flat.double_value(&[0, 6]) - 1.0).abs() < 1e-12 && flat.double_value(&[0, 0]) < 0.8,
        "within it keeps the mean, beyond it is 0"
    );
}

#[test]
fn what_each_does_to_an_image() {
    tch::set_num_threads(1);
    let x = normal(1, &[1, 3, 6, 4]);
    let by = |wanted: &str| operators(&IMAGE).into_iter().find(|(name, _)| *name == wanted).unwrap().1;
    assert_eq!(by("box").rows(), 3 * (24 - 6));
    let grey = by("grey").apply(&x).view([6, 4]) / 3f64.sqrt();
    assert!(largest(&(grey - x.mean_dim([1i64].as_slice(), false, None::<Kind>).view([6, 4]))) < 1e-12);
    let flat = by("blur").apply(&x.ones_like()).view([3, 6, 4]).get(0).get(3).double_value(&[2]);
    assert!(flat < 1.0 && flat > 0.8, "beyond the edges it is black: {flat}");
    let small = by("downsampling").apply(&x).view([3, 3, 2]);
    let corner = x.get(0).get(1).narrow(0, 2, 2).narrow(1, 2, 2).mean(Kind::Double).double_value(&[]);
    assert!((small.get(1).get(1).double_value(&[1]) - corner).abs() < 1e-12);
    for name in ["box", "random", "grey"] {
        let a = by(name);
        let y = normal(3, &[1, a.rows()]);
        assert!(largest(&(a.apply(&a.adjoint(&y)) - y)) < 1e-12, "{name}: its rows are orthonormal");
    }
}

#[test]
fn a_measurement_in_data_units_is_one_in_model_space() {
    tch::set_num_threads(1);
    let (slope, shift) = (127.5, 127.5);
    for (name, a) in operators(&IMAGE) {
        let pixels = normal(1, &[1, 3, 6, 4]) * 40.0 + 100.0;
        let y = a.apply(&pixels).squeeze_dim(0) + 3.0;
        let measurement = Measurement { operator: a, y, sigma: 2.55 }.in_model_space(&IMAGE, slope, shift);
        let residual = measurement.residual(&((pixels - shift) / slope), None);
        assert!(largest(&(residual - 3.0 / slope)) < 1e-12, "{name}");
        assert!((measurement.sigma - 0.02).abs() < 1e-12);
    }
}

#[test]
fn what_does_not_fit_is_refused_with_its_key() {
    let key = |spec: OperatorSpec, shape: &[usize]| match spec.build(shape, 1, Device::Cpu) {
        Err(Refusal::Fault(fault)) => fault.key,
        Err(Refusal::File(error)) => error.to_string(),
        Ok(_) => "nothing".to_owned(),
    };
    assert_eq!(key(OperatorSpec::Mask(mask::Spec::HiddenBox([5, 0, 2, 3])), &IMAGE), "mask.hidden-box");
    assert_eq!(key(OperatorSpec::Mask(mask::Spec::HiddenBox([0, 0, 6, 4])), &IMAGE), "mask");
    assert_eq!(key(OperatorSpec::Mask(mask::Spec::Random(1.0)), &IMAGE), "mask.random");
    assert_eq!(key(OperatorSpec::Mask(mask::Spec::Components(vec![0, 2])), &[2]), "mask.components");
    assert_eq!(key(OperatorSpec::Mask(mask::Spec::Components(vec![1, 0])), &[2]), "mask.components");
    assert_eq!(key(OperatorSpec::Mask(mask::Spec::Components(vec![1])), &[2]), "nothing");
    assert_eq!(key(OperatorSpec::Grey {}, &[1, 6, 4]), "grey");
    assert_eq!(key(OperatorSpec::Grey {}, &[2]), "grey");
    assert_eq!(key(OperatorSpec::Blur(blur::Spec { std: 0.0 }), &IMAGE), "blur.std");
    assert_eq!(key(OperatorSpec::Downsampling(downsampling::Spec { factor: 4 }), &IMAGE), "downsampling.factor");
    assert_eq!(key(OperatorSpec::Downsampling(downsampling::Spec { factor: 4 }), &[6]), "downsampling.factor");
    assert_eq!(key(OperatorSpec::Downsampling(downsampling::Spec { factor: 2 }), &[6]), "nothing");
    let missing = key(OperatorSpec::Matrix(matrix::Spec { file: "nowhere.npy".into() }), &[2]);
    assert!(missing.contains("nowhere.npy"), "{missing}");
}
