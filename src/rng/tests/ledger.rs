//! A ledger of all that a run draws: no (seed, purpose, index, draw) serves twice.

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::{Mutex, MutexGuard};

use crate::experiment::{self, Override};
use crate::phase::phases;
use crate::rng::Purpose;
use crate::run::Run;
use crate::run::log::Log;
use crate::session::{Machine, Session};

/// What was drawn from the seeds that a test has opened and from those derived of them. Other tests draw meanwhile from seeds of their own.
#[derive(Default)]
struct Ledger {
    /// The seeds by their origin.
    seeds: HashMap<u64, String>,
    seen: HashSet<(u64, u64, u64, u64)>,
    /// (origin of the seed, purpose) of what was drawn, and of what was drawn again.
    purposes: HashSet<(String, String)>,
    again: HashSet<(String, String)>,
}

static LEDGER: Mutex<Option<Ledger>> = Mutex::new(None);

fn ledger() -> MutexGuard<'static, Option<Ledger>> {
    LEDGER.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// Draws are about to be made.
pub fn used(seed: u64, purpose: Purpose, places: impl IntoIterator<Item = (u64, u64)>) {
    let mut ledger = ledger();
    let Some(Ledger { seeds, seen, purposes, again }) = ledger.as_mut() else { return };
    let Some(origin) = seeds.get(&seed) else { return };
    let entry = (origin.clone(), format!("{purpose:?}"));
    for (index, draw) in places {
        if !seen.insert((seed, purpose as u64, index, draw)) {
            again.insert(entry.clone());
        }
    }
    purposes.insert(entry);
}

/// A seed was derived from another.
pub fn derived(seed: u64, purpose: Purpose, index: u64, derived: u64) {
    let mut ledger = ledger();
    let Some(Ledger { seeds, again, .. }) = ledger.as_mut() else { return };
    let Some(origin) = seeds.get(&seed) else { return };
    let origin = format!("{origin}, {purpose:?} {index}");
    if seeds.insert(derived, origin.clone()).is_some_and(|other| other != origin) {
        again.insert((origin, "a seed".into()));
    }
}

/// Every phase of an experiment of this repository, with these settings, in a folder of its own: what it drew.
fn drawn(name: &str, seed: u64, home: &Path, settings: &[&str]) -> Ledger {
    *ledger() = Some(Ledger { seeds: HashMap::from([(seed, "run".into())]), ..Ledger::default() });
    let settings: Vec<Override> = settings.iter().map(|setting| (*setting).into()).chain([format!("seed={seed}").into()]).collect();
    let loaded = experiment::load(Path::new(name), &settings).unwrap();
    let session = Session::new(&loaded, Machine { threads: Some(1), ..Machine::default() });
    let run = Run::open(home).unwrap();
    let mut log = Log::open(&run, String::new()).unwrap();
    assert!(phases(session.plan()).iter().all(|phase| phase.run(&session, &run, &mut log).unwrap().worked));
    ledger().take().unwrap()
}

/// Purposes by the origin of their seed.
fn entries(purposes: &[(&str, &[&str])]) -> HashSet<(String, String)> {
    purposes.iter().flat_map(|(origin, purposes)| purposes.iter().map(|purpose| (origin.to_string(), purpose.to_string()))).collect()
}

/// An IDX file of n images of 8 x 8.
fn idx(n: u32) -> Vec<u8> {
    let head = [2051, n, 8, 8].map(u32::to_be_bytes).concat();
    head.into_iter().chain((0..n * 64).map(|i| (37 * i % 251) as u8)).collect()
}

#[test]
fn no_random_number_is_used_twice() {
    // Vectors: sliced objective, predictor and corrector, two rounds of probes.
    let home = tempfile::tempdir().unwrap();
    let vectors = [
        "data.checkerboard={train=50,test=10,scale=2.0}",
        "network.mlp={width=8,depth=1,input='plain',embedding={fourier={scale=0.5}}}",
        "train.steps=30",
        "train.batch=8",
        "train.objective={sliced={projections=2,law='rademacher',variance_reduced=false}}",
        "sample.count=5",
        "sample.batch=2",
        "sample.solver={predictor-corrector={steps=8,predictor='euler-maruyama',corrector={langevin={steps=1,snr=0.1,norms='batch',alpha='one'}}}}",
        "likelihood.count=5",
        "likelihood.batch=3",
        "likelihood.solver={heun={grid={uniform={steps=3}}}}",
        "likelihood.trace={hutchinson={law='gaussian',target_standard_error=1e-9,max_probes=8}}",
    ];
    let ledger = drawn("experiments/quickstart.toml", 0x5EED_0001, home.path(), &vectors);
    // A set that is made up is made up alike whenever it is opened; more probes are for the same points.
    assert_eq!(ledger.again, entries(&[("run", &["Dequantise"]), ("run, Data 0", &["Data"]), ("run, Data 1", &["Data"])]));
    let own = ["Init", "Order", "Augment", "Time", "Noise", "Projection", "Prior", "Brownian", "Dequantise", "Probe"];
    assert_eq!(ledger.purposes, entries(&[("run", &own), ("run, Data 0", &["Data"]), ("run, Data 1", &["Data"])]));

    // Families without a process: latent variables of training, of samples and of densities, and what the steps down of a hierarchy draw.
    let vae = "vae={latent=2,width=8,depth=1,decoder='gaussian'}";
    let hierarchy = "hierarchical_vae.diffusion={levels=4,width=8,depth=1,beta={first=0.01,last=0.9,learnt=true}}";
    for (file, seed, family, of_steps) in
        [("vae", 0x5EED_0005, vae, &[][..]), ("nonequilibrium_learnt", 0x5EED_0006, hierarchy, &["StepDown"][..])]
    {
        let home = tempfile::tempdir().unwrap();
        let settings = [
            "data.checkerboard={train=50,test=10,scale=2.0}",
            family,
            "train.steps=20",
            "train.batch=8",
            "draw.count=5",
            "draw.batch=2",
            "density.count=5",
            "density.batch=3",
            "density.draws=4",
        ];
        let ledger = drawn(&format!("experiments/ancestors/{file}.toml"), seed, home.path(), &settings);
        assert_eq!(ledger.again, entries(&[("run, Data 0", &["Data"]), ("run, Data 1", &["Data"])]));
        let own = [&["Init", "Order", "Augment", "Latent", "Prior"], of_steps, &["Decoder", "Dequantise", "Importance"]].concat();
        assert_eq!(ledger.purposes, entries(&[("run", &own), ("run, Data 0", &["Data"]), ("run, Data 1", &["Data"])]));
    }

    // A measurement, and particles.
    let home = tempfile::tempdir().unwrap();
    let particles = [
        "sample.count=5",
        "sample.batch=2",
        "sample.solver={dpm-solver-pp={order=1,grid={log-snr={steps=6}}}}",
        "sample.measurement.method={particles={count=4,data_std=1.0}}",
        "sample.measurement.operator={mask={random=0.5}}",
        "likelihood.count=3",
    ];
    let ledger = drawn("experiments/posterior_mixture.toml", 0x5EED_0007, home.path(), &particles);
    let data: [(&str, &[&str]); 2] = [("run, Data 0", &["Data"]), ("run, Data 1", &["Data"])];
    let twice = [&data[..], &[("run", &["Measurement"][..])]].concat();
    assert_eq!(ledger.again, entries(&twice));
    let own = ["Prior", "Brownian", "Resampling", "Measurement", "Dequantise"];
    assert_eq!(ledger.purposes, entries(&[&data[..], &[("run", &own[..])]].concat()));

    // Images: flips, dropout, an adaptive sampler, a law of dequantisation, a bound.
    let files = tempfile::tempdir().unwrap();
    let file = |n: u32| {
        let path = files.path().join(format!("{n}-images"));
        std::fs::write(&path, idx(n)).unwrap();
        path.display().to_string()
    };
    let images = [
        &format!("data.idx={{train='{}',test='{}',pad=0,range=[-1,1],flip=true,dequantise=true}}", file(16), file(4)),
        "network.ncsnpp.channels=8",
        "network.ncsnpp.multipliers=[1,2]",
        "network.ncsnpp.attention=[4]",
        "network.ncsnpp.dropout=0.3",
        "train.steps=5",
        "train.batch=5",
        "analytic_variance={levels=30,examples=3,batch=2}",
        "sample.count=3",
        "sample.batch=2",
        "sample.solver={adaptive-sde={rtol=0.5,atol=0.2}}",
        "dequantisation={variational={steps=3,batch=4,lr=1e-3,clip=1.0,t_min=1e-3,layers=2,channels=4}}",
        "likelihood.count=3",
        "likelihood.batch=2",
        "likelihood.t_min=1e-3",
        "likelihood.solver={heun={grid={uniform={steps=2}}}}",
        "likelihood.trace={hutch-pp={law='rademacher',probes=6}}",
        "likelihood.dequantisation={variational={draws=2}}",
    ];
    let own = ["Init", "Order", "Augment", "Time", "Noise", "Dropout", "Prior", "Brownian", "Dequantise", "Encoder", "Probe", "Sketch"];
    for (i, bound, of_bound) in [
        (0, "elbo={form='sliced',draws=4}", &["Time", "Noise", "Probe"][..]),
        (1, "vlb={levels={grid={log-snr={steps=3}}},variance='analytic',draws=2}", &["Noise"]),
        (2, "iwae={levels={grid={log-snr={steps=3}}},variance='beta',paths=2}", &["Noise"]),
    ] {
        let home = tempfile::tempdir().unwrap();
        let bound = format!("likelihood.bound={{{bound}}}");
        let ledger = drawn("experiments/vp_fashion.toml", 0x5EED_0002 + i, home.path(), &[&images[..], &[bound.as_str()]].concat());
        // A bound is one of the same points; the dequantiser is made anew for its trained weights to be read.
        assert_eq!(ledger.again, entries(&[("run", &["Dequantise"]), ("run, Dequantiser 0", &["Init"])]), "{bound}");
        let training = ["Order", "Augment", "Prior", "Noise", "Time"];
        let origins: [(&str, &[&str]); 5] = [
            ("run", &own),
            ("run, AnalyticVariance 0", &["Order", "Augment", "Noise"]),
            ("run, Dequantiser 0", &["Init"]),
            ("run, Dequantiser 1", &training),
            ("run, Bound 0", of_bound),
        ];
        assert_eq!(ledger.purposes, entries(&origins), "{bound}");
    }
}
