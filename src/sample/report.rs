//! What was drawn: in memory, as pictures, and on disk.

use std::collections::BTreeMap;

use image::RgbImage;
use serde::Serialize;
use statrs::distribution::{Beta, ContinuousCDF as _};
use statrs::statistics::Statistics as _;
use tch::{Device, Kind, Tensor};

use super::f32s;
use super::rows::{Rows, first_two};
use crate::error::Result;
use crate::plot;
use crate::run::log::Points;
use crate::run::{Npz, Product, TRAJECTORY};
use crate::solver::{Cost, Statistics};
use crate::space::Scale;
use crate::tensor::{select, to_vec};

/// Images in a row of a class, and in a picture of rows.
const MOST_IN_A_ROW: usize = 16;
const MOST_SHOWN: usize = 400;

/// Samples in model space, on the CPU.
pub struct Samples {
    /// [N, ...], f32.
    pub x: Tensor,
    pub statistics: Statistics,
    pub seconds: f64,
    pub trajectory: Option<OnTheWay>,
    pub seen: Option<Seen>,
    pub rows: Option<Rows>,
    /// The class that each was given.
    pub classes: Option<Vec<usize>>,
    pub accuracy: Option<Accuracy>,
    /// Where their way down began, if that is not t = 1.
    pub horizon: Option<f64>,
}

/// How many of the samples a classifier takes for what they were given.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Accuracy {
    pub share: f64,
    /// Of 95 %, exact for independent samples (Clopper & Pearson 1934).
    pub interval: [f64; 2],
}

impl Accuracy {
    /// Of `right` among `count` samples.
    pub fn of(right: usize, count: usize) -> Accuracy {
        let (k, n) = (right as f64, count as f64);
        let quantile = |a: f64, b: f64, p: f64| Beta::new(a, b).map_or(f64::NAN, |law| law.inverse_cdf(p));
        let least = if right == 0 { 0.0 } else { quantile(k, n - k + 1.0, 0.025) };
        let most = if right == count { 1.0 } else { quantile(k + 1.0, n - k, 0.975) };
        Accuracy { share: k / n, interval: [least, most] }
    }
}

/// What the samples had to fit, in the data's units.
pub struct Seen {
    /// y `[M]`, f64.
    pub y: Tensor,
    /// The example nearest to 0 that would give y, [1, ...], f64, where A Aᵀ is a multiple of the identity; else Aᵀ y.
    pub back: Tensor,
    /// The example that was measured [1, ...], where it is known, f32.
    pub example: Option<Tensor>,
}

impl Seen {
    pub fn shallow_clone(&self) -> Seen {
        let Seen { y, back, example } = self;
        Seen { y: y.shallow_clone(), back: back.shallow_clone(), example: example.as_ref().map(Tensor::shallow_clone) }
    }
}

/// The samples at requested times, before the last denoise; on the CPU.
pub struct OnTheWay {
    /// [T, N, ...] in model space, f32.
    pub states: Tensor,
    /// [T, N], f64: the times of these states. With noise, the first of the solver's times that are as far as the requested ones.
    pub times: Tensor,
}

/// Samples for people.
pub struct Pictures {
    pub samples: RgbImage,
    /// On their way.
    pub film: Option<RgbImage>,
}

/// `samples/<name>.json`.
#[derive(Serialize)]
pub struct Report<'a, P> {
    pub count: usize,
    pub seconds: f64,
    /// Of a sample.
    #[serde(flatten)]
    pub cost: Cost,
    /// Of samples that were given classes, where there is a classifier.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub accuracy: Option<Accuracy>,
    /// Where their way down began, if that is not t = 1: a solver that divides by the signal begins where there is some.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub horizon: Option<f64>,
    /// The table of the experiment.
    pub protocol: &'a P,
}

impl Samples {
    /// None, without anything beside.
    pub(crate) fn bare() -> Samples {
        let x = Tensor::zeros([0], (Kind::Float, Device::Cpu));
        let (statistics, seconds) = (Statistics::default(), 0.0);
        Samples { x, statistics, seconds, trajectory: None, seen: None, rows: None, classes: None, accuracy: None, horizon: None }
    }

    /// Images as a grid, vectors as a scatter plot of their first two components beside `data` [M, D] in data units; rows as theirs.
    pub fn picture(&self, scale: Scale, data: &Tensor) -> RgbImage {
        let x = scale.to_data(&self.x);
        if let Some(rows) = &self.rows {
            return rows.picture(&x);
        }
        match x.size()[..] {
            [_, c, h, w] => {
                let rows = self.rows_of_classes();
                let x = match &rows {
                    Some(rows) => select(&x, &rows.concat()),
                    None => Tensor::cat(&[self.before(), x], 0),
                };
                let shown = if rows.is_some() { x.size()[0] } else { x.size()[0].min(100) };
                let pixels: Vec<u8> = Vec::try_from(x.narrow(0, 0, shown).contiguous().view(-1)).expect("pixels are bytes");
                let shape = [shown as usize, c as usize, h as usize, w as usize];
                rows.map_or_else(|| plot::grid(&pixels, &shape), |rows| plot::strips(&pixels, &shape, rows[0].len()))
            }
            _ => {
                let note = format!("{} samples, {:.0} evaluations each", x.size()[0], self.statistics.mean_evaluations());
                plot::scatter(&first_two(data), &first_two(&x), &note)
            }
        }
    }

    /// What they add to the curves, with these pictures, at this step of the weights: evaluations of a sample, and the share of a classifier.
    pub fn points(&self, step: u64, Pictures { samples, film }: Pictures) -> Points {
        let mut scalars = vec![("samples/evaluations".into(), self.statistics.mean_evaluations())];
        scalars.extend(self.accuracy.map(|accuracy| ("samples/accuracy".into(), accuracy.share)));
        let film = film.map(|film| ("samples/trajectory".into(), film));
        let pictures = std::iter::once(("samples".into(), samples)).chain(film).collect();
        Points { group: "samples", step, scalars, pictures, ..Points::default() }
    }

    /// The samples that a picture shows with a row for each class: as many of each.
    fn rows_of_classes(&self) -> Option<Vec<Vec<usize>>> {
        let classes = self.classes.as_ref()?;
        let mut rows = BTreeMap::<usize, Vec<usize>>::new();
        classes.iter().enumerate().for_each(|(i, class)| rows.entry(*class).or_default().push(i));
        let shortest = rows.values().map(Vec::len).min().filter(|_| self.seen.is_none())?;
        let most = (MOST_SHOWN / rows.len()).clamp(1, MOST_IN_A_ROW).min(shortest);
        Some(rows.into_values().map(|row| row[..most].to_vec()).collect())
    }

    /// The images that come before the samples in a grid: the example that was measured, and what its measurement shows of it.
    fn before(&self) -> Tensor {
        let none = || self.x.narrow(0, 0, 0).to_kind(Kind::Uint8);
        self.seen.as_ref().map_or_else(none, |Seen { back, example, .. }| {
            let pixels = |x: &Tensor| x.round().clamp(0.0, 255.0).to_kind(Kind::Uint8).to_device(Device::Cpu);
            Tensor::cat(&example.iter().map(pixels).chain([pixels(back)]).collect::<Vec<_>>(), 0)
        })
    }

    /// Samples on their way, where that is known: a row for each image with a column for each time, or a scatter plot for each time.
    pub fn film(&self, scale: Scale) -> Option<RgbImage> {
        let OnTheWay { states, times } = self.trajectory.as_ref()?;
        let x = scale.to_data(states);
        Some(match x.size()[..] {
            [t, n, c, h, w] => {
                let shown = n.min(10);
                let pixels = x.narrow(1, 0, shown).transpose(0, 1).contiguous().view(-1);
                let pixels: Vec<u8> = Vec::try_from(pixels).expect("pixels are bytes");
                plot::strips(&pixels, &[(shown * t) as usize, c as usize, h as usize, w as usize], t as usize)
            }
            _ => {
                let title = |j| format!("t = {:.3}", to_vec(&times.get(j)).mean());
                plot::scatters(&(0..x.size()[0]).map(|j| (title(j), first_two(&x.get(j)))).collect::<Vec<_>>())
            }
        })
    }

    /// Writes `<name>.npz`, `.png` and `.json` of a product; with a trajectory `<name>-trajectory.png`, too.
    ///
    /// The archive holds `samples` (images as u8 [N, H, W, C], vectors as f32 [N, D], in data units) and, per sample, `evaluations`,
    /// `accepted` and `rejected` steps. A trajectory of T times is `trajectory` (f32 [T, N, C, H, W] or [T, N, D], in model space) and
    /// `trajectory_t` (f64 [T, N]). Samples that fit a measurement come with it, `measurement` (f64 `[M]`), and with `measured_example`
    /// where that is known (f32 [1, C, H, W] or [1, D]), in data units. Samples in rows come with `row` and `begins_at`, when the row begins;
    /// those that were given classes with `classes` (u64 `[N]`).
    pub fn save(&self, product: &mut Product, name: &str, scale: Scale, protocol: &impl Serialize, pictures: &Pictures) -> Result<()> {
        let mut archive = Npz::new();
        let x = scale.to_data(&self.x);
        match x.size()[..] {
            [n, c, h, w] => {
                let pixels = Vec::<u8>::try_from(x.permute([0, 2, 3, 1]).contiguous().view(-1)).expect("pixels are bytes");
                archive.add("samples", &[n, h, w, c].map(|n| n as usize), &pixels);
            }
            _ => archive.add("samples", &shape(&x), &f32s(&x)),
        }
        let Statistics { evaluations, accepted, rejected } = &self.statistics;
        for (key, counts) in [("evaluations", evaluations), ("accepted", accepted), ("rejected", rejected)] {
            archive.column(key, counts);
        }
        if let Some(way) = &self.trajectory {
            archive.add("trajectory", &shape(&way.states), &f32s(&way.states));
            archive.add("trajectory_t", &shape(&way.times), &to_vec(&way.times));
        }
        if let Some(film) = &pictures.film {
            product.write(&format!("{name}{TRAJECTORY}"), &plot::png(film))?;
        }
        if let Some(classes) = &self.classes {
            archive.column("classes", &classes.iter().map(|&class| class as u64).collect::<Vec<_>>());
        }
        if let Some(Seen { y, example, .. }) = &self.seen {
            archive.column("measurement", &to_vec(y));
            example.iter().for_each(|example| archive.add("measured_example", &shape(example), &f32s(example)));
        }
        if let Some(rows) = &self.rows {
            rows.save(self.statistics.len(), &mut archive);
        }
        product.write(&format!("{name}.npz"), &archive.finish())?;
        product.write(&format!("{name}.png"), &plot::png(&pictures.samples))?;
        let report = Report {
            count: self.statistics.len(),
            seconds: self.seconds,
            cost: self.statistics.cost(),
            accuracy: self.accuracy,
            horizon: self.horizon,
            protocol,
        };
        product.write_json(&format!("{name}.json"), &report)
    }
}

fn shape(x: &Tensor) -> Vec<usize> {
    x.size().iter().map(|&n| n as usize).collect()
}
