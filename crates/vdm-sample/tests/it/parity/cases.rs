//! Reading the cases.

use serde_json::Value;
use vdm_core::{GaussianMixture, NoiseLevel, Scaling};
use vdm_sample::noise::Recorded;
use vdm_sample::{Solver, TimeGrid, solve};

/// One run of another program.
pub(crate) struct Case {
    pub(crate) id: String,
    /// The class or function that made it.
    pub(crate) algorithm: String,
    /// All of its settings: `params`, `scheduler_config`, `effective_config`, `order_list` …
    fields: Value,
    /// Levels, noisiest first, as `(α, σ)`.
    scales: Vec<(f64, f64)>,
    scaling: Scaling,
    /// `ᾱ` before and after each step, where it is recorded; not always a chain.
    alpha_bar_steps: Vec<(f64, f64)>,
    model: GaussianMixture,
    /// `[sample][component]`.
    starts: Vec<Vec<f64>>,
    ends: Vec<Vec<f64>>,
    /// `[draw][sample][component]`.
    noise: Vec<Vec<Vec<f64>>>,
}

impl Case {
    /// A setting, wherever it is kept.
    pub(crate) fn setting(&self, name: &str) -> Option<&Value> {
        ["effective_config", "scheduler_config", "params", "step_kwargs"]
            .into_iter()
            .filter_map(|part| self.fields[part].get(name))
            .chain(self.fields.get(name))
            .find(|value| !value.is_null())
    }

    /// A number among the settings.
    pub(crate) fn number(&self, name: &str) -> Option<f64> {
        self.setting(name).and_then(Value::as_f64)
    }

    /// A word among the settings.
    pub(crate) fn word(&self, name: &str) -> Option<&str> {
        self.setting(name).and_then(Value::as_str)
    }

    /// A yes or no among the settings.
    pub(crate) fn flag(&self, name: &str) -> Option<bool> {
        self.setting(name).and_then(Value::as_bool)
    }

    /// A list of numbers among the settings; `null` entries as NaN.
    pub(crate) fn list(&self, name: &str) -> Option<Vec<f64>> {
        let values = self.setting(name)?.as_array()?;
        Some(values.iter().map(|v| v.as_f64().unwrap_or(f64::NAN)).collect())
    }

    /// The levels it lists, one per step and the last.
    pub(crate) fn listed_levels(&self) -> Vec<NoiseLevel> {
        self.scales.iter().map(|(alpha, sigma)| NoiseLevel::from_scales(*alpha, *sigma)).collect()
    }

    /// The levels it visits, without repetitions (schedulers that call the model twice list a
    /// level twice).
    pub(crate) fn levels(&self) -> Vec<NoiseLevel> {
        let mut levels = self.listed_levels();
        levels.dedup();
        levels
    }

    pub(crate) fn scaling(&self) -> Scaling {
        self.scaling
    }

    /// The levels before and after each step, where the case records them.
    pub(crate) fn level_pairs(&self) -> Vec<Vec<NoiseLevel>> {
        let level =
            |alpha_bar: f64| NoiseLevel::from_scales(alpha_bar.sqrt(), (1.0 - alpha_bar).sqrt());
        self.alpha_bar_steps.iter().map(|(from, to)| vec![level(*from), level(*to)]).collect()
    }

    /// Our end points of all samples over grids run in turn, each from the latent where the one
    /// before ended; `draws` of their noise are given to the solver, in this order.
    pub(crate) fn run(
        &self,
        solver: &impl Solver<Vec<f64>>,
        chains: &[Vec<NoiseLevel>],
        draws: &[usize],
    ) -> Vec<Vec<f64>> {
        let to_end = |(i, start): (usize, &Vec<f64>)| {
            let mut noise = Recorded::new(draws.iter().map(|d| self.noise[*d][i].clone()));
            // Some programs draw for the step to clean data too, to multiply it by zero.
            let mut spare = 0;
            let end = chains.iter().fold(start.clone(), |z, levels| {
                let grid = TimeGrid::from_levels(levels.clone(), self.scaling).unwrap();
                spare += usize::from(grid.levels()[grid.steps()].sigma == 0.0);
                solve(solver, &self.model, z, &grid, &mut noise, |_, _, _| ()).unwrap().latent
            });
            assert!(noise.left() <= spare, "{} leaves noise unused", self.id);
            end
        };
        self.starts.iter().enumerate().map(to_end).collect()
    }

    /// Largest difference between our end points and theirs, as a share of their largest number.
    pub(crate) fn distance(&self, ours: &[Vec<f64>]) -> f64 {
        let scale = self.ends.iter().flatten().fold(0.0_f64, |m, v| m.max(v.abs()));
        let pairs = ours.iter().flatten().zip(self.ends.iter().flatten());
        // A maximum would pass over NaN.
        pairs.fold(0.0, |worst, (got, wanted)| match (got - wanted).abs() / scale {
            error if error.is_nan() => f64::INFINITY,
            error => error.max(worst),
        })
    }

    /// [`distance`](Self::distance) of a run over one grid.
    pub(crate) fn error(
        &self,
        solver: &impl Solver<Vec<f64>>,
        levels: Vec<NoiseLevel>,
        draws: &[usize],
    ) -> f64 {
        self.distance(&self.run(solver, &[levels], draws))
    }

    /// [`error`](Self::error) on its own levels with all of its noise.
    pub(crate) fn plain_error(&self, solver: &impl Solver<Vec<f64>>) -> f64 {
        let draws: Vec<usize> = (0..self.noise.len()).collect();
        self.error(solver, self.levels(), &draws)
    }

    /// How many draws it recorded.
    pub(crate) fn draws(&self) -> usize {
        self.noise.len()
    }

    /// Their draw of that number, for all samples.
    pub(crate) fn draw(&self, number: usize) -> &[Vec<f64>] {
        &self.noise[number]
    }
}

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect()
}

fn mixture(spec: &Value) -> GaussianMixture {
    let means = spec["means"].as_array().unwrap().iter().map(numbers).collect();
    GaussianMixture::new(numbers(&spec["weights"]), means, numbers(&spec["stds"])).unwrap()
}

/// A file in the safetensors format: the length of a header as 8 bytes, the header, which says in JSON
/// where in the rest each tensor lies, and the rest. The crate of that name would bring nine others.
struct Tensors<'a> {
    header: Value,
    data: &'a [u8],
}

impl<'a> Tensors<'a> {
    fn read(file: &'a [u8]) -> Self {
        let (length, rest) = file.split_first_chunk::<8>().unwrap();
        let (header, data) = rest.split_at(u64::from_le_bytes(*length).try_into().unwrap());
        Self { header: serde_json::from_slice(header).unwrap(), data }
    }

    /// Shape and numbers.
    fn get(&self, name: &str) -> Option<(Vec<usize>, Vec<f64>)> {
        let tensor = self.header.get(name)?;
        assert_eq!(tensor["dtype"], "F64", "{name}");
        let list =
            |field: &str| -> Vec<usize> { serde_json::from_value(tensor[field].clone()).unwrap() };
        let (shape, ends) = (list("shape"), list("data_offsets"));
        let (numbers, rest) = self.data[ends[0]..ends[1]].as_chunks::<8>();
        assert!(rest.is_empty() && numbers.len() == shape.iter().product::<usize>(), "{name}");
        Some((shape, numbers.iter().map(|bytes| f64::from_le_bytes(*bytes)).collect()))
    }
}

/// Every case of the fixtures.
pub(crate) fn load() -> Vec<Case> {
    let index: Value =
        serde_json::from_str(include_str!("../../fixtures/peers/cases.json")).unwrap();
    let tensors = Tensors::read(include_bytes!("../../fixtures/peers/tensors.safetensors"));
    let flat = |id: &str, name: &str| tensors.get(&format!("{id}/{name}"));
    let rows = |id: &str, name: &str| -> Vec<Vec<f64>> {
        let (shape, values) = flat(id, name).unwrap();
        values.chunks(*shape.last().unwrap()).map(<[f64]>::to_vec).collect()
    };
    let case = |fields: &Value| {
        let id = fields["id"].as_str().unwrap();
        let optional = |name: &str| flat(id, name).map_or_else(Vec::new, |(_, values)| values);
        let line = |name: &str| flat(id, name).unwrap().1;
        let starts = rows(id, "x_init");
        Case {
            id: id.to_owned(),
            algorithm: fields["algorithm"].as_str().unwrap().to_owned(),
            fields: fields.clone(),
            scales: line("alphas").into_iter().zip(line("sigmas")).collect(),
            scaling: match fields["coords"].as_str().unwrap() {
                "ve" => Scaling::VarianceExploding,
                "vp" => Scaling::VariancePreserving,
                "fm" => Scaling::StraightLine,
                other => panic!("{id}: coordinates {other}"),
            },
            alpha_bar_steps: optional("alpha_bar_from")
                .into_iter()
                .zip(optional("alpha_bar_to"))
                .collect(),
            model: mixture(&index["mixtures"][fields["mixture"].as_str().unwrap()]),
            noise: flat(id, "noise").map_or_else(Vec::new, |_| {
                rows(id, "noise").chunks(starts.len()).map(<[Vec<f64>]>::to_vec).collect()
            }),
            ends: rows(id, "x_final"),
            starts,
        }
    };
    index["cases"].as_array().unwrap().iter().map(case).collect()
}
