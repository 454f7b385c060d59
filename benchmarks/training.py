"""How fast is child training beside a plain loop over modules, and what is better on two cores: two
workers of one thread or one of two?

    taskset -c 0,1 python benchmarks/training.py [--rounds 5] [--seconds 1.0] [--only
    digits|cifar10]

Images a second of this process's CPU time, one thread, batches of 64, with SGD and a clipped
gradient: four random cells of AmoebaNet's operations with N = 1, each way of training in turn, the
median of the rounds. Then candidates an hour of wall-clock time. Writes
benchmarks/results/training.json.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from evoml.contracts.task import ImageSet
from evoml.networks.module import Module
from evoml.networks.reference import ReferenceNetwork
from evoml.networks.settings import TrainingSettings
from evoml.networks.training import train
from evoml.phenotypes.network import Network
from evoml.spaces import cell

RESULT = Path(__file__).parent / "results" / "training.json"
# image, F, the ratio that is wanted
SIZES = {"digits": ((1, 8, 8), 8, 1.35), "cifar10": ((3, 32, 32), 16, 1.65)}
# training images, validation images, epochs of one candidate
CHILD = {"digits": (1000, 400, 5), "cifar10": (640, 128, 1)}
CELLS, BATCH = 4, 64


def networks(name: str) -> list[Network]:
    """One network a random cell."""
    size, filters, _ = SIZES[name]
    space = cell.CellSpace(
        cell.Settings.model_validate({"skeleton": {"cells": 1, "filters": filters}})
    )
    some = space.random(np.arange(100, 100 + CELLS, dtype=np.uint64))
    return [space.network(some.genotype(index), size, 10) for index in range(CELLS)]


def autograd(network: Network) -> Module:
    """The module with torch's autograd in place of its own pass: channels_last, steps without
    weights shared between edges, one flat parameter.
    """
    module = Module(network)
    module._train = module._run  # type: ignore[method-assign]
    return module


# what is trained, channels_last, torch's fused optimiser
WAYS: dict[str, tuple[Callable[[Network], nn.Module], bool, bool]] = {
    "plain": (ReferenceNetwork, False, False),
    "plain, fused optimiser": (ReferenceNetwork, False, True),
    "plain, channels_last": (
        lambda network: ReferenceNetwork(network).to(memory_format=torch.channels_last),
        True,
        False,
    ),
    "module through autograd": (autograd, True, True),
    "module": (Module, True, True),
}


def stepper(module: nn.Module, x: Tensor, y: Tensor, fused: bool) -> Callable[[], None]:
    """One training step."""
    optimiser = torch.optim.SGD(
        module.parameters(), 0.05, 0.9, weight_decay=3e-4, nesterov=True, fused=fused or None
    )
    module.train()

    def step() -> None:
        out = module(x)
        loss = nn.functional.cross_entropy(out[0] if isinstance(out, tuple) else out, y)
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(module.parameters(), 5.0)
        optimiser.step()
        loss.item()

    return step


def rate(step: Callable[[], None], seconds: float) -> float:
    """Images a CPU second."""
    done, began = 0, time.process_time()
    while time.process_time() - began < seconds:
        step()
        done += BATCH
    return done / (time.process_time() - began)


def compare(network: Network, rounds: int, seconds: float) -> dict[str, float]:
    """Images a CPU second, by way, the median of the rounds; and every way's ratio to the plain
    one.
    """
    images = torch.randn(BATCH, *network.inputs).to(memory_format=torch.channels_last)
    labels, steps = torch.randint(network.classes, (BATCH,)), {}
    for way, (make, last, fused) in WAYS.items():
        torch.manual_seed(0)
        steps[way] = stepper(make(network), images if last else images.contiguous(), labels, fused)
        for _ in range(2):
            steps[way]()
    rates = [{way: rate(step, seconds) for way, step in steps.items()} for _ in range(rounds)]
    out = {way: statistics.median(row[way] for row in rates) for way in WAYS}
    return out | {
        f"{way}: ratio": statistics.median(row[way] / row["plain"] for row in rates) for way in WAYS
    }


def work(name: str, threads: int, count: int) -> float:
    """Wall-clock seconds of `count` candidates in this process, after one that does not count."""
    torch.set_num_threads(threads)
    (size, _, _), (n, m, epochs) = SIZES[name], CHILD[name]
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(n + m, *size)).astype(np.float32), rng.integers(10, size=n + m)
    data = ImageSet(
        x[:n], y[:n], x[n:], y[n:], tuple(map(str, range(10))), np.zeros(size[0]), np.ones(size[0])
    )
    settings, some = TrainingSettings(epochs=epochs), networks(name)
    train(some[0], data, TrainingSettings(epochs=1, batch=BATCH), 0)
    began = time.perf_counter()
    for index in range(count):
        train(some[index % CELLS], data, settings, index)
    return time.perf_counter() - began


def candidates_an_hour(name: str, processes: int, threads: int, count: int = 4) -> float:
    """Of workers side by side, each with `count` candidates."""
    command = [sys.executable, __file__, "--work", name, str(threads), str(count)]
    running = [
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(processes)
    ]
    return sum(3600 * count / float(process.communicate()[0]) for process in running)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--only", choices=SIZES, help="the other size keeps its figures")
    parser.add_argument(
        "--work", nargs=3, metavar=("SIZE", "THREADS", "COUNT"), help=argparse.SUPPRESS
    )
    options = parser.parse_args()
    if options.work:
        print(work(options.work[0], int(options.work[1]), int(options.work[2])))
        return
    torch.set_num_threads(1)
    results = json.loads(RESULT.read_text()) if options.only and RESULT.exists() else {}
    for name in [options.only] if options.only else SIZES:
        cells = [
            compare(network, options.rounds, options.seconds * (1 if name == "digits" else 2))
            for network in networks(name)
        ]
        found = {key: round(statistics.median(row[key] for row in cells), 2) for key in cells[0]}
        ratios = [round(row["module: ratio"], 2) for row in cells]
        hour = {
            f"{processes} x {threads}": round(candidates_an_hour(name, processes, threads))
            for processes, threads in ((2, 1), (1, 2))
        }
        results[name] = {
            "wanted": SIZES[name][2],
            "ratios": ratios,
            "images_a_cpu_second": found,
            "candidates_an_hour": hour,
        }
        for way in WAYS:
            print(
                f"{name:8} {way:24} {found[way]:8.0f} images a CPU second, "
                f"{found[f'{way}: ratio']:.2f} times plain"
            )
        print(
            f"{name:8} ratios of the cells {ratios}, wanted {SIZES[name][2]}; candidates an hour, "
            f"processes x threads: {hour}",
            flush=True,
        )
        RESULT.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
