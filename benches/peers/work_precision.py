"""Error for a number of model calls, of every sampler of k-diffusion and diffusers.

Each gets the same exact denoiser on the same starting points (`problems.py`), on each of the usual
grids, in float64, and exactly as many calls as stated (with two calls a step: as many steps as
fit). Deterministic samplers are measured against the probability-flow ODE's exact solution,
stochastic ones by the energy distance of what they draw from exact draws. README.md says how to
run it and what is left out.
"""

import argparse
import inspect
import itertools
import json
import math
import sys
import warnings
from pathlib import Path

import diffusers
import numpy
import scipy.stats
import torch

import k_sampling
import problems

CALLS = (5, 8, 10, 15, 20, 35, 50)
DRAWS = 2048
STOCHASTIC_GRIDS = [("zero", name) for name in ("karras", "exponential", "flow", "trailing")]
K = k_sampling.load()


# ------------------------------------------------------------------------------------------- grids


def curves():
    """σ at u in [0, 1] between two ends, by name."""

    def karras(u, high, low, rho=7):
        return (high ** (1 / rho) + u * (low ** (1 / rho) - high ** (1 / rho))) ** rho

    def polyexponential(rho):
        return lambda u, high, low: low * (high / low) ** ((1 - u) ** rho)

    def beta(u, high, low):
        return low + (high - low) * scipy.stats.beta.ppf(1 - u, 0.6, 0.6)

    exponential = {"exponential": polyexponential(1), "polyexponential 2": polyexponential(2)}
    return {"karras": karras, **exponential, "beta": beta}


def grids(span, steps):
    """`{(name, end): σ's}`, `steps + 1` falling levels each.

    `zero`: the last step goes from σ_min to 0. `min`: it ends at σ_min, as diffusers'
    `final_sigmas_type="sigma_min"` and DPM-Solver's own code have it.
    """
    answer = {}
    for name, curve in curves().items():
        for end, points in (("zero", steps), ("min", steps + 1)):
            u = numpy.linspace(0, 1, points)
            levels = curve(u, span.sigma_max, span.sigma_min)
            levels[0], levels[-1] = span.sigma_max, span.sigma_min
            answer[name, end] = levels if end == "min" else numpy.append(levels, 0)
    # Uniform in the time of flow matching, σ = t / (1 - t): diffusers' flow schedulers' own.
    latest, earliest = (level / (1 + level) for level in (span.sigma_max, span.sigma_min))
    for end, t in (("zero", 0), ("min", earliest)):
        times = numpy.linspace(latest, t, steps + 1)
        answer["flow", end] = times / (1 - times)
    last = len(span.table) - 1
    if last > 1:
        linspace = numpy.linspace(last, 0, steps + 1).round().astype(int)
        answer["linspace", "min"] = span.table[linspace]
        answer["linspace", "zero"] = numpy.append(span.table[linspace[:-1]], 0)
        trailing = (len(span.table) * (1 - numpy.arange(steps) / steps)).round().astype(int) - 1
        answer["trailing", "zero"] = numpy.append(span.table[trailing], 0)
    return answer


def steps_within(calls, per_step, end):
    """The most steps; one that ends at σ = 0 asks once, as there is no level to ask at again."""
    return (calls + (per_step - 1 if end == "zero" else 0)) // per_step


# ---------------------------------------------------------------------------------------- samplers


class Counted:
    """The exact denoiser, which counts how often it is asked."""

    def __init__(self, mixture):
        self.mixture, self.calls = mixture, 0

    def predict(self, x, sigma):
        self.calls += 1
        return self.mixture.predict(x, float(sigma))

    def image(self, x, sigmas):
        """As k-diffusion asks: one level per item, here all the same."""
        return self.predict(x, sigmas.flatten()[0])[0]


class KDiffusion:
    """A function of `k_diffusion.sampling`."""

    library = "k-diffusion"

    def __init__(self, function, per_step=1, stochastic=False, **settings):
        self.function, self.per_step, self.settings = function, per_step, settings
        self.stochastic = stochastic
        arguments = [f"{key}={value}" for key, value in settings.items()]
        self.name = " ".join([function, *arguments])

    def run(self, model, x, sigmas):
        function = getattr(K, "sample_" + self.function)
        settings = dict(self.settings)
        if self.function == "dpm_fast":
            # Makes its own grid, the exponential one, of orders 3 and lower.
            calls = len(sigmas) - 1
            return function(model.image, x, sigmas[-1], sigmas[0], calls, disable=True)
        if "noise_sampler" in inspect.signature(function).parameters:
            # On a fixed grid a Brownian path's increments are independent: no need for its tree.
            settings["noise_sampler"] = lambda *_: torch.randn_like(x)
        sigmas = torch.from_numpy(sigmas)
        return function(model.image, x, sigmas, disable=True, **settings)

    def takes(self, name, end):
        return self.function != "dpm_fast" or (name, end) == ("exponential", "min")


class Diffusers:
    """A scheduler of diffusers, on σ's we hand it.

    They replace those that `set_timesteps` made, in float64, so that a scheduler is not charged
    for rounded levels; every use of a scheduler's own timesteps is through these σ's. `form` is
    the variable that it steps in.
    """

    library = "diffusers"

    def __init__(self, scheduler, form, per_step=1, stochastic=False, **settings):
        self.scheduler, self.form, self.per_step = scheduler, form, per_step
        self.settings, self.stochastic = settings, stochastic
        shown = {k: v for k, v in settings.items() if k != "tau_func"}
        arguments = [f"{key}={value}" for key, value in shown.items()]
        self.name = " ".join([scheduler.removesuffix("Scheduler"), *arguments])

    def takes(self, name, end):
        # DPM-Solver's ε form has no limit at σ = 0.
        in_noise = self.settings.get("algorithm_type") in ("dpmsolver", "sde-dpmsolver")
        in_noise |= self.settings.get("predict_x0") is False
        return end == "min" or not in_noise

    def make(self, steps, sigmas):
        kind = getattr(diffusers, self.scheduler)
        settings = dict(self.settings)
        if "final_sigmas_type" in inspect.signature(kind.__init__).parameters:
            settings["final_sigmas_type"] = "zero" if sigmas[-1] == 0 else "sigma_min"
        scheduler = kind(**settings)
        scheduler.set_timesteps(steps)
        levels = torch.from_numpy(sigmas if self.form != "flow" else sigmas / (1 + sigmas))
        if self.per_step == 2 and "DPMSolver" not in self.scheduler:
            # Each level but the first stands twice: where a step ends and where the next begins.
            levels = torch.cat([levels[:1], levels[1:].repeat_interleave(2)])
            middles = (levels * levels.roll(1)).sqrt()
            if hasattr(scheduler, "sigmas_interpol"):
                scheduler.sigmas_interpol = middles
        scheduler.sigmas = levels
        scheduler.set_begin_index(0)
        scheduler.is_scale_input_called = True
        return scheduler

    def run(self, model, x, sigmas):
        steps = len(sigmas) - 1
        scheduler = self.make(steps, sigmas)
        calls = self.per_step * steps - (self.per_step - 1) * int(sigmas[-1] == 0)
        timestep = scheduler.timesteps[0]
        z = x / self.scale(sigmas[0])
        for index in range(calls):
            level = scheduler.sigmas[index]
            if index % 2 and hasattr(scheduler, "sigmas_interpol"):
                level = scheduler.sigmas_interpol[index]
            timestep = scheduler.timesteps[min(index, len(scheduler.timesteps) - 1)]
            sigma = float(level / (1 - level) if self.form == "flow" else level)
            output = self.output(model, z * self.scale(sigma), sigma)
            z = scheduler.step(output, timestep, z).prev_sample
        return z * self.scale(sigmas[-1])

    def scale(self, sigma):
        """x / z = 1/α."""
        return {"vp": math.hypot(1, sigma), "flow": 1 + sigma}.get(self.form, 1.0)

    def output(self, model, x, sigma):
        """What the network gives: its noise, its flow or EDM's F."""
        image, noise = model.predict(x, sigma)
        if self.form == "flow":
            return noise - image
        if self.form == "edm":
            data = 0.5
            total = math.hypot(sigma, data)
            return (image - x * (data / total) ** 2) / (sigma * data / total)
        return noise


class Discrete(Diffusers):
    """A scheduler of integer timesteps: it knows no levels but those of training."""

    def takes(self, name, end):
        # The one spacing that begins at the last training step and goes from entry to entry.
        return (name, end) == ("trailing", "zero")

    def run(self, model, x, sigmas):
        kind = getattr(diffusers, self.scheduler)
        fixed = {"timestep_spacing": "trailing"}
        if "PNDM" in self.scheduler:
            fixed |= {"skip_prk_steps": True, "set_alpha_to_one": True}
        if "DDPM" in self.scheduler:
            fixed |= {"clip_sample": False}
        if "DDIM" in self.scheduler:
            fixed |= {"clip_sample": False, "set_alpha_to_one": True}
        eta = {k: v for k, v in self.settings.items() if k == "eta"}
        settings = {k: v for k, v in self.settings.items() if k != "eta"}
        scheduler = kind(**fixed, **settings)
        alpha_bar = torch.from_numpy(numpy.cumprod(1 - numpy.linspace(1e-4, 0.02, 1000)))
        scheduler.alphas_cumprod = alpha_bar
        steps = len(sigmas) - 1
        # PLMS asks twice at its second timestep.
        scheduler.set_timesteps(steps - 1 if "PNDM" in self.scheduler else steps)
        z = x / self.scale(sigmas[0])
        for timestep in scheduler.timesteps:
            a = float(alpha_bar[timestep])
            noise = model.predict(z / math.sqrt(a), math.sqrt((1 - a) / a))[1]
            z = scheduler.step(noise, timestep, z, **eta).prev_sample
        return z


def deterministic():
    k, d = KDiffusion, Diffusers
    yield k("euler")
    yield k("heun", 2)
    yield k("dpm_2", 2)
    yield from (k("lms", order=order) for order in (2, 3, 4))
    yield k("dpmpp_2s_ancestral", 2, eta=0.0)
    yield k("dpmpp_sde", 2, eta=0.0)
    yield k("dpmpp_2m")
    yield from (k("dpmpp_2m_sde", eta=0.0, solver_type=kind) for kind in ("midpoint", "heun"))
    yield k("dpmpp_3m_sde", eta=0.0)
    yield k("dpm_fast")

    multistep, singlestep = "DPMSolverMultistepScheduler", "DPMSolverSinglestepScheduler"
    for order in (2, 3):
        yield d("DEISMultistepScheduler", "vp", solver_order=order)
        yield d(multistep, "vp", solver_order=order)
        yield d(multistep, "vp", solver_order=order, lower_order_final=False)
        yield d(multistep, "vp", solver_order=order, algorithm_type="dpmsolver")
        yield d(singlestep, "vp", solver_order=order)
        yield d(singlestep, "vp", solver_order=order, algorithm_type="dpmsolver")
    yield d(multistep, "vp", solver_order=2, solver_type="heun")
    yield d(singlestep, "vp", solver_order=2, solver_type="heun")
    for order in (2, 3, 4):
        yield d("UniPCMultistepScheduler", "vp", solver_order=order)
        yield d("UniPCMultistepScheduler", "vp", solver_order=order, solver_type="bh1")
        yield d("UniPCMultistepScheduler", "vp", solver_order=order, predict_x0=False)
    for orders in ((2, 2), (3, 3), (3, 4)):
        both = {"predictor_order": orders[0], "corrector_order": orders[1]}
        yield d("SASolverScheduler", "vp", tau_func=lambda _: 0, **both)
    yield d("EulerDiscreteScheduler", "ve")
    yield d("HeunDiscreteScheduler", "ve", 2)
    yield d("LMSDiscreteScheduler", "ve")
    yield d("KDPM2DiscreteScheduler", "ve", 2)
    yield d("EDMEulerScheduler", "edm")
    yield from (d("EDMDPMSolverMultistepScheduler", "edm", solver_order=order) for order in (2, 3))
    yield d("FlowMatchEulerDiscreteScheduler", "flow")
    yield d("FlowMatchHeunDiscreteScheduler", "flow", 2)
    yield Discrete("DDIMScheduler", "vp")
    yield Discrete("PNDMScheduler", "vp")


def stochastic():
    def k(function, per_step=1, **settings):
        return KDiffusion(function, per_step, True, **settings)

    def d(scheduler, form, per_step=1, **settings):
        return Diffusers(scheduler, form, per_step, True, **settings)

    yield k("euler_ancestral")
    yield k("dpm_2_ancestral", 2)
    yield k("dpmpp_2s_ancestral", 2)
    yield k("dpmpp_sde", 2)
    yield from (k("dpmpp_2m_sde", solver_type=kind) for kind in ("midpoint", "heun"))
    yield k("dpmpp_3m_sde")
    yield k("euler", s_churn=20.0, s_tmin=0.05, s_tmax=50.0, s_noise=1.003)
    yield k("heun", 2, s_churn=20.0, s_tmin=0.05, s_tmax=50.0, s_noise=1.003)
    multistep = "DPMSolverMultistepScheduler"
    for order in (1, 2):
        yield d(multistep, "vp", solver_order=order, algorithm_type="sde-dpmsolver++")
    yield d("EDMDPMSolverMultistepScheduler", "edm", algorithm_type="sde-dpmsolver++")
    yield d("SASolverScheduler", "vp", tau_func=lambda _: 1)
    yield d("EulerAncestralDiscreteScheduler", "ve")
    yield Discrete("DDIMScheduler", "vp", 1, True, eta=1.0)
    yield Discrete("DDPMScheduler", "vp", 1, True)


# ----------------------------------------------------------------------------------------- measure


def energy_distance_to(exact):
    """How far a sample is from `exact`: squared, without bias; negative values are its noise."""
    spread = torch.pdist(exact).mean()

    def score(draws):
        between = torch.cdist(draws, exact, compute_mode="donot_use_mm_for_euclid_dist").mean()
        return float(2 * between - torch.pdist(draws).mean() - spread)

    return score


def runs(samplers, span, mixture, x, score):
    """One row per sampler, grid and number of calls."""
    for sampler, calls in itertools.product(samplers, CALLS):
        for end in ("zero", "min"):
            steps = steps_within(calls, sampler.per_step, end)
            for (name, its_end), sigmas in grids(span, steps).items():
                # Fewer for stochastic samplers: each run takes longer, and its measure sees less.
                skipped = sampler.stochastic and (end, name) not in STOCHASTIC_GRIDS
                if its_end != end or skipped or not sampler.takes(name, end):
                    continue
                model = Counted(mixture)
                torch.manual_seed(calls)
                try:
                    final = sampler.run(model, x, sigmas)
                except (AssertionError, IndexError, ValueError, torch.linalg.LinAlgError) as error:
                    print(f"{sampler.name}, {name} to {end}, {calls}: {error}", file=sys.stderr)
                    continue
                assert calls - sampler.per_step < model.calls <= calls, (sampler.name, model.calls)
                error = score(final)
                yield {
                    "range": span.name,
                    "mixture": mixture.name,
                    "sampler": sampler.name,
                    "library": sampler.library,
                    "grid": f"{name} to {end}",
                    "calls": calls,
                    # JSON has no number for a run that blew up.
                    "error": error if math.isfinite(error) else None,
                }


def ode_rows(span, mixture):
    x = problems.starts(mixture, span)
    exact = torch.from_numpy(problems.truth(mixture, x, span.sigma_max))
    samplers = list(deterministic())
    score = lambda final: float((final - exact).square().mean().sqrt())
    return runs(samplers, span, mixture, torch.from_numpy(x), score)


def sde_rows(span, mixture):
    generator = torch.Generator().manual_seed(problems.SEED)
    exact = mixture.draw(DRAWS, generator)
    x = span.scale * torch.randn(DRAWS, mixture.dim, generator=generator)
    samplers = list(stochastic())
    return runs(samplers, span, mixture, x, energy_distance_to(exact))


def best(rows):
    """Per range, mixture and number of calls: the best sampler on its best grid."""
    answer = {}
    for row in rows:
        key = row["range"], row["mixture"], row["calls"]
        if row["error"] is not None:
            answer[key] = min(answer.get(key, row), row, key=lambda r: r["error"])
    return answer


def table(title, rows):
    print(f"\n### {title}\n")
    print("| range | mixture | calls | error | sampler | library | grid |")
    print("|---|---|---:|---:|---|---|---|")
    for (span, mixture, calls), row in best(rows).items():
        who = f"{row['sampler']} | {row['library']} | {row['grid']}"
        print(f"| {span} | {mixture} | {calls} | {row['error']:.2e} | {who} |")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="JSON file for all rows")
    parser.add_argument("--only", choices=("ode", "sde"), help="one of the two tables")
    options = parser.parse_args()
    torch.set_default_dtype(torch.float64)
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore", category=FutureWarning)
    diffusers.logging.set_verbosity_error()
    answer = {"versions": {"diffusers": diffusers.__version__, "k-diffusion": "0.1.1.post1"}}
    kinds = {"ode": ode_rows, "sde": sde_rows}
    for kind in kinds if options.only is None else [options.only]:
        answer[kind] = [
            row
            for span in problems.ranges()
            for mixture in map(problems.Mixture, problems.MIXTURES)
            for row in kinds[kind](span, mixture)
        ]
        table({"ode": "RMS error", "sde": "Squared energy distance"}[kind], answer[kind])
    options.out.write_text(json.dumps(answer, indent=0) + "\n")


if __name__ == "__main__":
    main()
