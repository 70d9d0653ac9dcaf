"""What a sampler itself costs per step: ours, k-diffusion's and diffusers', with a denoiser that is free.

The denoiser answers with one preallocated tensor, so the time is that of the sampler's arithmetic
and bookkeeping. Each run has 20 steps from 80 to 0.002 and then zero on the Karras grid, in
float32, on one thread. Making the grid is not counted. Contenders take turns within each round; ours
are runs of a Rust program that waits for its turns.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
import warnings
from functools import partial
from pathlib import Path

import diffusers
import torch

import k_sampling

STEPS = 20
FEWEST_ROUNDS = 4
SHAPES = ((1, 2), (1, 3, 32, 32), (64, 3, 32, 32))
# Latents of the digits preset, beside a call of its network.
DIGITS = ((1, 1, 8, 8), (64, 1, 8, 8))
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


class Rust:
    """The program of `crates/vdm-bench/src/bin/overhead.rs`, one process for all turns."""

    def __init__(self, program):
        # It finds the libtorch it was linked with; the Python environment's must not get between.
        environment = {k: v for k, v in os.environ.items() if k != "LD_LIBRARY_PATH"}
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(
            [program], env=environment, stdin=pipe, stdout=pipe, text=True
        )

    def seconds(self, what, name, shape):
        # Its latents have four dimensions.
        shape = (*shape, 1, 1, 1)[:4]
        print(what, name, *shape, file=self.process.stdin, flush=True)
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit("the overhead program ended; its message is above")
        return float(line)


# Solvers that do what a peer's sampler does, by the peers' names.
OURS = {
    "Euler": "euler",
    "Heun": "heun",
    "DPM-Solver++(2M)": "dpm_solver_pp_2m",
    "DPM-Solver++(2M) SDE": "dpm_solver_pp_2m_sde",
    "DPM-Solver++(3M) SDE": "dpm_solver_pp_3m_sde",
    "UniPC-3": "uni_pc",
    "LMS": "lms",
    "DEIS-3": "deis",
    "Euler ancestral": "euler_ancestral",
}


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


def python_contenders(shape):
    """`{contender: seconds per step of one more run}`"""

    def timed(run, library):
        run = run() if library == "diffusers" else run
        start = time.perf_counter()
        with torch.no_grad():
            run()
        return (time.perf_counter() - start) / STEPS

    prepared = {key: prepare(shape) for key, prepare in contenders().items()}
    return {key: partial(timed, run, key[1]) for key, run in prepared.items()}


def our_contenders(rust, shape):
    kinds = ("slices", "tensors")
    named = {
        (name, f"vdm, {kind}"): partial(rust.seconds, kind, solver, shape)
        for name, solver in OURS.items()
        for kind in kinds
    }
    return {**named, ("copy of a latent", "vdm"): partial(rust.seconds, "copy", "-", shape)}


def measure(contenders, options):
    """`{contender: [seconds per step]}`; whoever has used up its time sits out further rounds."""
    answer = {key: [] for key in contenders}
    for number in range(options.rounds):
        for key, run in contenders.items():
            times = answer[key]
            if number < FEWEST_ROUNDS or sum(times) * STEPS <= options.seconds:
                times.append(run())
    # The first round warmed up.
    return {key: times[1:] for key, times in answer.items()}


def micro(row):
    """Three digits of a number of microseconds."""
    value = row["median_us"]
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def page(rows, load):
    """The medians, each peer's as a multiple of ours."""
    by = {(r["sampler"], r["library"], tuple(r["shape"])): r for r in rows}
    text = [
        "# Cost of a sampler's step",
        "",
        "Written by `cargo xtask bench --peers`: microseconds per step, medians of runs of 20 steps that",
        "take turns in one run of `benches/peers/overhead.py`, one thread each, f32, with a denoiser that is",
        "free. k-diffusion's SDE samplers draw independent noise here, as all others do; their default, a",
        "Brownian tree, has a column of its own. *Theirs / ours* compares the faster of the peers with our",
        f"tensors. diffusers {diffusers.__version__}, k-diffusion 0.1.1.post1, torch {torch.__version__};",
        f"load of the machine at the start {load:.1f}.",
        "",
    ]
    for shape in SHAPES:
        text += [
            f"## Latents of {'×'.join(map(str, shape))}",
            "",
            f"A copy of such a latent takes {micro(by['copy of a latent', 'vdm', shape])} µs.",
            "",
            "| sampler | slices | tensors | diffusers | k-diffusion | with its Brownian tree | theirs / ours |",
            "|---|---:|---:|---:|---:|---:|---:|",
        ]
        for name in OURS:
            free = name + ", independent noise"
            k, tree = (free, name) if name.endswith("SDE") else (name, None)
            ours = by[name, "vdm, tensors", shape]
            peers = [by.get((name, "diffusers", shape)), by.get((k, "k-diffusion", shape))]
            tree = tree and by[tree, "k-diffusion", shape]
            columns = [by[name, "vdm, slices", shape], ours, *peers, tree]
            cells = [micro(row) if row else "–" for row in columns]
            best = min(row["median_us"] for row in peers if row)
            text.append(f"| {name} | {' | '.join(cells)} | {best / ours['median_us']:.1f} |")
        text.append("")
    text += [
        "## Beside a network",
        "",
        "The digits preset's U-Net of 0.22 M parameters, and what the costliest of our solvers above adds to",
        "a call of it:",
        "",
        "| latents | a call, µs | a step, µs | solver | share |",
        "|---|---:|---:|---|---:|",
    ]
    for shape in DIGITS:
        call = by["network", "vdm", shape]
        name, step = max(
            ((name, by[name, "vdm, tensors", shape]) for name in OURS),
            key=lambda pair: pair[1]["median_us"],
        )
        share = step["median_us"] / call["median_us"]
        text.append(
            f"| {'×'.join(map(str, shape))} | {micro(call)} | {micro(step)} | {name} | {share:.2%} |"
        )
    return "\n".join(text) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--program", required=True, help="the Rust program `overhead`")
    parser.add_argument("--out", type=Path, required=True, help="JSON file for all rows")
    parser.add_argument("--page", type=Path, required=True, help="Markdown file for the tables")
    parser.add_argument("--rounds", type=int, default=30, help="at most")
    parser.add_argument("--seconds", type=float, default=2, help="for each sampler and shape")
    options = parser.parse_args()
    load = os.getloadavg()[0]
    if load > 0.5:
        print(f"the machine is busy (load {load:.1f}): times will be too long", file=sys.stderr)
    warnings.filterwarnings("ignore")
    diffusers.logging.set_verbosity_error()
    torch.set_num_threads(1)
    rust = Rust(options.program)
    all_contenders = {
        shape: {**python_contenders(shape), **our_contenders(rust, shape)} for shape in SHAPES
    }
    for shape in DIGITS:
        network = {("network", "vdm"): partial(rust.seconds, "network", "-", shape)}
        all_contenders[shape] = {**our_contenders(rust, shape), **network}
    rows = []
    for shape, contenders_here in all_contenders.items():
        for (name, library), seconds in measure(contenders_here, options).items():
            times = {"median_us": statistics.median(seconds), "min_us": min(seconds)}
            rounded = {key: round(1e6 * value, 3) for key, value in times.items()}
            rows.append({"sampler": name, "library": library, "shape": shape, **rounded})
    answer = {"steps": STEPS, "rounds": options.rounds, "load": load, "rows": rows}
    options.out.write_text(json.dumps(answer, indent=0) + "\n")
    options.page.write_text(page(rows, load))


if __name__ == "__main__":
    main()
