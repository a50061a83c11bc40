"""What a training needs, before it is begun: memory by part, and how long a step takes.

Memory is that of one whole step on tensors that hold no numbers (torch's fake tensors), at its peak: weights,
gradients, optimiser, average, activations. Time is measured: a step of one block and one of two tell what a block
costs. What an allocator wastes and what a GPU's libraries take is not in it.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.distributed._tools.mem_tracker import MemTracker

from ...errors import InputError
from ...models.dit import DiT, DiTConfig
from ...models.text import LENGTH
from ..objective import flow_loss
from ..optimiser import Optimiser
from .options import SizedOptions
from .run import optimiser_of, recompute
from .start import count, describe, fresh
from .windows import Encoding

PARTS = ("weights", "gradients", "optimiser", "average", "activations")
_OF_TRACKER = {"Parameter": "weights", "Gradient": "gradients", "Optstate": "optimiser"}
GIGABYTE = 1e9
MEASURED_STEPS = 2


@dataclass(frozen=True)
class Need:
    """Bytes by part at the step's peak, in one process; seconds of a step, None where it was not measured."""

    parameters: float
    """Millions."""
    parts: dict[str, float]
    seconds: float | None = None

    @property
    def total(self) -> float:
        return sum(self.parts.values())

    def __str__(self) -> str:
        rows = [f"  {name:<12}{size / GIGABYTE:9.2f} GB" for name, size in self.parts.items()]
        rows.append(f"  {'sum':<12}{self.total / GIGABYTE:9.2f} GB")
        if self.seconds is not None:
            rows.append(f"  a step takes some {self.seconds:.2f} s here")
        return "\n".join([f"{self.parameters:.0f} M parameters; in every process, at the peak of a step:", *rows])


def need(options: SizedOptions, encoding: Encoding, text_dim: int, processes: int = 1) -> Need:
    """Of the training that a table asks for, on this kind of machine; nothing large is allocated.

    Sharded over `processes`: weights, gradients, optimiser and average are divided, activations are not. InputError: a
    LoRA, which peft puts into real networks alone.
    """
    if options.lora_rank:
        raise InputError(
            "--dry-run reckons whole trainings: leave lora_rank out; a LoRA has the same weights, hardly any gradients"
        )
    config = describe(options.size, options.dit, encoding.heard, text_dim)
    with FakeTensorMode(allow_non_fake_inputs=True):
        parts, parameters = _peak(options, encoding, config)
    if options.shard:
        parts = {name: size / (1 if name == "activations" else processes) for name, size in parts.items()}
    return Need(parameters, parts)


def step_seconds(options: SizedOptions, encoding: Encoding, text_dim: int) -> float:
    """Of the training that a table asks for, here, from what one block and two take."""
    config = describe(options.size, options.dit, encoding.heard, text_dim)
    one, two = (_measure(options, encoding, replace(config, depth=depth)) for depth in (1, 2))
    return options.accumulate * max(one + (config.depth - 1) * (two - one), one)


def _peak(options: SizedOptions, encoding: Encoding, config: DiTConfig) -> tuple[dict[str, float], float]:
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    dit = _prepared(options, config, device)
    parameters = count(dit)
    average = sum(value.numel() * value.element_size() for value in dit.state_dict().values()) if options.ema else 0
    optimiser = optimiser_of(options, dit)
    batch = _batch(options, encoding, config, device)
    _step(options, dit, optimiser, batch, None)  # makes the optimiser's state
    tracker = MemTracker()
    tracker.track_external(dit, *optimiser.parts, *batch.values())
    _step(options, dit, optimiser, batch, tracker)
    peak = next(iter(tracker.get_tracker_snapshot("peak").values()))
    found = {getattr(kind, "value", str(kind)): size for kind, size in peak.items()}
    parts = {ours: float(found.get(theirs, 0)) for theirs, ours in _OF_TRACKER.items()}
    rest = float(found["Total"]) - sum(parts.values())
    return {**parts, "average": float(average), "activations": rest}, parameters


def _step(
    options: SizedOptions, dit: DiT, optimiser: Optimiser, batch: dict[str, Tensor], tracker: MemTracker | None
) -> None:
    def step() -> None:
        with torch.autocast(batch["target"].device.type, torch.bfloat16, enabled=options.bf16):
            loss = flow_loss(dit, batch, options.objective)["loss"]
        loss.backward()
        for part in optimiser.parts:
            part.step()
            part.zero_grad(set_to_none=True)

    if tracker is None:
        step()
        return
    with tracker:
        step()


def _measure(options: SizedOptions, encoding: Encoding, config: DiTConfig) -> float:
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    dit = _prepared(options, config, device)
    optimiser, batch = optimiser_of(options, dit), _batch(options, encoding, config, device)
    times = []
    for _ in range(1 + MEASURED_STEPS):
        began = time.perf_counter()
        _step(options, dit, optimiser, batch, None)
        if device.type == "cuda":
            torch.cuda.synchronize()
        times.append(time.perf_counter() - began)
    return min(times[1:])


def _prepared(options: SizedOptions, config: DiTConfig, device: torch.device) -> DiT:
    with device:
        dit = fresh(config)
    return recompute(dit) if options.recompute else dit


def _batch(options: SizedOptions, encoding: Encoding, config: DiTConfig, device: torch.device) -> dict[str, Tensor]:
    shapes = {
        "target": encoding.latent, "source": encoding.latent, "speech": encoding.speech,
        "text": (LENGTH, config.text_dim), "mouth": encoding.mouth, "sigma": (), "tau": (),
    }  # fmt: skip
    return {name: torch.ones(options.batch, *shape, device=device) * 0.5 for name, shape in shapes.items()}
