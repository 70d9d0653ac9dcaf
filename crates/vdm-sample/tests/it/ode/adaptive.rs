//! Paths.

use std::cell::Cell;
use std::convert::Infallible;
use std::io;

use vdm_core::{
    Counted, Denoiser, FromFn, GaussianMixture, Latent, LogSnr, NoiseLevel, Parameterization,
    Prediction, Scaling, Schedule,
};
use vdm_sample::ode::Pair;
use vdm_sample::solver::Statistics;
use vdm_sample::{
    AdaptiveOde, AnySolver, GridSpec, InnerProduct, NoNoise, Seed, Solution, SolveError, TimeGrid,
    prior, solve,
};

use super::fixture::{cases, mixtures};
use crate::convergence::typical;

const PAIRS: [Pair; 3] = [Pair::BogackiShampine32, Pair::DormandPrince54, Pair::PrinceDormand87];
const VP: Scaling = Scaling::VariancePreserving;
const NOISE: LogSnr = LogSnr::new(-10.0);
const DATA: LogSnr = LogSnr::new(12.0);

fn solver(method: Pair, tolerance: f64) -> AdaptiveOde {
    AdaptiveOde { method, absolute: tolerance, relative: tolerance, ..AdaptiveOde::default() }
}

fn starts(count: u64, dims: usize) -> Vec<Vec<f64>> {
    (0..count).map(|sample| prior(Seed(4), sample, dims)).collect()
}

fn distance(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max)
}

/// M72: 24 paths by another program, both ways. Going to data the errors shrink; going back they grow as
/// the data are narrower than noise, by 1/0.27 at most, and in VE units by the scale of 50.
#[test]
fn paths_agree_with_the_reference() {
    let tight = solver(Pair::PrinceDormand87, 1e-12);
    for case in cases() {
        let (from, to) =
            (LogSnr::new(case.number("logsnr_from")), LogSnr::new(case.number("logsnr_to")));
        let (noise, data) = (case.latent("z_from"), case.latent("z_to"));
        let solve = |start: &Vec<f64>, from, to| {
            tight
                .solve_each(&case.model, vec![start.clone()], from, to, case.scaling)
                .unwrap()
                .remove(0)
        };
        let there = solve(&noise, from, to);
        let back = solve(&data, to, from);
        assert!(distance(&there.latent, &data) < 1e-9, "{}: {:?}", case.fields, there.latent);
        let scale = case.number("prior_std");
        assert!(
            distance(&back.latent, &noise) < 1e-8 * scale,
            "{}: {:?}",
            case.fields,
            back.latent
        );
    }
}

/// The slope between tolerances of 1e-6 and 1e-10 of the error averaged (in logarithms) over 16
/// paths. A method of order p with an estimate of order p − 1 is proportional in the limit;
/// 0.15 is for what the loose tolerance still has of higher terms.
#[test]
#[ignore = "slow: cargo xtask test --full"]
fn errors_are_proportional_to_the_tolerance() {
    let model = &mixtures()["gm5_2d"];
    let truth = solver(Pair::PrinceDormand87, 1e-13)
        .solve_each(model, starts(16, 2), NOISE, DATA, VP)
        .unwrap();
    for method in PAIRS {
        let log_error = |tolerance| {
            let ends = solver(method, tolerance)
                .solve_each(model, starts(16, 2), NOISE, DATA, VP)
                .unwrap();
            let errors =
                ends.iter().zip(&truth).map(|(end, truth)| distance(&end.latent, &truth.latent));
            typical(errors).log10()
        };
        let (loose, tight) = (log_error(1e-6), log_error(1e-10));
        let slope = (loose - tight) / 4.0;
        assert!((slope - 1.0).abs() < 0.15, "{method:?}: {slope}");
        // No more than 10 times the tolerance itself, and no waste: no less than a thirtieth. What is carried
        // on is the higher of a pair's orders, so that it is less rather than more, 10⁻¹¹ for the order 8.
        let excess = tight + 10.0;
        assert!(excess < 1.0 && excess > -1.5, "{method:?}: 10^{tight} at a tolerance of 1e-10");
    }
}

#[test]
fn a_sample_does_not_depend_on_its_company() {
    let model = &mixtures()["gm5_2d"];
    for method in PAIRS {
        let together =
            solver(method, 1e-5).solve_each(model, starts(7, 2), NOISE, DATA, VP).unwrap();
        assert!(
            together.iter().any(|end| end.statistics.calls != together[0].statistics.calls),
            "paths that differ"
        );
        for (start, end) in starts(7, 2).into_iter().zip(together) {
            let alone =
                solver(method, 1e-5).solve_each(model, vec![start], NOISE, DATA, VP).unwrap();
            assert_eq!(alone[0], end); // every bit
        }
    }
}

/// A mixture that keeps the number of passes it was asked for.
struct Passes(GaussianMixture, Cell<usize>);

impl Denoiser<Vec<f64>> for Passes {
    type Error = Infallible;
    fn denoise(&self, z: &Vec<f64>, at: &NoiseLevel) -> Result<Prediction<Vec<f64>>, Infallible> {
        self.0.denoise(z, at)
    }
    fn denoise_each(
        &self,
        items: &[(&Vec<f64>, NoiseLevel)],
    ) -> Result<Vec<Prediction<Vec<f64>>>, Infallible> {
        self.1.set(self.1.get() + 1);
        self.0.denoise_each(items)
    }
}

/// As many passes as the slowest sample alone would need.
#[test]
fn a_stage_of_all_samples_is_one_pass() {
    let model = Passes(mixtures()["gm5_2d"].clone(), Cell::new(0));
    let ends =
        solver(Pair::DormandPrince54, 1e-5).solve_each(&model, starts(7, 2), NOISE, DATA, VP);
    let slowest = ends.unwrap().iter().map(|end| end.statistics.calls).max();
    assert_eq!(Some(model.1.get()), slowest);
}

#[test]
fn reported_calls_are_the_calls_made() {
    for method in PAIRS {
        let model = Counted::new(mixtures()["gm5_2d"].clone());
        let ends = solver(method, 1e-4).solve_each(&model, starts(5, 2), NOISE, DATA, VP).unwrap();
        assert_eq!(ends.iter().map(|end| end.statistics.calls).sum::<usize>(), model.calls());
        for end in ends {
            // Two to start; a refused step keeps its first slope, and the last step of a method that
            // is not first-same-as-last needs none for the next.
            let stages = method.calls_per_step();
            let first_known = method != Pair::PrinceDormand87;
            let calls = if first_known {
                2 + (end.statistics.accepted + end.statistics.rejected) * stages
            } else {
                2 + end.statistics.accepted * stages - 1 + end.statistics.rejected * (stages - 1)
            };
            assert_eq!(end.statistics.calls, calls, "{method:?}: {end:?}");
        }
    }
}

/// The path is solved in coordinates that all scalings share; what is left is the rounding of
/// levels, which the steep parts of the path magnify.
#[test]
fn scalings_have_one_path() {
    let model = &mixtures()["gm5_2d"];
    let solve = |scaling: Scaling| {
        let (from, to) = (scaling.level(NOISE.value()), scaling.level(DATA.value()));
        let start: Vec<f64> =
            starts(1, 2)[0].iter().map(|z| z * from.alpha.hypot(from.sigma)).collect();
        let end = solver(Pair::DormandPrince54, 1e-6).solve_each(
            model,
            vec![start],
            NOISE,
            DATA,
            scaling,
        );
        let Solution { latent, statistics, .. } = end.unwrap().remove(0);
        (latent.iter().map(|z| z / to.alpha).collect::<Vec<_>>(), statistics.accepted)
    };
    let (vp, steps) = solve(VP);
    for other in [
        Scaling::VarianceExploding,
        Scaling::StraightLine,
        Scaling::SubVariancePreserving,
        Scaling::UnitVariance { data_std: 2.0 },
    ] {
        let (z, taken) = solve(other);
        assert_eq!(taken, steps, "{other:?}");
        assert!(distance(&z, &vp) < 1e-11, "{other:?}: {z:?} and {vp:?}");
    }
}

/// Velocity of `N(mean, std²)`, finite at every level.
fn gaussian_velocity(
    mean: f64,
    std: f64,
) -> impl Fn(&f64, &NoiseLevel) -> Result<Prediction<f64>, Infallible> {
    move |z, at| {
        let away = (z - at.alpha * mean) / ((at.alpha * std).powi(2) + at.sigma.powi(2));
        let x_hat = mean + at.alpha * std * std * away;
        let value = at.alpha * at.sigma * away - at.sigma * x_hat;
        Ok(Prediction { value, of: Parameterization::Velocity })
    }
}

/// From `λ = −∞` to `∞` and back, where pure noise `z` is the datum `mean + std·z`.
#[test]
fn a_velocity_is_followed_from_pure_noise_to_clean_data() {
    let model = FromFn(gaussian_velocity(0.7, 0.4));
    let (noise, data) = (LogSnr::new(f64::NEG_INFINITY), LogSnr::new(f64::INFINITY));
    for scaling in [VP, Scaling::StraightLine, Scaling::SubVariancePreserving] {
        let tight = solver(Pair::PrinceDormand87, 1e-11);
        let ends = tight.solve_each(&model, vec![-1.3], noise, data, scaling).unwrap();
        assert!(
            (ends[0].latent - (0.7 - 1.3 * 0.4)).abs() < 1e-9,
            "{scaling:?}: {}",
            ends[0].latent
        );
        let back = tight.solve_each(&model, vec![ends[0].latent], data, noise, scaling).unwrap();
        assert!((back[0].latent + 1.3).abs() < 1e-9, "{scaling:?}: {}", back[0].latent);
    }
}

#[test]
fn single_precision_latents_are_as_good_as_their_rounding() {
    let model = &mixtures()["gm5_2d"];
    let wide = solver(Pair::DormandPrince54, 1e-5).solve_each(model, starts(3, 2), NOISE, DATA, VP);
    let narrow: Vec<Vec<f32>> =
        starts(3, 2).iter().map(|z| z.iter().map(|z| *z as f32).collect()).collect();
    let narrow = solver(Pair::DormandPrince54, 1e-5).solve_each(model, narrow, NOISE, DATA, VP);
    for (wide, narrow) in wide.unwrap().iter().zip(narrow.unwrap()) {
        let z: Vec<f64> = narrow.latent.iter().map(|z| f64::from(*z)).collect();
        // Both are within about 1e-4 of the truth, and steps may differ.
        assert!(distance(&wide.latent, &z) < 3e-4, "{:?} and {z:?}", wide.latent);
    }
}

#[test]
fn no_way_to_go_costs_nothing() {
    let model = &mixtures()["gm5_2d"];
    let stay = AdaptiveOde::default().solve_each(model, starts(2, 2), DATA, DATA, VP).unwrap();
    assert_eq!((stay[0].statistics.calls, stay[0].statistics.accepted), (0, 0));
    assert!(distance(&stay[1].latent, &starts(2, 2)[1]) < 1e-15);
    let none =
        AdaptiveOde::default().solve_each(model, Vec::<Vec<f64>>::new(), NOISE, DATA, VP).unwrap();
    assert!(none.is_empty());
}

fn failure(settings: AdaptiveOde, from: f64, to: f64, scaling: Scaling) -> SolveError<Infallible> {
    let model = &mixtures()["gm5_2d"];
    let (from, to) = (LogSnr::new(from), LogSnr::new(to));
    settings.solve_each(model, starts(2, 2), from, to, scaling).unwrap_err()
}

#[test]
fn settings_out_of_bounds_are_named() {
    let default = AdaptiveOde::default();
    for (settings, named) in [
        (AdaptiveOde { absolute: -1.0, ..default }, "absolute = -1"),
        (AdaptiveOde { relative: f64::NAN, ..default }, "relative = NaN"),
        (AdaptiveOde { absolute: f64::INFINITY, ..default }, "absolute = inf"),
        (AdaptiveOde { absolute: 0.0, ..default }, "use a finite number above 0"),
        (AdaptiveOde { max_steps: 0, ..default }, "max_steps = 0: use at least 1"),
    ] {
        let error = failure(settings, -5.0, 5.0, VP).to_string();
        assert!(error.contains(named), "{error}");
    }
    let unknown = serde_json::from_str::<AdaptiveOde>(r#"{"method": "rk4"}"#).unwrap_err();
    assert!(unknown.to_string().contains("dormand_prince_54"), "{unknown}");
    let read: AdaptiveOde = serde_json::from_str(r#"{"absolute": 1e-3}"#).unwrap();
    assert_eq!(read, AdaptiveOde { absolute: 1e-3, ..default });
}

#[test]
fn ends_that_cannot_be_reached_are_named() {
    let default = AdaptiveOde::default();
    let (noise, data) = (f64::NEG_INFINITY, f64::INFINITY);
    let no_latent = failure(default, noise, 5.0, Scaling::VarianceExploding);
    assert!(
        matches!(no_latent, SolveError::NoLatent { sigma, .. } if sigma == data),
        "{no_latent}"
    );
    let not_a_level = failure(default, f64::NAN, 5.0, VP);
    assert!(matches!(not_a_level, SolveError::NoLatent { .. }), "{not_a_level}");
    // The model predicts the image: enough at pure noise, not at clean data.
    let clean = failure(default, -5.0, data, VP);
    assert!(clean.to_string().contains("truncate the schedule"), "{clean}");
    assert!(matches!(clean, SolveError::Undetermined { of: Parameterization::Image, .. }));
    let model = &mixtures()["gm5_2d"];
    let from_noise = default.solve_each(model, starts(1, 2), LogSnr::new(noise), DATA, VP);
    assert!(from_noise.unwrap()[0].latent.iter().all(|z| z.is_finite()));
}

#[test]
fn a_run_that_cannot_go_on_says_where_it_stands() {
    let steps =
        failure(AdaptiveOde { max_steps: 3, ..solver(Pair::default(), 1e-9) }, -5.0, 5.0, VP);
    assert!(matches!(steps, SolveError::TooManySteps { sample: 0, steps: 3, .. }), "{steps}");
    let small = AdaptiveOde { absolute: 1e-300, relative: 0.0, ..AdaptiveOde::default() };
    let small = failure(small, -5.0, 5.0, VP);
    assert!(matches!(small, SolveError::StepTooSmall { sample: 0, .. }), "{small}");
    // The second sample leaves the numbers half-way.
    let poles = FromFn(|z: &f64, at: &NoiseLevel| {
        let value = if *z < 0.0 && at.log_snr > 0.0 { f64::NAN } else { 0.0 };
        Ok::<_, Infallible>(Prediction { value, of: Parameterization::Image })
    });
    let error =
        AdaptiveOde::default().solve_each(&poles, vec![1.0, -1.0], NOISE, DATA, VP).unwrap_err();
    assert!(matches!(error, SolveError::NotFinite { sample: 1, .. }), "{error}");
    let nowhere = FromFn(|_: &f64, _: &NoiseLevel| {
        Ok::<_, Infallible>(Prediction { value: f64::INFINITY, of: Parameterization::Image })
    });
    let error =
        AdaptiveOde::default().solve_each(&nowhere, vec![1.0], NOISE, DATA, VP).unwrap_err();
    assert!(matches!(error, SolveError::NotFinite { sample: 0, .. }), "{error}");
    let broken = FromFn(|_: &f64, _: &NoiseLevel| Err(io::Error::other("no device")));
    let error = AdaptiveOde::default().solve_each(&broken, vec![1.0], NOISE, DATA, VP).unwrap_err();
    assert!(matches!(error, SolveError::Model(_)), "{error}");
}

/// Between two levels it takes as many steps as it needs; from one to the next it keeps its pace, so that
/// only the first begins with a search.
#[test]
fn a_grid_stops_an_adaptive_solver_at_its_levels() {
    let model = Counted::new(mixtures()["gm5_2d"].clone());
    let run = |levels: &[f64]| {
        let grid = TimeGrid::from_log_snrs(levels.iter().copied(), VP).unwrap();
        let mut seen = Vec::new();
        let solver = solver(Pair::DormandPrince54, 1e-6);
        let start = starts(1, 2).remove(0);
        let on_step = |_: usize, _: &Vec<f64>, at: &NoiseLevel| seen.push(at.log_snr);
        let end = solve(&solver, &model, start, &grid, &mut NoNoise, on_step).unwrap();
        assert_eq!(seen, levels[1..]);
        end
    };
    let (whole, parts) = (run(&[-10.0, 12.0]), run(&[-10.0, -1.0, 1.5, 12.0]));
    assert!(distance(&whole.latent, &parts.latent) < 1e-4);
    let Statistics { accepted, rejected, calls } = parts.statistics;
    assert_eq!(calls, 2 + 1 + 1 + 6 * (accepted + rejected));
    assert_eq!(whole.statistics.calls + calls, model.calls());
    assert!(accepted >= whole.statistics.accepted && parts.level == VP.level(12.0));
}

/// Numbers, each of which is a sample.
#[derive(Debug)]
struct Samples(Vec<f64>);

impl Latent for Samples {
    fn lincomb(terms: &[(f64, &Self)]) -> Self {
        let terms: Vec<_> = terms.iter().map(|(c, z)| (*c, &z.0)).collect();
        Self(Vec::lincomb(&terms))
    }
}

impl InnerProduct for Samples {
    fn dot(&self, other: &Self) -> f64 {
        self.0.dot(&other.0)
    }
    fn len(&self) -> usize {
        self.0.len()
    }
    fn into_samples(self) -> Vec<Self> {
        self.0.into_iter().map(|z| Self(vec![z])).collect()
    }
    fn from_samples(samples: Vec<Self>) -> Self {
        Self(samples.into_iter().flat_map(|z| z.0).collect())
    }
}

/// Both adaptive solvers, by name and through one entry.
#[test]
fn samples_of_one_latent_take_steps_of_their_own() {
    let velocity = gaussian_velocity(0.7, 0.05);
    let model = FromFn(|z: &Samples, at: &NoiseLevel| {
        let values: Result<Vec<_>, Infallible> =
            z.0.iter().map(|z| velocity(z, at).map(|prediction| prediction.value)).collect();
        Ok::<_, Infallible>(Prediction { value: Samples(values?), of: Parameterization::Velocity })
    });
    let schedule = Schedule::linear(8.0, -8.0).unwrap();
    for name in ["adaptive_ode", "dpm_adaptive"] {
        let method = name.parse::<AnySolver>().unwrap().along(GridSpec::UNIFORM_TIME, 5).unwrap();
        let run = |start: Vec<f64>| {
            let start = Samples(start);
            method.sample(&model, start, &schedule, VP, &mut NoNoise, |_, _, _| ()).unwrap()
        };
        let together = run(vec![-1.3, 0.2, 6.0]);
        let alone: Vec<_> = [-1.3, 0.2, 6.0].map(|start| run(vec![start])).into();
        let ends: Vec<f64> = alone.iter().map(|end| end.latent.0[0]).collect();
        assert_eq!(together.latent.0, ends, "{name}"); // every bit
        let calls: Vec<usize> = alone.iter().map(|end| end.statistics.calls).collect();
        assert_eq!(together.statistics.calls, calls.iter().sum::<usize>(), "{name}");
        // A grey level is a tolerance so loose that its shortest run suits all three.
        assert!(name == "dpm_adaptive" || calls[0] != calls[2], "{name}: all took {calls:?}");
    }
}
