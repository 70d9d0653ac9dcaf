"""Sampling problems whose answer is known: Gaussian mixtures with their exact denoiser.

A problem is a mixture and a range of noise levels. 64 starting points follow the probability-flow
ODE dx/dσ = ε̂(x, σ) from the range's upper end to σ = 0, in the coordinates x = z/α, σ = σ_z/α that
all Gaussian diffusions share. Its solution to twelve digits is the truth.

Ranges:

- `edm`: 80 to 0.002, and from there to zero; z = x.
- `ddpm`: the linear β of DDPM, steps 999 to 0 of 1000, and from there to zero; z is variance
  preserving, so the points start at z = noise.

As a program it writes the fixture from which the Rust side starts at the very same points.
"""

import argparse
import json
import math
from pathlib import Path

import numpy
import scipy.integrate
import torch

ROOT = Path(__file__).resolve().parents[2]
CASES = ROOT / "crates/vdm-sample/tests/fixtures/peers/cases.json"
FIXTURE = ROOT / "crates/vdm-bench/fixtures/work_precision.json"
MIXTURES = ("gm2_2d", "gm5_16d")
POINTS = 64
SEED = 2401


class Mixture:
    """Isotropic Gaussians in float64, and what a perfect network would answer."""

    def __init__(self, name):
        self.name = name
        spec = json.loads(CASES.read_text())["mixtures"][name]
        self.weights, self.means, self.stds = (
            torch.tensor(spec[key], dtype=torch.float64) for key in ("weights", "means", "stds")
        )
        self.dim = self.means.shape[1]

    def predict(self, x, sigma):
        """E[x₀ | x] and E[ε | x], each from its own formula: their difference never cancels."""
        variances = self.stds**2 + sigma**2
        offsets = x[:, None, :] - self.means
        squares = (offsets**2).sum(2)
        logits = self.weights.log() - self.dim / 2 * variances.log() - squares / (2 * variances)
        parts = torch.softmax(logits, 1) / variances
        image = (parts[..., None] * (sigma**2 * self.means + self.stds[:, None] ** 2 * x[:, None]))
        return image.sum(1), sigma * (parts[..., None] * offsets).sum(1)

    def draw(self, count, generator):
        """Exact samples."""
        which = torch.multinomial(self.weights, count, True, generator=generator)
        noise = torch.randn(count, self.dim, dtype=torch.float64, generator=generator)
        return self.means[which] + self.stds[which, None] * noise


class Range:
    """Noise levels from `sigma_max` to `sigma_min`, then zero."""

    def __init__(self, name, table, scale):
        # `table` holds σ of the training steps; `scale` times unit noise is a starting point.
        self.name, self.table, self.scale = name, table, scale
        self.sigma_max, self.sigma_min = float(table.max()), float(table.min())


def ranges():
    edm = numpy.array([0.002, 80.0])
    alpha_bar = numpy.cumprod(1 - numpy.linspace(1e-4, 0.02, 1000))
    ddpm = numpy.sqrt((1 - alpha_bar) / alpha_bar)
    return [Range("edm", edm, 80.0), Range("ddpm", ddpm, math.hypot(1, ddpm[-1]))]


def unit_noise(dim):
    """The same numbers wherever numpy runs: its legacy generator is frozen."""
    return numpy.random.RandomState(SEED + dim).standard_normal((POINTS, dim))


def truth(mixture, x, sigma, rtol=1e-12):
    """Each point's image under the probability-flow ODE from `sigma` to 0.

    Solved in u = asinh σ, in which neither end is stiff.
    """

    def slope(u, flat):
        point = torch.from_numpy(flat.reshape(1, -1))
        return (mixture.predict(point, math.sinh(u))[1] * math.cosh(u)).numpy().ravel()

    span = (math.asinh(sigma), 0.0)
    solve = scipy.integrate.solve_ivp
    return numpy.stack(
        [solve(slope, span, p, "DOP853", rtol=rtol, atol=rtol).y[:, -1] for p in x]
    )


def starts(mixture, span):
    return span.scale * unit_noise(mixture.dim)


def fixture():
    """Everything another program needs to repeat the comparison."""
    mixtures = [Mixture(name) for name in MIXTURES]
    return {
        "format": 1,
        "mixtures": [
            {
                "name": m.name,
                "weights": m.weights.tolist(),
                "means": m.means.tolist(),
                "stds": m.stds.tolist(),
                "noise": unit_noise(m.dim).tolist(),
            }
            for m in mixtures
        ],
        "problems": [
            {
                "range": span.name,
                "mixture": m.name,
                "sigma_max": span.sigma_max,
                "sigma_min": span.sigma_min,
                "scale": span.scale,
                "truth": truth(m, starts(m, span), span.sigma_max).tolist(),
            }
            for span in ranges()
            for m in mixtures
        ],
    }


def main():
    parser = argparse.ArgumentParser(description="Writes the starting points and their truth.")
    parser.add_argument("--out", type=Path, default=FIXTURE)
    out = parser.parse_args().out
    out.parent.mkdir(parents=True, exist_ok=True)
    # A row of a matrix per line: short enough for version control, and numbers keep all digits.
    text = json.dumps(fixture(), indent=1)
    out.write_text(compact(text) + "\n")


def compact(text):
    """JSON of indent 1 with each innermost list on one line."""
    lines, row = [], None
    for line in text.splitlines():
        content = line.strip()
        number = content.rstrip(",").lstrip("-")[:1].isdigit()
        if content.endswith("["):
            lines.append(line)
        elif number:
            row = lines[-1].endswith("[") if row is None else row
            lines[-1] += content + (" " if content.endswith(",") else "")
        elif row and content.startswith("]"):
            lines[-1] += content
            row = None
        else:
            lines.append(line)
            row = None
    return "\n".join(lines)


if __name__ == "__main__":
    main()
