"""Training speed of the digits preset, images per second: the Rust program against PyTorch eager.

The contenders take turns on one machine within one run, so that what disturbs one disturbs all.
README.md says how to run it and what is compared.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PRESET = ROOT / "crates/vdm-torch/presets/digits.json"
DIGITS = ROOT / "crates/vdm-data/data/digits.npz"

RUST, EAGER, EAGER_KEEPING = "vdm (Rust)", "PyTorch eager", "PyTorch eager, memory kept"

# glibc's allocator told to keep freed memory, which helps a training on the CPU as the Rust program's own allocator
# does. Rarely known to those who use PyTorch, so the peer is measured without and with it.
KEEP_FREED_MEMORY = {
    "MALLOC_MMAP_THRESHOLD_": str(1 << 30),
    "MALLOC_TRIM_THRESHOLD_": str((1 << 31) - 1),
    "MALLOC_TOP_PAD_": str(64 << 20),
}

# Everything a run writes besides its metrics, made as small as it can be.
CHEAP_OUTPUTS = {
    "output.samples": 1,
    "output.sample_every": 1_000_000,
    "output.validation_items": 1,
    "output.validate_every": 1_000_000,
    "output.checkpoint_every": 1_000_000,
    "sampler.steps": 1,
    "evaluation.draws": 1,
}

# Of processor time, by a peer that waits for its turn: a worker thread may spin a little at first.
MOST_IDLE_CPU_SECONDS = 0.2


class Rust:
    """One process a turn: `vdm train`, which reports its own speed."""

    def __init__(self, program, threads):
        self.program, self.threads = program, threads
        # It finds the libtorch it was linked with; the Python environment's must not get between.
        self.environment = {k: v for k, v in os.environ.items() if k != "LD_LIBRARY_PATH"}

    def measure(self, batch, steps):
        with tempfile.TemporaryDirectory() as folder:
            run = Path(folder) / "run"
            command = [self.program, "train", "--config", PRESET, "--out", run, "--device", "cpu"]
            command += ["--threads", self.threads, "--batch", batch, "--steps", steps]
            # Two lines of metrics: the first half warms up, the second counts.
            settings = {**CHEAP_OUTPUTS, "output.log_every": steps // 2}
            for path, value in settings.items():
                command += ["--set", f"{path}={value}"]
            done = subprocess.run(
                list(map(str, command)), env=self.environment, capture_output=True, text=True
            )
            if done.returncode != 0:
                raise SystemExit(f"{self.program} train failed:\n{done.stderr}")
            last = lambda log, kind: [
                record
                for record in map(json.loads, (run / log).read_text().splitlines())
                if record.get("kind") == kind
            ][-1]
            counted = {**last("metrics.jsonl", "train"), **last("timings.jsonl", None)}
            result = json.loads((run / "result.json").read_text())
        answer = {key: counted[key] for key in ("images_per_second", "diffusion_bits_per_dim")}
        return {**answer, "parameters": result["parameters"], "torch": result["libtorch"]}

    def close(self):
        pass


class Eager:
    """One process for all turns, asleep between them: PyTorch's start-up is not measured."""

    def __init__(self, threads, environment):
        script = Path(__file__).with_name("vdm_torch.py")
        self.process = subprocess.Popen(
            [sys.executable, script, PRESET, DIGITS, "--threads", str(threads)],
            env={**os.environ, **environment},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.measure(batch=1, steps=2)  # waits until it has started

    def measure(self, batch, steps):
        print(batch, steps, file=self.process.stdin, flush=True)
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit("vdm_torch.py ended; its message is above")
        return json.loads(line)

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def measure_all(contenders, options):
    """`{(batch, name): [answers]}`; who goes first changes from round to round."""
    answers = {}
    names = list(contenders)
    for number in range(options.rounds):
        for batch in options.batches:
            for name in names:
                answer = contenders[name].measure(batch, options.steps)
                answers.setdefault((batch, name), []).append(answer)
                speed = answer["images_per_second"]
                print(f"round {number + 1}, batch {batch}: {name} {speed:.0f}", file=sys.stderr)
        names = names[1:] + names[:1]
    return answers


def check(answers):
    """That the numbers are about the same network, and that nobody ran out of turn."""
    everything = [answer for per_contender in answers.values() for answer in per_contender]
    counts = {answer["parameters"] for answer in everything}
    if len(counts) != 1:
        raise SystemExit(f"the networks differ: {sorted(counts)} parameters")
    idle = max(answer.get("idle_cpu_seconds", 0) for answer in everything)
    if idle > MOST_IDLE_CPU_SECONDS:
        raise SystemExit(f"a waiting peer used {idle:.2f} s of the processor: nothing to compare")


def facts(answers, options):
    """What the numbers depend on, besides the programs."""
    first = {name: per_contender[0] for (_, name), per_contender in answers.items()}
    print(f"processor   {processor()}, {os.cpu_count()} cores; {options.threads} threads used")
    system, release = platform.system(), platform.release()
    print(f"system      {system} {release}, Python {platform.python_version()}")
    print(f"libraries   libtorch {first[RUST]['torch']} (vdm), torch {first[EAGER]['torch']}")
    print(f"network     {first[RUST]['parameters']:,} parameters, the same in all")
    rounds, steps = options.rounds, options.steps
    print(f"measured    {rounds} rounds of {steps} steps, the second half counted\n")


def processor():
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def table(answers):
    """Images per second; the ratio is that of medians, above 1 where the Rust program is faster."""
    print("| batch | program | median | min | max | vdm is faster by | loss of round 1, bits/dim |")
    print("|---:|---|---:|---:|---:|---:|---:|")
    for (batch, name), per_contender in answers.items():
        speeds = [answer["images_per_second"] for answer in per_contender]
        median = statistics.median(speeds)
        rust = statistics.median(a["images_per_second"] for a in answers[batch, RUST])
        loss = per_contender[0]["diffusion_bits_per_dim"]
        ratio = "" if name == RUST else f"{rust / median:.2f}×"
        print(
            f"| {batch} | {name} | {median:.0f} | {min(speeds):.0f} | {max(speeds):.0f} "
            f"| {ratio} | {loss:.2f} |"
        )


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--program", default=ROOT / "target/program/vdm", help="the Rust program")
    add("--rounds", type=int, default=5)
    add("--steps", type=int, default=400, help="of one turn; even")
    add("--batches", type=int, nargs="+", default=[16, 64])
    add("--threads", type=int, default=os.cpu_count())
    options = parser.parse_args()
    if options.steps < 2 or options.steps % 2:
        parser.error("--steps must be even: half of them are the warm-up")
    return options


def main():
    options = arguments()
    load = os.getloadavg()[0]
    if load > 0.5:
        print(f"the machine is busy (load {load:.1f}); speeds will be too low", file=sys.stderr)
    contenders = {
        RUST: Rust(options.program, options.threads),
        EAGER: Eager(options.threads, {}),
        EAGER_KEEPING: Eager(options.threads, KEEP_FREED_MEMORY),
    }
    try:
        answers = measure_all(contenders, options)
    finally:
        for contender in contenders.values():
            contender.close()
    check(answers)
    facts(answers, options)
    table(answers)


if __name__ == "__main__":
    main()
