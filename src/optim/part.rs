//! A network in a few parts, for curves.

use tch::Tensor;

use super::Parameters;
use super::block::norm;
use crate::tensor::to_vec;

/// Names are as long as it takes for so many parts, and parts are joined until there are no more than so many.
const FEWEST: usize = 4;
const MOST: usize = 12;

/// Parameters that follow each other in the flat buffer.
pub struct Part {
    /// Its place among the parts, and its layers: `02_all_modules.8_to_11`.
    pub name: String,
    begin: i64,
    length: i64,
}

impl Part {
    /// The norm of each part of a flat buffer `[P]`, in one look at the device.
    pub fn norms(parts: &[Part], buffer: &Tensor) -> Vec<f64> {
        if parts.is_empty() {
            return Vec::new();
        }
        to_vec(&Tensor::stack(&parts.iter().map(|part| norm(&buffer.narrow(0, part.begin, part.length))).collect::<Vec<_>>(), 0))
    }
}

impl Parameters {
    /// All trainable numbers in at most twelve parts, in the buffer's order.
    pub fn parts(&self) -> Vec<Part> {
        let trainable: Vec<(&str, i64)> =
            self.named().filter(|(.., trainable)| *trainable).map(|(name, tensor, _)| (layer(name), tensor.numel() as i64)).collect();
        let deepest = trainable.iter().map(|(layer, _)| layer.split('.').count()).max().unwrap_or(1);
        let depth = (1..deepest).find(|&depth| runs(&trainable, depth).len() >= FEWEST).unwrap_or(deepest);
        let runs = runs(&trainable, depth);
        let mut begin = 0;
        let part = |(i, joined): (usize, &[(String, i64)])| {
            let length = joined.iter().map(|(_, length)| length).sum();
            begin += length;
            Part { name: format!("{:02}_{}", i + 1, joined_name(joined)), begin: begin - length, length }
        };
        runs.chunks(runs.len().div_ceil(MOST).max(1)).enumerate().map(part).collect()
    }
}

/// The layer of a parameter: its name without the last word.
fn layer(name: &str) -> &str {
    name.rsplit_once('.').map_or(name, |(layer, _)| layer)
}

/// What follows each other under one name of `depth` words, with its length.
fn runs(parameters: &[(&str, i64)], depth: usize) -> Vec<(String, i64)> {
    let mut runs: Vec<(String, i64)> = Vec::new();
    for (layer, length) in parameters {
        let name = layer.split('.').take(depth).collect::<Vec<_>>().join(".");
        match runs.last_mut() {
            Some((last, sum)) if *last == name => *sum += length,
            _ => runs.push((name, *length)),
        }
    }
    runs
}

/// From the first to the last; what both have in common is said once.
fn joined_name(joined: &[(String, i64)]) -> String {
    let (first, last) = (&joined[0].0, &joined[joined.len() - 1].0);
    if first == last {
        return first.clone();
    }
    let last = match (first.rsplit_once('.'), last.rsplit_once('.')) {
        (Some((above, _)), Some((same, own))) if above == same => own,
        _ => last,
    };
    format!("{first}_to_{last}")
}

#[cfg(test)]
mod tests {
    use tch::{Device, Kind};

    use super::*;
    use crate::optim::{Builder, Init};

    fn parameters(layers: &[&str]) -> Parameters {
        let builder = Builder::new(0, Kind::Double, Device::Cpu);
        for layer in layers {
            let builder = layer.split('.').fold(builder.clone(), |builder, word| builder.part(word));
            let _ = builder.parameter("weight", &[2], Init::Constant(2.0));
            let _ = builder.frozen("W", &[7], Init::Constant(2.0));
            let _ = builder.parameter("bias", &[1], Init::Constant(1.0));
        }
        builder.finish()
    }

    fn names(layers: &[&str]) -> Vec<String> {
        parameters(layers).parts().into_iter().map(|part| part.name).collect()
    }

    #[test]
    fn parts_are_layers_joined_until_they_are_few() {
        assert_eq!(
            names(&["in", "blocks.0.a", "blocks.0.b", "blocks.1.a", "embedding", "out"]),
            ["01_in", "02_blocks", "03_embedding", "04_out"]
        );
        assert_eq!(names(&["all.0.a", "all.0.b", "all.1"]), ["01_all.0.a", "02_all.0.b", "03_all.1"]);
        let many: Vec<String> = (0..30).flat_map(|i| [format!("all.{i}.a"), format!("all.{i}.b")]).collect();
        let many = names(&many.iter().map(String::as_str).chain(["last"]).collect::<Vec<_>>());
        assert_eq!((many.len(), &*many[0], &*many[10]), (11, "01_all.0_to_2", "11_last"), "{many:?}");
        assert!(names(&[]).is_empty());
    }

    #[test]
    fn the_parts_have_the_norm_of_the_whole() {
        tch::set_num_threads(1);
        let parameters = parameters(&["a.0", "a.1", "b", "c.0", "d", "e"]);
        let norms = Part::norms(&parameters.parts(), parameters.flat());
        assert_eq!(norms.len(), 5);
        for (norm, square) in norms.iter().zip([18.0, 9.0, 9.0, 9.0, 9.0]) {
            assert!((norm - f64::sqrt(square)).abs() < 1e-12, "{norms:?}");
        }
    }
}
