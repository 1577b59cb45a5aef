//! An evaluation that was stopped goes on, and ends with the same bytes.

use super::*;
use crate::run::Run;
use crate::tensor::to_vec;
use crate::testing::frame_ends;
use crate::train::Average;
use tch::Tensor;

#[test]
fn a_torn_evaluation_goes_on_and_every_example_counts() {
    tch::set_num_threads(1);
    let mixture = rotated(2, 2);
    let exact = exact(&VP, &mixture);
    let dataset = points(&mixture, 8, 1);
    let solver = SolverSpec::Heun { grid: TimeGrid::LogSnr { steps: 4 } };
    let trace = Trace::Hutchinson(Probing { law: Law::Gaussian, budget: Budget::Target { standard_error: 0.4, most: 20 } });
    let spec = Likelihood { batch: 3, solver_check: 2, ..spec(8, solver, trace) };
    let home = tempfile::tempdir().unwrap();
    let run = Run::open(home.path()).unwrap();
    let measured = |name: &str, spec: &Likelihood| {
        let model = Counting::new(&exact);
        let subject = subject(&model, &dataset, Scale::Vectors { scale: 1.0 }, 5);
        let weights = Weights { step: 7, crc32: "0".into(), average: Average::Average };
        let of = dependence(spec, 5, Some(&weights), Solved::FOREIGN);
        let mut journal = Journal::open(run.folder(), &format!("{name}.journal"), &of)?;
        let result = likelihood(spec, &subject, &mut journal, &Terminal::new(true))?;
        result.save(&mut run.product(name, of), name, &result.report(None))?;
        Ok::<_, crate::error::Error>((result, model.examples()))
    };
    let bytes = |name: &str| run.read(name).unwrap().unwrap();
    let (whole, cost) = measured("whole", &spec).unwrap();
    assert!(whole.solves() > 16, "the test needs a second round: {}", whole.headline());
    assert_eq!(whole.nats().len(), 8);
    let journal = bytes("whole.journal");
    let ends = frame_ends(&journal);
    for cut in [0, ends[0] / 2, ends[0], ends[1] + 9, ends[3], ends[5] - 1, journal.len()] {
        run.write("part.journal", &journal[..cut]).unwrap();
        let (_, rest) = measured("part", &spec).unwrap();
        assert_eq!(frame_ends(&bytes("part.journal")), ends, "cut at {cut}");
        assert!(bytes("part.npz") == bytes("whole.npz") && bytes("part.png") == bytes("whole.png"), "cut at {cut}");
        assert!((rest == cost) == (cut < ends[1]) && (rest == 0) == (cut == journal.len()), "{rest} of {cost} after a cut at {cut}");
    }
    let other_batch = Likelihood { batch: 2, ..spec.clone() };
    run.write("part.journal", &journal[..ends[2]]).unwrap();
    let apart = measured("part", &other_batch).unwrap().0.nats();
    assert!(apart.iter().zip(whole.nats()).all(|(a, b)| (a - b).abs() < 1e-10), "the batch is no setting");

    let bound = BoundSpec::Elbo { form: Form::Implicit, draws: 2 };
    let (_, cost) = measured("whole", &Likelihood { bound: Some(bound), ..spec.clone() }).unwrap();
    assert_eq!(cost, 0, "a bound is no setting of the solves");

    let error = |spec: &Likelihood| measured("whole", spec).err().unwrap().to_string();
    let message = error(&Likelihood { t_min: 2e-3, ..spec.clone() });
    assert!(message.contains("whole.journal") && message.contains("likelihood.t_min is 0.001 there, 0.002 now"), "{message}");
    let message = error(&Likelihood { trace: Trace::Exact {}, ..spec.clone() });
    assert!(message.contains("likelihood.trace.exact is nothing there, {} now"), "{message}");
    run.write("whole.journal", &[&journal[..ends[0]], &journal[ends[1]..]].concat()).unwrap();
    assert!(error(&spec).contains("does not go on as"));
}

#[test]
fn an_evaluation_of_the_field_is_one_of_the_network() {
    // The reference runs its network twice, for the drift and for the divergence; and it steps a whole batch as its hardest example.
    tch::set_num_threads(1);
    let mixture = rotated(2, 16);
    let exact = exact(&VP, &mixture);
    let dataset = points(&mixture, 32, 1);
    let mut evaluations = Vec::new();
    for control in [crate::solver::Control::PerExample, crate::solver::Control::BatchCoupled] {
        let model = Counting::new(&exact);
        let solver = SolverSpec::Rk45(crate::solver::Adaptive { control, ..crate::solver::Adaptive::new(1e-5, 1e-5) });
        let spec = Likelihood { t_min: 1e-5, ..spec(32, solver, hutchinson(1)) };
        let result = measure(&spec, &model, &dataset, Scale::Vectors { scale: 1.0 }, 1);
        let total: u32 = result.statistics().evaluations.iter().sum();
        assert_eq!(total as usize, model.examples(), "one forward pass each");
        println!("{control:?}: {} evaluations an example, {} of the reference's network", total / 32, 2 * total / 32);
        evaluations.push((total, to_vec(&Tensor::from_slice(&result.nats()))));
    }
    assert!(evaluations[0].0 <= evaluations[1].0);
}
