"""The solvers of diffusers and k-diffusion on every grid and schedule of `docs/solvers.md`.

Each gets the very levels that the Rust side writes down, as σ/α in float64, the exact denoiser, and its
own defaults; what it makes is compared with the exact answer in the same way. README.md says how to run it.
"""

import argparse
import functools
import itertools
import json
import math
import warnings
from pathlib import Path

import diffusers
import torch

from work_precision import Counted, Diffusers, KDiffusion

DRAWS = 2048
SEED = 2401


class Line:
    """Gaussians on a line, and what a perfect network would answer."""

    def __init__(self, spec):
        self.name, self.std = spec["name"], spec["std"]
        self.weights, self.means, self.stds = (
            torch.tensor(spec[key], dtype=torch.float64) for key in ("weights", "means", "stds")
        )

    def predict(self, x, sigma):
        """E[x₀ | x] and E[ε | x]."""
        variances = self.stds**2 + sigma**2
        offsets = x - self.means
        logits = self.weights.log() - variances.log() / 2 - offsets**2 / (2 * variances)
        parts = torch.softmax(logits, 1) / variances
        image = parts * (sigma**2 * self.means + self.stds**2 * x)
        return image.sum(1, keepdim=True), sigma * (parts * offsets).sum(1, keepdim=True)

    def draw(self, count, sigma, generator):
        """Exact samples of the data noised to σ."""
        which = torch.multinomial(self.weights, count, True, generator=generator)
        noise = torch.randn(count, dtype=torch.float64, generator=generator)
        return (self.means[which] + (self.stds[which] ** 2 + sigma**2).sqrt() * noise)[:, None]

    @functools.cache
    def quantiles(self, count, sigma):
        """At equal steps of probability, by bisection."""
        stds = (self.stds**2 + sigma**2).sqrt()
        wanted = (torch.arange(count, dtype=torch.float64) + 0.5) / count
        low, high = torch.full((count,), -1e3), torch.full((count,), 1e3)
        for _ in range(50):
            middle = (low + high) / 2
            scores = (middle[:, None] - self.means) / stds
            below = (self.weights * torch.special.ndtr(scores)).sum(1) < wanted
            low, high = torch.where(below, middle, low), torch.where(below, high, middle)
        return (low + high) / 2


def peers():
    """`(our name, theirs)`: the defaults of what has our solver's name, at our strength of noise."""
    d, k = Diffusers, KDiffusion
    yield "ddim", d("EulerDiscreteScheduler", "ve")
    yield "euler", d("EulerDiscreteScheduler", "ve")
    yield "euler_ancestral", d("EulerAncestralDiscreteScheduler", "ve", stochastic=True)
    yield "heun", d("HeunDiscreteScheduler", "ve", 2)
    yield "dpm_2", d("KDPM2DiscreteScheduler", "ve", 2)
    yield "dpm_2_ancestral", k("dpm_2_ancestral", 2, stochastic=True)
    yield "lms", d("LMSDiscreteScheduler", "ve")
    yield "dpm_solver_singlestep", d("DPMSolverSinglestepScheduler", "vp", solver_order=3)
    yield "dpm_solver_pp_2s_ancestral", k("dpmpp_2s_ancestral", 2, stochastic=True)
    yield "dpm_solver_pp_sde", k("dpmpp_sde", 2, stochastic=True)
    multistep = "DPMSolverMultistepScheduler"
    yield "dpm_solver_pp_2m", d(multistep, "vp")
    yield "dpm_solver_pp_3m", d(multistep, "vp", solver_order=3)
    yield "dpm_solver_2m", d(multistep, "vp", algorithm_type="dpmsolver", final_sigmas_type="sigma_min")
    third = {"algorithm_type": "dpmsolver", "final_sigmas_type": "sigma_min", "solver_order": 3}
    yield "dpm_solver_3m", d(multistep, "vp", **third)
    yield "dpm_solver_pp_2m_sde", d(multistep, "vp", 1, True, algorithm_type="sde-dpmsolver++")
    yield "dpm_solver_pp_3m_sde", k("dpmpp_3m_sde", stochastic=True)
    yield "deis", d("DEISMultistepScheduler", "vp", solver_order=3)
    yield "uni_pc", d("UniPCMultistepScheduler", "vp")
    yield "sa_solver", d("SASolverScheduler", "vp", 1, True, tau_func=lambda _: 1)


def error(sampler, data, case, generator):
    """As the Rust side has it, in standard deviations of the data; none where it does not run."""
    sigmas = torch.tensor(case["sigmas"], dtype=torch.float64)
    count = DRAWS if sampler.stochastic else case["starts"]
    first, last = float(sigmas[0]), float(sigmas[-1])
    x = data.draw(count, first, generator) if sampler.stochastic else data.quantiles(count, first)
    exact = data.quantiles(count, last)
    model = Counted(data)
    end = sampler.run(model, x.reshape(-1, 1), sigmas.numpy()).flatten()
    if not sampler.stochastic:
        off = (end - exact).square().mean().sqrt()
    elif len(data.weights) == 1:
        off = math.hypot(end.mean() - exact.mean(), end.std() - math.hypot(data.std, last))
    else:
        off = (end.sort().values - exact).abs().mean()
    return float(off) / data.std


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--problems", type=Path, required=True, help="what `solvers --problems` wrote")
    parser.add_argument("--out", type=Path, required=True, help="JSON file for the worst errors")
    options = parser.parse_args()
    torch.set_default_dtype(torch.float64)
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore")
    diffusers.logging.set_verbosity_error()
    problems = json.loads(options.problems.read_text())
    data = [Line(spec) for spec in problems["data"]]
    worst = {}
    for (name, sampler), case in itertools.product(peers(), problems["cases"]):
        if not sampler.takes(case["grid"], "zero" if case["sigmas"][-1] == 0 else "min"):
            continue
        for line in data:
            generator = torch.Generator().manual_seed(SEED)
            torch.manual_seed(SEED)
            try:
                off = error(sampler, line, case, generator)
            except (AssertionError, IndexError, ValueError, torch.linalg.LinAlgError):
                continue
            key = name, case["steps"], line.name
            row = worst.setdefault(key, {"error": 0.0, "blew_up": 0, "where": ""})
            if not math.isfinite(off):
                row["blew_up"] += 1
            elif off > row["error"]:
                row |= {"error": off, "where": f"{case['grid']}, {case['schedule']}"}
    names = {name: f"{sampler.library}: {sampler.name}" for name, sampler in peers()}
    rows = [
        {"solver": name, "peer": names[name], "steps": steps, "data": data, **row}
        for (name, steps, data), row in worst.items()
    ]
    versions = {"diffusers": diffusers.__version__, "k-diffusion": "0.1.1.post1"}
    options.out.write_text(json.dumps({"versions": versions, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
