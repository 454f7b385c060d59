"""Training of one network on images, from scratch or from weights that are given: the same result
for the same seed and number of threads, whatever ran before in the process.

Cutout: DeVries and Taylor 2017, arXiv 1708.04552. Label smoothing: Szegedy et al. 2016, arXiv
1512.00567. Cosine schedule: Loshchilov and Hutter 2017, arXiv 1608.03983, without restarts.
Augmentation works on whole batches at once.
"""

import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from evoml.contracts.executor import Stage
from evoml.contracts.task import LayeredData
from evoml.core.streams import outputs
from evoml.genotypes.population import CRASHED, DIVERGED, OK, TIMED_OUT
from evoml.networks.batches import channels_last
from evoml.networks.fused_optimisers import FusedOptimiser
from evoml.networks.losses import Loss, loss_named
from evoml.networks.module import Module
from evoml.networks.settings import TrainingSettings
from evoml.phenotypes.network import Network

# of a batch: enough to be quick, not so many that they leave the processor's caches
VALIDATION_PIXELS = 2**18
# batches after which moments, of which each batch is a tenth, are those of the images
SETTLING = 50
_WEIGHTS, _ORDER, _AUGMENT = range(1, 4)  # what a generator is for


@dataclass(frozen=True)
class Trained:
    """What training came to.

    Curves have one number an epoch that was finished, all on the validation images but
    `train_losses`.
    """

    module: Module | None  # in evaluation mode; None where it crashed
    curve: tuple[float, ...]  # the metric: accuracy, where there are classes
    losses: tuple[float, ...]
    # mean of the epoch's batches, with label smoothing, without the auxiliary head
    train_losses: tuple[float, ...]
    epoch: int  # whose accuracy, loss and weights these are; -1: none was finished
    seconds: float
    steps: int
    status: int  # a position in `population.STATUS`
    error: str = ""

    @property
    def accuracy(self) -> float:
        return self.curve[self.epoch] if self.curve else 0.0

    @property
    def loss(self) -> float:
        return self.losses[self.epoch] if self.losses else math.inf


@dataclass
class Begun:
    """A training after some of its epochs: tensors by path, and numbers as JSON has them."""

    tensors: dict[str, Tensor]
    numbers: dict[str, Any]


class Data:
    """An image set as tensors.

    Images lie as [N, H, W, C]; a batch is a view [N, C, H, W] of it in torch's channels_last
    layout.
    """

    def __init__(self, images: LayeredData, device: str = "cpu") -> None:
        self.train_x, self.valid_x = (
            torch.from_numpy(channels_last(x)).to(device) for x in (images.train_x, images.valid_x)
        )
        self.head, self.loss = images.head, loss_named(images.head.loss)
        self.train_y, self.valid_y = (
            self.loss.goals(y).to(device) for y in (images.train_y, images.valid_y)
        )
        self.device = device


def train(
    network: Network, data: LayeredData | Data, settings: TrainingSettings, seed: int, *,
    timeout: float = 0.0, device: str = "cpu", after: Callable[[int, float], bool] | None = None,
    start: Mapping[str, Tensor] | None = None, watch: Callable[[Stage], None] | None = None,
    begun: "Begun | None" = None, keep: "Callable[[Begun], None] | None" = None,
) -> Trained:  # fmt: skip
    """Train from scratch, or from the weights `start`, whose running moments do not count. timeout:
    seconds, 0 none. after(epoch, accuracy): called after every epoch; False ends the training
    there. watch: told after every step how far it is; it may raise. begun: an
    earlier call's, to be gone on with; it ends as that would have ended. keep: called with where it
    stands after every epoch but the last.

    What the network itself brings about (divergence, no memory) is a status, never an exception.
    """
    began = time.perf_counter()
    run = None
    try:
        with _repeatable():
            run = _Run(
                network,
                data if isinstance(data, Data) else Data(data, device),
                settings,
                seed,
                start or {},
            )
            if begun is not None:
                run.load(begun)
                began -= begun.numbers["seconds"]
            deadline = began + timeout if timeout else math.inf
            status, error = run.go(began, deadline, after, watch, keep), ""
    # torch says RuntimeError where it finds no memory
    except (RuntimeError, MemoryError) as caught:
        status, error = CRASHED, " ".join(str(caught).split())[:200]
    seconds = time.perf_counter() - began
    if run is None or status == CRASHED:
        return Trained(None, (), (), (), -1, seconds, run.steps if run else 0, CRASHED, error)
    curves = tuple(run.curve), tuple(run.losses), tuple(run.train_losses)
    return Trained(run.module.eval(), *curves, run.epoch, seconds, run.steps, status)


class _Run:
    """One training in progress."""

    def __init__(
        self,
        network: Network,
        data: Data,
        settings: TrainingSettings,
        seed: int,
        start: Mapping[str, Tensor],
    ) -> None:
        self.data, self.settings = data, settings
        self._generators = tuple(
            _generator(seed, purpose) for purpose in (_WEIGHTS, _ORDER, _AUGMENT)
        )
        weights, self.order, self.draws = self._generators
        self.module = Module(network, weights, settings.drop_path_keep).to(data.device)
        self.optimiser = FusedOptimiser(list(self.module.parameters()), settings)
        self.batch = min(settings.batch, len(data.train_y))
        self.batches = len(data.train_y) // self.batch
        self.steps, self.epoch = 0, -1
        self.curve: list[float] = []
        self.losses: list[float] = []
        self.train_losses: list[float] = []
        self.best: dict[str, Tensor] = {}  # the best epoch's, where that is reported
        if start:
            # an auxiliary head is none of a supernet's
            self.module.load_state_dict(self.module.state_dict() | dict(start))
            self._settle()

    def go(
        self,
        began: float,
        deadline: float,
        after: Callable[[int, float], bool] | None,
        watch: Callable[[Stage], None] | None,
        keep: Callable[[Begun], None] | None,
    ) -> int:
        """All epochs; the status."""
        epochs = self.settings.epochs
        for epoch in range(len(self.curve), epochs):
            mean = 0.0
            for loss in self._epoch():
                if not math.isfinite(loss):
                    return DIVERGED
                now = time.perf_counter()
                if now > deadline:
                    return TIMED_OUT
                if watch is not None:
                    steps = epochs * self.batches
                    watch(Stage(self.steps, steps, epoch + 1, epochs, now - began))
                mean += loss / self.batches
            accuracy, valid = score(
                self.module, self.data.valid_x, self.data.valid_y, self.data.loss
            )
            if not math.isfinite(valid):
                return DIVERGED
            for curve, value in (
                (self.curve, accuracy),
                (self.losses, valid),
                (self.train_losses, mean),
            ):
                curve.append(value)
            if self.settings.report == "last" or epoch == 0 or self._better(accuracy):
                self.epoch = epoch
                self.best = (
                    {name: value.clone() for name, value in self.module.state_dict().items()}
                    if self.settings.report == "best"
                    else {}
                )
            if after is not None and not after(epoch, accuracy):
                break
            if keep is not None and epoch + 1 < epochs:
                keep(self.state(time.perf_counter() - began))
        self.module.load_state_dict(self.best or self.module.state_dict())
        return OK

    def state(self, seconds: float) -> Begun:
        """Where it stands, after so many seconds; shares the tensors."""
        tensors = {f"module/{name}": each for name, each in self.module.state_dict().items()}
        tensors |= {f"best/{name}": each for name, each in self.best.items()}
        for index, state in enumerate(self.optimiser.state):
            tensors |= {f"optimiser/{index}/{name}": each for name, each in state.items()}
        tensors |= {f"generator/{at}": each.get_state() for at, each in enumerate(self._generators)}
        names = ("steps", "epoch", "curve", "losses", "train_losses")
        return Begun(tensors, {"seconds": seconds} | {name: vars(self)[name] for name in names})

    def load(self, begun: Begun) -> None:
        """Go back to a state. Raises KeyError, IndexError, RuntimeError or ValueError where it does
        not fit.
        """
        parts: dict[str, dict[str, Tensor]] = {"module": {}, "best": {}, "generator": {}}
        for path, tensor in begun.tensors.items():
            part, _, name = path.partition("/")
            if part == "optimiser":
                index, _, name = name.partition("/")
                self.optimiser.state[int(index)][name] = tensor
            else:
                parts[part][name] = tensor
        self.module.load_state_dict(parts["module"])
        self.best = parts["best"]
        for at, generator in enumerate(self._generators):
            generator.set_state(parts["generator"][str(at)].cpu())
        vars(self).update({name: begun.numbers[name] for name in ("steps", "epoch")})
        for name in ("curve", "losses", "train_losses"):
            vars(self)[name] = [float(value) for value in begun.numbers[name]]

    def _better(self, metric: float) -> bool:
        best, larger = self.curve[self.epoch], self.data.head.objective.larger
        return metric > best if larger else metric < best

    def _settle(self) -> None:
        """Take the moments that normalise in evaluation from the training images: shared weights
        have none.
        """
        self.module.train()
        with torch.no_grad():
            for number in range(SETTLING):
                at = number % self.batches * self.batch
                self.module(self.data.train_x[at : at + self.batch].permute(0, 3, 1, 2))

    def _epoch(self) -> Iterator[float]:
        """One pass over the training images; the loss of every step."""
        self.module.train()
        order = torch.randperm(len(self.data.train_y), generator=self.order).to(self.data.device)
        for number in range(self.batches):
            at = order[number * self.batch : (number + 1) * self.batch]
            yield self._step(
                self.data.train_x.index_select(0, at), self.data.train_y.index_select(0, at)
            )

    def _step(self, x: Tensor, y: Tensor) -> float:
        """One step on images [N, H, W, C]; its loss."""
        settings, total = self.settings, self.settings.epochs * self.batches
        self.module.set_progress(self.steps / total)
        self.optimiser.lr = learning_rate(settings, self.steps, total)
        x = augmented(x, settings, self.draws).permute(0, 3, 1, 2)
        logits, side = self.module(x)
        loss = total_loss = self.data.loss.mean(logits, y, settings.label_smoothing)
        if side is not None:
            aside = self.data.loss.mean(side, y, settings.label_smoothing)
            total_loss = loss + settings.auxiliary_weight * aside
        self.optimiser.zero_grad()
        total_loss.backward()
        if settings.clip:
            torch.nn.utils.clip_grad_norm_(self.module.parameters(), settings.clip)
        self.optimiser.step()
        self.steps += 1
        return float(loss.detach())


def learning_rate(settings: TrainingSettings, step: int, total: int) -> float:
    """The rate at a step of `total`, counted from 0."""
    if settings.schedule == "cosine":
        return settings.lr * 0.5 * (1 + math.cos(math.pi * step / total))
    if settings.schedule == "step":
        return settings.lr * settings.decay_factor ** (
            step * settings.epochs // total // settings.decay_epochs
        )
    return settings.lr


def augmented(x: Tensor, settings: TrainingSettings, generator: torch.Generator) -> Tensor:
    """Images [N, H, W, C] moved, mirrored and cut as the settings say; the same ones where they say
    nothing.

    What moves in is the mean, zero.
    """
    count, height, width, _ = x.shape
    if settings.shift or settings.flip:
        down, right = (
            (torch.randint(-settings.shift, settings.shift + 1, (2, count, 1), generator=generator))
            if settings.shift
            else (0, 0)
        )
        rows, columns = (
            (torch.arange(height) + down).expand(count, -1),
            (torch.arange(width) + right).expand(count, -1),
        )
        if settings.flip:
            mirrored = torch.rand(count, 1, generator=generator) < 0.5
            columns = torch.where(mirrored, width - 1 - columns, columns)
        inside = ((rows >= 0) & (rows < height))[:, :, None] & ((columns >= 0) & (columns < width))[
            :, None, :
        ]
        flat = (
            rows.clamp(0, height - 1)[:, :, None] * width + columns.clamp(0, width - 1)[:, None, :]
        )
        flat = (torch.arange(count)[:, None, None] * height * width + flat).flatten().to(x.device)
        x = x.reshape(-1, x.shape[3]).index_select(0, flat).reshape(x.shape)
        if settings.shift:
            x = x * inside[..., None].to(x.device)
    if settings.cutout:
        middle = torch.stack(
            [torch.randint(side, (count, 1), generator=generator) for side in (height, width)]
        )
        first = middle - settings.cutout // 2
        rows, columns = (
            (torch.arange(side) >= at) & (torch.arange(side) < at + settings.cutout)
            for side, at in zip((height, width), first)
        )
        x = x * ~(rows[:, :, None] & columns[:, None, :])[..., None].to(x.device)
    return x


@torch.no_grad()
def score(module: Module, x: Tensor, y: Tensor, loss: Loss) -> tuple[float, float]:
    """Mean metric and mean loss on images [N, H, W, C]. Leaves the module in evaluation mode."""
    module.eval()
    metric, total, batch = 0.0, 0.0, max(VALIDATION_PIXELS // (x.shape[1] * x.shape[2]), 16)
    for images, labels in zip(x.split(batch), y.split(batch), strict=True):
        logits, _ = module(images.permute(0, 3, 1, 2))
        metric += loss.metric(logits, labels)
        total += loss.total(logits, labels)
    return metric / len(y), total / len(y)


def latency(module: Module, repeats: int = 20) -> float:
    """Seconds of a forward pass of one image, the median of `repeats`, on this machine."""
    channels, height, width = module.network.inputs
    image = torch.zeros(1, channels, height, width, device=module.linear.weight.device).to(
        memory_format=torch.channels_last
    )
    times = []
    with torch.inference_mode():
        module.eval()
        for _ in range(repeats + 3):
            began = time.perf_counter()
            float(module(image)[0][0, 0])
            times.append(time.perf_counter() - began)
    return float(np.median(times[3:]))


def _generator(seed: int, purpose: int) -> torch.Generator:
    derived = outputs(np.array([seed % 2**64], np.uint64), np.array([purpose]))[0]
    return torch.Generator().manual_seed(int(derived) >> 1)


@contextmanager
def _repeatable() -> Iterator[None]:
    """Deterministic algorithms where there are some; torch's own settings as they were
    afterwards.
    """
    before = torch.get_deterministic_debug_mode()
    filled = torch.utils.deterministic.fill_uninitialized_memory  # type: ignore[attr-defined]
    try:
        with torch.random.fork_rng(devices=[]):
            # use_deterministic_algorithms would import torch's compilers: seconds
            torch.set_deterministic_debug_mode("warn")
            torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
            yield
    finally:
        torch.set_deterministic_debug_mode(before)
        torch.utils.deterministic.fill_uninitialized_memory = filled  # type: ignore[attr-defined]
