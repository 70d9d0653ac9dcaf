//! Encoding and decoding.

use std::convert::Infallible;

use vdm_core::{FromFn, LogSnr, NoiseLevel, Parameterization, Prediction, Scaling, Schedule};
use vdm_sample::inversion::{DdimInversion, InversionError};
use vdm_sample::ode::Pair;
use vdm_sample::{AdaptiveOde, SolveError, TimeGrid};

use super::fixture::mixtures;

fn grid(steps: usize, scaling: Scaling) -> TimeGrid {
    let schedule = Schedule::cosine(8.0, -8.0).unwrap();
    TimeGrid::uniform_log_snr(steps, &schedule, scaling).unwrap()
}

const X: [f64; 2] = [1.2, 1.9];

/// Slope of the log error of `z_1` and of the round trip over four halvings, against the adaptive
/// solver. First order by construction; 0.15 for what the longest step of 0.16 in λ adds.
#[test]
fn plain_inversion_is_first_order() {
    let model = &mixtures()["gm5_2d"];
    for scaling in [Scaling::VariancePreserving, Scaling::VarianceExploding, Scaling::StraightLine]
    {
        let tight = AdaptiveOde {
            method: Pair::PrinceDormand87,
            absolute: 1e-12,
            ..AdaptiveOde::default()
        };
        let tight = AdaptiveOde { relative: 1e-12, ..tight };
        let (data, noise) = (LogSnr::new(8.0), LogSnr::new(-8.0));
        let truth = tight.solve_each(model, vec![X.to_vec()], data, noise, scaling).unwrap();
        let errors = |steps| {
            let trip =
                DdimInversion::default().round_trip(model, X.to_vec(), &grid(steps, scaling));
            let trip = trip.unwrap();
            let encoded = trip.encoded.iter().zip(&truth[0].latent).map(|(a, b)| (a - b).powi(2));
            [encoded.sum::<f64>().sqrt(), trip.rms_error]
        };
        let (coarse, fine) = (errors(100), errors(1600));
        for (coarse, fine) in coarse.into_iter().zip(fine) {
            let slope = (coarse / fine).log2() / 4.0;
            assert!((slope - 1.0).abs() < 0.15, "{scaling:?}: {slope}, {coarse} to {fine}");
        }
    }
}

/// With refinements the sampler is undone exactly, on a coarse grid too: what 30 of them leave is
/// rounding, magnified by the growth of the path.
#[test]
fn refined_inversion_undoes_the_sampler() {
    let model = &mixtures()["gm5_2d"];
    let error = |refinements| {
        let inversion = DdimInversion { refinements };
        let coarse = grid(40, Scaling::VariancePreserving);
        inversion.round_trip(model, X.to_vec(), &coarse).unwrap().rms_error
    };
    let (plain, once, many) = (error(0), error(2), error(30));
    assert!(once < 0.2 * plain && many < 1e-10, "{plain:e} {once:e} {many:e}");
}

#[test]
fn adaptive_round_trips_end_within_the_tolerance() {
    let model = &mixtures()["gm5_2d"];
    let (data, noise) = (LogSnr::new(12.0), LogSnr::new(-9.0));
    for tolerance in [1e-4, 1e-7] {
        let solver =
            AdaptiveOde { absolute: tolerance, relative: tolerance, ..AdaptiveOde::default() };
        let scaling = Scaling::VarianceExploding;
        let trips = solver.round_trip(model, vec![X.to_vec()], data, noise, scaling).unwrap();
        // The errors of some 20 steps there and back.
        assert!(trips[0].rms_error < 30.0 * tolerance, "{trips:?}");
        assert!(trips[0].encoded[0].abs() > 1.0, "in VE units: {trips:?}");
    }
}

/// Few steps are too long for the refinements to contract: an error, where each would be further off than
/// the last, and never a number that no latent has.
#[test]
fn steps_too_long_to_be_undone_are_refused() {
    let model = &mixtures()["gm5_2d"];
    let mut refused = 0;
    for steps in [1, 2, 3, 5, 8, 12, 20, 40, 80] {
        for refinements in [0, 1, 2, 5, 30, 100] {
            let inversion = DdimInversion { refinements };
            let coarse = grid(steps, Scaling::VariancePreserving);
            match inversion.encode(model, X.to_vec(), &coarse) {
                Ok(z) => assert!(z.iter().all(|z| z.abs() < 1e3), "{steps} {refinements}: {z:?}"),
                Err(error) => {
                    refused += 1;
                    assert!(steps < 40, "{steps} {refinements}: {error}");
                    let error = error.to_string();
                    assert!(error.contains("use a grid of more steps"), "{error}");
                }
            }
        }
    }
    let five = grid(5, Scaling::VariancePreserving);
    let many = DdimInversion { refinements: 100 }.encode(model, X.to_vec(), &five);
    assert!(
        matches!(many, Err(InversionError::Diverged { .. })) && refused > 5,
        "{refused}: {many:?}"
    );
}

#[test]
fn ends_without_noise_or_image_are_refused() {
    let model = &mixtures()["gm5_2d"];
    let clean = grid(5, Scaling::VariancePreserving).to_clean();
    let refused = DdimInversion::default().encode(model, X.to_vec(), &clean).unwrap_err();
    assert!(matches!(refused, InversionError::Clean), "{refused}");
    let endless =
        TimeGrid::from_log_snrs([f64::NEG_INFINITY, -3.0, 0.0, 5.0], Scaling::VariancePreserving)
            .unwrap();
    // An image is all that pure noise is asked for, and only by refinements.
    for refinements in [0, 2] {
        let end = DdimInversion { refinements }.encode(model, X.to_vec(), &endless).unwrap();
        assert!(end.iter().all(|z| z.is_finite() && z.abs() < 5.0), "{end:?}");
    }
    let noise = FromFn(|z: &Vec<f64>, _: &NoiseLevel| {
        Ok::<_, Infallible>(Prediction { value: z.clone(), of: Parameterization::Noise })
    });
    assert!(DdimInversion::default().encode(&noise, X.to_vec(), &endless).is_ok());
    let refused = DdimInversion { refinements: 1 }.encode(&noise, X.to_vec(), &endless);
    assert!(
        matches!(refused, Err(InversionError::Solve(SolveError::Undetermined { .. }))),
        "{refused:?}"
    );
}
