"""The digits preset's training step in plain PyTorch eager, to measure the Rust program against.

Written as one would write it by hand in PyTorch, for the same network, loss and optimizer. Modules
carry the names of the Rust program's weights, so a checkpoint of one fits the other by
`load_state_dict`. Everything that a preset fixes is read from its JSON file; a value for which
there is no code here is refused rather than ignored, since it would make the comparison unfair.

As a program it serves `train_throughput.py`: each line of its input, `BATCH STEPS`, is answered by
one line of JSON, and in between it waits without using the processor.
"""

import argparse
import json
import math
import sys
import time

import numpy
import torch
from torch import nn
from torch.nn import functional

LEVELS = 17  # of a digit's pixel: 0 to 16
EPSILON = 1e-6  # of group normalization, as VDM has it


class ResBlock(nn.Module):
    """Two 3x3 convolutions, the noise level added between them, around a shortcut."""

    def __init__(self, inputs, width, groups, dropout):
        super().__init__()
        self.norm1 = nn.GroupNorm(groups, inputs, EPSILON)
        self.conv1 = nn.Conv2d(inputs, width, 3, padding=1)
        self.condition = zeroed(nn.Linear(4 * width, width, bias=False))
        self.norm2 = nn.GroupNorm(groups, width, EPSILON)
        self.dropout = nn.Dropout(dropout) if dropout > 0 else nn.Identity()
        self.conv2 = zeroed(nn.Conv2d(width, width, 3, padding=1))
        self.shortcut = nn.Conv2d(inputs, width, 1) if inputs != width else nn.Identity()

    def forward(self, x, condition):
        h = self.conv1(functional.silu(self.norm1(x))) + self.condition(condition)[:, :, None, None]
        h = self.conv2(self.dropout(functional.silu(self.norm2(h))))
        return self.shortcut(x) + h


class SelfAttention(nn.Module):
    """One head over all pixels, as a residual branch."""

    def __init__(self, width, groups):
        super().__init__()
        self.norm = nn.GroupNorm(groups, width, EPSILON)
        self.qkv = nn.Conv2d(width, 3 * width, 1)
        self.output = zeroed(nn.Conv2d(width, width, 1))

    def forward(self, x):
        batch, channels = x.shape[:2]
        # [B, 3C, H, W] to three of [B, 1 head, HW, C].
        qkv = self.qkv(self.norm(x)).view(batch, 3, channels, -1).transpose(2, 3).unsqueeze(2)
        mixed = functional.scaled_dot_product_attention(*qkv.unbind(1))
        return x + self.output(mixed.squeeze(1).transpose(1, 2).reshape(x.shape))


class Stage(nn.Module):
    """A block, perhaps followed by attention."""

    def __init__(self, inputs, attention, spec):
        super().__init__()
        width, groups = spec["width"], spec["groups"]
        self.block = ResBlock(inputs, width, groups, spec["dropout"])
        self.attention = SelfAttention(width, groups) if attention else nn.Identity()

    def forward(self, x, condition):
        return self.attention(self.block(x, condition))


class UNet(nn.Module):
    """VDM's U-Net at constant resolution, for images of one channel."""

    def __init__(self, spec):
        super().__init__()
        width, depth = spec["width"], spec["depth"]
        everywhere = spec["attention"] == "everywhere"
        self.embedding = nn.ModuleList(
            [nn.Linear(width, 4 * width), nn.Linear(4 * width, 4 * width)]
        )
        self.input = nn.Conv2d(1, width, 3, padding=1)
        self.down = nn.ModuleList(Stage(width, everywhere, spec) for _ in range(depth))
        self.middle = nn.ModuleList([Stage(width, True, spec), Stage(width, False, spec)])
        self.up = nn.ModuleList(Stage(2 * width, everywhere, spec) for _ in range(depth + 1))
        self.norm = nn.GroupNorm(spec["groups"], width, EPSILON)
        self.output = zeroed(nn.Conv2d(width, LEVELS, 3, padding=1))
        self.register_buffer("frequencies", frequencies(width // 2), persistent=False)

    def forward(self, z, t):
        angles = t[:, None] * self.frequencies
        condition = torch.cat([angles.sin(), angles.cos()], 1)
        for layer in self.embedding:
            condition = functional.silu(layer(condition))
        h = self.input(z)
        skips = [h]
        for stage in self.down:
            h = stage(h, condition)
            skips.append(h)
        for stage in self.middle:
            h = stage(h, condition)
        for stage in self.up:
            h = stage(torch.cat([h, skips.pop()], 1), condition)
        return self.output(functional.silu(self.norm(h)))


def zeroed(layer):
    """The layer, started at zero: the branch it ends contributes nothing at first."""
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)
    return layer


def frequencies(count):
    """Geometrically falling from 1000 to 0.1, of a time in [0, 1]."""
    return 1000 * torch.exp(-math.log(10_000) / (count - 1) * torch.arange(count))


class Vdm(nn.Module):
    """The network with the meaning of its output: log-probabilities of a pixel's levels."""

    def __init__(self, config):
        super().__init__()
        refuse_what_is_not_written(config)
        schedule = config["diffusion"]["schedule"]
        self.cleanest, self.noisiest = schedule["log_snr_max"], schedule["log_snr_min"]
        self.network = UNet(config["network"])
        centers = self.encode(torch.arange(LEVELS)).view(1, 1, -1, 1, 1)
        self.register_buffer("centers", centers, persistent=False)

    @staticmethod
    def encode(pixels):
        """Data values to latents in [-1, 1]."""
        return (pixels.float() + 0.5) * (2 / LEVELS) - 1

    def image(self, z, t, alpha, sigma):
        """The mean of p(x|z), with the network saying what other pixels tell of each."""
        output = self.network(z, t).unsqueeze(1)
        alpha, sigma = alpha.unsqueeze(-1), sigma.unsqueeze(-1)
        distance = (z.unsqueeze(2) - alpha * self.centers) / sigma
        logits = output - 0.5 * distance.square()
        return (logits.softmax(2) * self.centers).sum(2)

    def loss(self, pixels, times, noise):
        """Diffusion term of the continuous-time bound, nats per item.

        `times` are doubles, and levels follow from them in double precision: a small sigma must
        not be the difference of rounded numbers.
        """
        span = self.cleanest - self.noisiest
        log_snr = self.cleanest - span * times
        column = log_snr.view(-1, 1, 1, 1)
        alpha, sigma = column.sigmoid().sqrt().float(), (-column).sigmoid().sqrt().float()
        x = self.encode(pixels)
        z = alpha * x + sigma * noise
        squares = (self.image(z, times.float(), alpha, sigma) - x).square().flatten(1).sum(1)
        # An error of the image is SNR times the squared error of the noise.
        return squares * (0.5 * span * log_snr.exp()).float()


def refuse_what_is_not_written(config):
    """The parts of a configuration of which this file knows one kind only."""
    network, training = config["network"], config["training"]
    known = [
        ("data.kind", config["data"]["kind"], ["digits"]),
        ("diffusion.schedule.kind", config["diffusion"]["schedule"]["kind"], ["linear"]),
        ("diffusion.scaling", config["diffusion"]["scaling"], ["variance_preserving"]),
        ("diffusion.weighting.kind", config["diffusion"]["weighting"]["kind"], ["elbo"]),
        ("network.kind", network["kind"], ["unet"]),
        ("network.attention", network["attention"], ["middle", "everywhere"]),
        ("network.fourier", network["fourier"], [[]]),
        ("network.patch", network["patch"], [1]),
        ("head", config["head"], ["categorical"]),
        ("training.accumulate", training["accumulate"], [1]),
        ("training.precision", training["precision"], ["f32"]),
        ("training.optimizer.decay.kind", training["optimizer"]["decay"]["kind"], ["inverse_sqrt"]),
        ("training.ema.kind", training["ema"]["kind"], ["power"]),
    ]
    for field, value, kinds in known:
        if value not in kinds:
            raise ValueError(f"{field} = {value!r}: vdm_torch.py knows {kinds} only")


class Trainer:
    """A model in training on images that are in memory."""

    def __init__(self, config, pixels, batch):
        self.pixels, self.batch, self.done = pixels, batch, 0
        self.spec, self.ema = config["training"]["optimizer"], config["training"]["ema"]
        self.model = Vdm(config)
        self.parameters = list(self.model.parameters())
        self.average = [p.detach().clone() for p in self.parameters]
        self.optimizer = torch.optim.AdamW(
            self.parameters,
            betas=(self.spec["beta1"], self.spec["beta2"]),
            weight_decay=self.spec["weight_decay"],
            fused=True,
        )
        self.order = iter(())

    def draw(self):
        """Data, times (one in each n-th of [0, 1]) and noise of the next step."""
        indices = next(self.order, None)
        if indices is None:
            whole = len(self.pixels) // self.batch * self.batch
            self.order = iter(torch.randperm(len(self.pixels))[:whole].split(self.batch))
            indices = next(self.order)
        pixels = self.pixels[indices]
        strata = torch.arange(self.batch, dtype=torch.float64)
        times = (torch.rand((), dtype=torch.float64) + strata) / self.batch
        return pixels, times, torch.randn(pixels.shape)

    def learning_rate(self, step):
        warm = min(1, step / max(1, self.spec["warmup"]))
        after = max(1, self.spec["decay"]["after"])
        return self.spec["learning_rate"] * warm * min(1, math.sqrt(after / step))

    def step(self, pixels, times, noise):
        """One optimizer step; the loss before it, in nats per item."""
        self.done += 1
        self.optimizer.zero_grad()
        losses = self.model.loss(pixels, times, noise)
        (losses.sum() / pixels.numel()).backward()
        norm = nn.utils.clip_grad_norm_(self.parameters, self.spec["clip"])
        self.optimizer.param_groups[0]["lr"] = self.learning_rate(self.done)
        self.optimizer.step()
        remains = (1 - 1 / self.done) ** (self.ema["exponent"] + 1)
        with torch.no_grad():
            torch._foreach_lerp_(self.average, self.parameters, 1 - remains)
        loss = losses.mean().item()
        if not (math.isfinite(loss) and math.isfinite(norm.item())):
            raise ArithmeticError(f"loss {loss}, gradient norm {norm.item()} at step {self.done}")
        return loss

    def measure(self, steps):
        """Images per second and mean loss (bits/dim) of the second half of `steps`.

        The clock runs during steps alone. Drawing a batch is left out because the Rust program
        leaves it out too: there it happens meanwhile, on a thread of its own.
        """
        seconds = total = 0
        first = steps // 2
        for index in range(steps):
            batch = self.draw()
            start = time.perf_counter()
            loss = self.step(*batch)
            if index >= first:
                seconds += time.perf_counter() - start
                total += loss
        counted = steps - first
        dims = self.pixels[0].numel()
        return counted * self.batch / seconds, total / (counted * dims * math.log(2))


def serve(config, pixels):
    """Answers `BATCH STEPS` lines; one model per batch size, which goes on learning."""
    trainers = {}
    idle_since = time.process_time()
    for line in sys.stdin:
        # Only a peer that slept has left the machine to the other one.
        idle_cpu = time.process_time() - idle_since
        batch, steps = map(int, line.split())
        if batch not in trainers:
            trainers[batch] = Trainer(config, pixels, batch)
        trainer = trainers[batch]
        images_per_second, loss = trainer.measure(steps)
        answer = {
            "images_per_second": images_per_second,
            "diffusion_bits_per_dim": loss,
            "parameters": sum(p.numel() for p in trainer.parameters),
            "torch": torch.__version__,
            "idle_cpu_seconds": idle_cpu,
        }
        print(json.dumps(answer), flush=True)
        idle_since = time.process_time()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("preset", help="JSON file of the configuration")
    parser.add_argument("digits", help="digits.npz, with images [N, 8, 8] under x")
    parser.add_argument("--threads", type=int, required=True)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    with open(options.preset) as file:
        config = json.load(file)
    torch.manual_seed(config["seed"])
    serve(config, torch.from_numpy(numpy.load(options.digits)["x"]).unsqueeze(1))


if __name__ == "__main__":
    main()
