"""What a sampler itself costs per step: k-diffusion's and diffusers' with a denoiser that is free.

The denoiser answers with one preallocated tensor, so the time is that of the sampler's arithmetic
and bookkeeping. Each run has 20 steps from 80 to 0.002 and then zero on the Karras grid, in
float32. Making the grid is not counted. Contenders take turns within each round.
"""

import argparse
import json
import os
import statistics
import sys
import time
import warnings
from pathlib import Path

import diffusers
import torch

import k_sampling

STEPS = 20
FEWEST_ROUNDS = 4
SHAPES = ((1, 2), (1, 3, 32, 32), (64, 3, 32, 32))
K = k_sampling.load()


def k_diffusion(function, **settings):
    """A run of 20 steps of one of its functions."""

    def prepare(shape):
        sigmas = K.get_sigmas_karras(STEPS, 0.002, 80.0)
        answer, z = torch.zeros(shape), 80 * torch.randn(shape)
        sample = getattr(K, "sample_" + function)
        own = {}
        if settings.get("independent_noise"):
            own["noise_sampler"] = K.default_noise_sampler(z)
        rest = {k: v for k, v in settings.items() if k != "independent_noise"}
        return lambda: sample(lambda x, sigma: answer, z, sigmas, disable=True, **rest, **own)

    return prepare


def scheduler(name, **settings):
    """A run of 20 steps of one of diffusers' schedulers, as a pipeline makes it."""

    def prepare(shape):
        answer, start = torch.zeros(shape), torch.randn(shape)
        made = getattr(diffusers, name)(**settings)

        def run():
            z = start * made.init_noise_sigma
            for t in made.timesteps:
                made.scale_model_input(z, t)
                z = made.step(answer, t, z, return_dict=False)[0]
            return z

        def again():
            # A run leaves its history behind; forgetting it is not counted.
            made.set_timesteps(STEPS)
            return run

        return again

    return prepare


def contenders():
    sde = {"algorithm_type": "sde-dpmsolver++"}
    multistep = "DPMSolverMultistepScheduler"
    peers = {
        ("DDIM", "diffusers"): scheduler("DDIMScheduler"),
        ("Euler", "diffusers"): scheduler("EulerDiscreteScheduler"),
        ("Heun", "diffusers"): scheduler("HeunDiscreteScheduler"),
        ("DPM-Solver++(2M)", "diffusers"): scheduler(multistep),
        ("DPM-Solver++(2M) SDE", "diffusers"): scheduler(multistep, **sde),
        ("DPM-Solver++(3M) SDE", "diffusers"): scheduler(multistep, solver_order=3, **sde),
        ("UniPC-2", "diffusers"): scheduler("UniPCMultistepScheduler"),
        ("UniPC-3", "diffusers"): scheduler("UniPCMultistepScheduler", solver_order=3),
        ("LMS", "diffusers"): scheduler("LMSDiscreteScheduler"),
        ("DEIS-2", "diffusers"): scheduler("DEISMultistepScheduler"),
        ("DEIS-3", "diffusers"): scheduler("DEISMultistepScheduler", solver_order=3),
        ("Euler ancestral", "diffusers"): scheduler("EulerAncestralDiscreteScheduler"),
        ("DDPM", "diffusers"): scheduler("DDPMScheduler"),
    }
    functions = {
        "Euler": "euler",
        "Heun": "heun",
        "DPM-Solver++(2M)": "dpmpp_2m",
        "DPM-Solver++(2M) SDE": "dpmpp_2m_sde",
        "DPM-Solver++(3M) SDE": "dpmpp_3m_sde",
        "LMS": "lms",
        "Euler ancestral": "euler_ancestral",
    }
    for name, function in functions.items():
        peers[name, "k-diffusion"] = k_diffusion(function)
        if name.endswith("SDE"):
            # Without the Brownian path, which is what makes these slow.
            free = k_diffusion(function, independent_noise=True)
            peers[name + ", independent noise", "k-diffusion"] = free
    return peers


def measure(shape, options):
    """`{contender: [seconds per step]}`; whoever has used up its time sits out further rounds."""
    prepared = {key: prepare(shape) for key, prepare in contenders().items()}
    answer = {key: [] for key in prepared}
    for number in range(options.rounds):
        for (name, library), run in prepared.items():
            times = answer[name, library]
            if number >= FEWEST_ROUNDS and sum(times) * STEPS > options.seconds:
                continue
            run = run() if library == "diffusers" else run
            start = time.perf_counter()
            with torch.no_grad():
                run()
            times.append((time.perf_counter() - start) / STEPS)
    # The first round warmed up.
    return {key: times[1:] for key, times in answer.items()}


def table(rows):
    shapes = list(dict.fromkeys((tuple(row["shape"]), row["threads"]) for row in rows))
    heads = [f"{'×'.join(map(str, shape))}, {threads} thr." for shape, threads in shapes]
    print("| sampler | library | " + " | ".join(heads) + " |")
    print("|---|---|" + "---:|" * len(heads))
    by = {(r["sampler"], r["library"], tuple(r["shape"]), r["threads"]): r for r in rows}
    for sampler, library in dict.fromkeys((r["sampler"], r["library"]) for r in rows):
        cells = [f"{by[sampler, library, *key]['median_us']:.0f}" for key in shapes]
        print(f"| {sampler} | {library} | " + " | ".join(cells) + " |")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="JSON file for all rows")
    parser.add_argument("--rounds", type=int, default=30, help="at most")
    parser.add_argument("--seconds", type=float, default=2, help="for each sampler and shape")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    options = parser.parse_args()
    load = os.getloadavg()[0]
    if load > 0.5:
        print(f"the machine is busy (load {load:.1f}): times will be too long", file=sys.stderr)
    warnings.filterwarnings("ignore")
    diffusers.logging.set_verbosity_error()
    rows = []
    for threads in options.threads:
        torch.set_num_threads(threads)
        for shape in SHAPES:
            for (name, library), seconds in measure(shape, options).items():
                times = {"median_us": statistics.median(seconds), "min_us": min(seconds)}
                micro = {key: round(1e6 * value, 2) for key, value in times.items()}
                which = {"sampler": name, "library": library, "shape": shape, "threads": threads}
                rows.append({**which, **micro})
    answer = {"steps": STEPS, "rounds": options.rounds, "load": load, "rows": rows}
    options.out.write_text(json.dumps(answer, indent=0) + "\n")
    print("Microseconds per step, median.\n")
    table(rows)


if __name__ == "__main__":
    main()
