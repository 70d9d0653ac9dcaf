//! Which preset suits data that come without one, and what the clean end of a schedule costs them.

use std::fmt;

use anyhow::Result;
use vdm_core::likelihood::Discretized;
use vdm_core::{LogSnr, NoiseSchedule, Schedule};
use vdm_data::{Dataset, Shape};
use vdm_torch::diffusion::{Part, ScheduleTraining};
use vdm_torch::{AnyModel, RunConfig};

/// What reconstruction may cost, in bits per dimension: as much as that of 256 values where VDM's schedule
/// ends, at log-SNR 13.3.
const NEGLIGIBLE: f64 = 0.0105;

/// How far beyond what suits the data a clean end may lie: there is nothing to learn at levels where every
/// value is certain already.
const BEYOND: f64 = 1.0;

/// The preset for items of a shape. The U-Net of `mnist` takes images of any size.
pub(crate) fn for_shape(shape: Shape) -> &'static str {
    let Shape { channels, height, width } = shape;
    let folds = height % 4 == 0 && width % 4 == 0;
    match (channels, height * width) {
        _ if shape.dims() <= 16 => "swirl",
        (1, ..=256) => "digits",
        (3, _) if folds => "cifar10-small",
        _ => "mnist",
    }
}

/// The clean end for data of so many values, if `present` does not suit them.
pub(crate) fn clean_end(values: u16, present: f64) -> Result<Option<f64>> {
    let suits = least_clean_end(values)?;
    Ok((!(suits..=suits + BEYOND).contains(&present)).then_some(suits))
}

/// The noisiest level, to a tenth, at which reconstruction costs next to nothing.
fn least_clean_end(values: u16) -> Result<f64> {
    let code = Discretized::new(values)?;
    // Half a cell is 1/values and the noise e^(−λ/2): from where they are alike to where half a cell has twelve
    // standard deviations.
    let tenths = |log_snr: f64| (log_snr * 10.0).ceil() as i32;
    let alike = 2.0 * f64::from(values).ln();
    let found = (tenths(alike)..tenths(alike + 5.0))
        .map(|tenth| f64::from(tenth) / 10.0)
        .find(|end| bits(code.reconstruction(values / 2, LogSnr::new(*end))) <= NEGLIGIBLE);
    Ok(found.unwrap_or(alike + 5.0))
}

fn bits(nats: f64) -> f64 {
    nats / std::f64::consts::LN_2
}

/// A schedule that ends where values of the data cannot be told apart.
#[derive(Debug, PartialEq)]
pub(crate) struct EndsEarly {
    /// Where it ends.
    end: f64,
    /// Values the data take.
    values: u16,
    /// What reconstruction costs on the training items, in bits per dimension.
    cost: f64,
    /// The option that mends it, for a shell.
    remedy: String,
}

impl EndsEarly {
    /// Of a configuration with these data; [`None`] for a schedule that suits them or will learn to, and for a model without one.
    pub(crate) fn find(config: &RunConfig<AnyModel>, data: &Dataset) -> Result<Option<Self>> {
        let AnyModel::Diffusion(model) = &config.model else { return Ok(None) };
        if let ScheduleTraining::Learned(learned) = &model.objective.schedule
            && learned.ends == Part::Learned
        {
            return Ok(None);
        }
        let schedule = &model.diffusion.schedule;
        let end = schedule.range().max();
        let cost = reconstruction(data, end)?;
        if cost <= 5.0 * NEGLIGIBLE {
            return Ok(None);
        }
        let (values, suits) = (data.values, least_clean_end(data.values)?);
        let mut longer = serde_json::to_value(schedule)?;
        let known = longer.get_mut("log_snr_max").map(|end| *end = suits.into()).is_some();
        let longer: Result<Schedule, _> = serde_json::from_value(longer);
        let can_be_set = known && longer.is_ok_and(|longer| longer.range().max() == suits);
        let remedy = if can_be_set {
            format!("--set diffusion.schedule.log_snr_max={suits}")
        } else {
            let line = serde_json::json!({
                "kind": "linear", "log_snr_max": suits, "log_snr_min": schedule.range().min()
            });
            format!("--set 'diffusion.schedule={line}'")
        };
        Ok(Some(Self { end, values, cost, remedy }))
    }
}

impl fmt::Display for EndsEarly {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { end, values, cost, remedy } = self;
        write!(
            f,
            "the schedule ends at log-SNR {end}, too noisy to tell {values} values apart: reconstruction \
             will cost {cost:.2} bits/dim, whatever is learned; {remedy} makes that {NEGLIGIBLE:.2}"
        )
    }
}

/// The reconstruction term on the training items, in bits per dimension.
fn reconstruction(data: &Dataset, end: f64) -> Result<f64> {
    let code = Discretized::new(data.values)?;
    let mut counts = [0_u64; 256];
    data.train.pixels().iter().for_each(|pixel| counts[usize::from(*pixel)] += 1);
    let total: f64 = (0..data.values)
        .zip(counts)
        .filter(|(_, count)| *count > 0)
        .map(|(k, count)| count as f64 * code.reconstruction(k, LogSnr::new(end)))
        .sum();
    Ok(bits(total / data.train.pixels().len() as f64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_suit_the_presets_own_data() {
        // The presets end at 8.5 and 13.3.
        assert_eq!(clean_end(17, 8.5).unwrap(), None);
        assert_eq!(clean_end(256, 13.3).unwrap(), None);
        let fine = clean_end(256, 8.5).unwrap().unwrap();
        let coarse = clean_end(2, 13.3).unwrap().unwrap();
        assert!(fine == 13.3 && (2.0..5.0).contains(&coarse), "{fine}, {coarse}");
    }

    #[test]
    fn every_number_of_values_has_an_end_that_costs_next_to_nothing() {
        for values in [2, 3, 5, 17, 64, 100, 255, 256] {
            let end = least_clean_end(values).unwrap();
            let cost = |end| {
                let code = Discretized::new(values).unwrap();
                bits(code.reconstruction(values / 2, LogSnr::new(end)))
            };
            assert!(cost(end) <= NEGLIGIBLE && cost(end - 0.2) > NEGLIGIBLE, "{values}: {end}");
        }
    }

    #[test]
    fn shapes_have_presets() {
        let preset = |channels, height, width| for_shape(Shape { channels, height, width });
        assert_eq!(preset(1, 1, 2), "swirl");
        assert_eq!(preset(1, 8, 8), "digits");
        assert_eq!(preset(1, 28, 28), "mnist");
        assert_eq!(preset(3, 32, 32), "cifar10-small");
        // No squares of four pixels fit these.
        assert_eq!(preset(3, 30, 33), "mnist");
        assert_eq!(preset(3, 1, 1), "swirl");
    }
}
