"""What a training needs, before it is begun: memory by part, and how long a step takes.

Memory is that of one whole step on tensors that hold no numbers (torch's fake tensors), at its peak: weights,
gradients, optimiser, average, activations. Time is measured: a step of one block and one of two tell what a block
costs. What an allocator wastes and what a GPU's libraries take is not in it.
"""

from __future__ import annotations

import time
import weakref
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from ...models.dit import DiT, DiTConfig
from ...models.text import LENGTH
from ..objective import flow_loss
from ..optimiser import Optimiser
from .options import SizedOptions
from .run import optimiser_of, prepared, sizes
from .start import count, fresh
from .windows import Encoding

PARTS = ("weights", "adapters", "gradients", "optimiser", "average", "activations")
GIGABYTE = 1e9
MEASURED_STEPS = 2


@dataclass(frozen=True)
class Need:
    """Bytes by part at the step's peak, in one process; seconds of a step, None where it was not measured."""

    parameters: float
    """Millions."""
    learning: float
    """Millions of them that learn."""
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
        learn = f", of which {self.learning:.1f} M learn" if self.learning < self.parameters else ""
        head = f"{self.parameters:.0f} M parameters{learn}; in every process, at the peak of a step:"
        return "\n".join([head, *rows])


def need(options: SizedOptions, encoding: Encoding, text_dim: int, processes: int = 1) -> Need:
    """Of the training that a table asks for, on this kind of machine; nothing large is allocated.

    Sharded over `processes`: weights, gradients, optimiser and average are divided, activations are not. InputError:
    windows that are not for this training.
    """
    config = sizes(options, encoding, text_dim)
    network = _network(options, config, torch.device("meta"))
    with FakeTensorMode(allow_non_fake_inputs=True):
        parts = _peak(options, encoding, _without_numbers(network, _device()))
    if options.shard:
        parts = {name: size / (1 if name == "activations" else processes) for name, size in parts.items()}
    return Need(count(network), sum(value.numel() for value in _learning(network)) / 1e6, parts)


def step_seconds(options: SizedOptions, encoding: Encoding, text_dim: int) -> float:
    """Of the training that a table asks for, here, from what one block and two take."""
    config = sizes(options, encoding, text_dim)
    one, two = (_measure(options, encoding, replace(config, depth=depth)) for depth in (1, 2))
    return options.accumulate * max(one + (config.depth - 1) * (two - one), one)


def _peak(options: SizedOptions, encoding: Encoding, dit: DiT) -> dict[str, float]:
    optimiser, batch = optimiser_of(options, dit), _batch(options, encoding, dit.config, _device())
    learning = _learning(dit)
    for value in learning:
        value.grad = torch.zeros_like(value)
    _update(optimiser)  # makes its state
    states = [state for part in optimiser.parts for state in part.state.values()]
    known = {
        "weights": [value for value in dit.parameters() if not value.requires_grad] if options.lora_rank else learning,
        "adapters": learning if options.lora_rank else [],
        "optimiser": [value for value in tree_leaves(states) if isinstance(value, Tensor)],
        "activations": batch.values(),
    }
    with Tracker(known, learning) as tracker:
        _step(options, dit, optimiser, batch)
    average = sum(value.numel() * value.element_size() for value in dit.state_dict().values()) if options.ema else 0
    parts = {name: float(tracker.peak[name]) for name in PARTS if name != "adapters" or options.lora_rank}
    return parts | {"average": float(average)}


class Tracker(TorchDispatchMode):
    """Bytes of every tensor that lives, by part, and those at the moment at which they were most.

    torch's own (`torch.distributed._tools.mem_tracker`) takes no network of which some is frozen, and a time that grows
    with the square of its layers.
    """

    def __init__(self, known: Mapping[str, Iterable[Tensor]], learning: Iterable[Tensor]) -> None:
        """known: part -> what lives before. What is made is "activations" until it is the gradient of a parameter."""
        super().__init__()
        self.living: Counter[str] = Counter()
        self.peak: Counter[str] = Counter()
        self._storages: dict[int, tuple[weakref.ref, str, int]] = {}
        for part, tensors in known.items():
            for value in tensors:
                self._count(value, part)
        self._hooks = [value.register_post_accumulate_grad_hook(self._is_gradient) for value in learning]

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        for value in tree_leaves(made):
            if isinstance(value, Tensor):
                self._count(value, "activations")
        if self.living.total() > self.peak.total():
            self.peak = self.living.copy()
        return made

    def __exit__(self, *error: Any) -> None:
        for hook in self._hooks:
            hook.remove()
        super().__exit__(*error)

    def _count(self, value: Tensor, part: str) -> None:
        storage = value.untyped_storage()
        key = id(storage)
        if key not in self._storages:
            self._storages[key] = (weakref.ref(storage, lambda _: self._gone(key)), part, storage.nbytes())
            self.living[part] += storage.nbytes()

    def _gone(self, key: int) -> None:
        _, part, size = self._storages.pop(key)
        self.living[part] -= size

    def _is_gradient(self, parameter: Tensor) -> None:
        self._count(parameter.grad, "gradients")
        key = id(parameter.grad.untyped_storage())
        storage, part, size = self._storages[key]
        self._storages[key] = (storage, "gradients", size)
        self.living[part] -= size
        self.living["gradients"] += size


def _step(options: SizedOptions, dit: DiT, optimiser: Optimiser, batch: dict[str, Tensor]) -> None:
    with torch.autocast(batch["target"].device.type, torch.bfloat16, enabled=options.bf16):
        loss = flow_loss(dit, batch, options.objective)["loss"]
    loss.backward()
    _update(optimiser)


def _update(optimiser: Optimiser) -> None:
    for part in optimiser.parts:
        part.step()
        part.zero_grad(set_to_none=True)


def _measure(options: SizedOptions, encoding: Encoding, config: DiTConfig) -> float:
    device = _device()
    dit = _network(options, config, device)
    optimiser, batch = optimiser_of(options, dit), _batch(options, encoding, config, device)
    times = []
    for _ in range(1 + MEASURED_STEPS):
        began = time.perf_counter()
        _step(options, dit, optimiser, batch)
        if device.type == "cuda":
            torch.cuda.synchronize()
        times.append(time.perf_counter() - began)
    return min(times[1:])


def _device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def _network(options: SizedOptions, config: DiTConfig, device: torch.device) -> DiT:
    with device:
        return prepared(options, fresh(config))


def _without_numbers(network: DiT, device: torch.device) -> DiT:
    """A network of the meta device moved to another, in place; under a fake mode that takes no memory."""
    for module in network.modules():
        for name, value in list(module.named_parameters(recurse=False)):
            there = torch.empty(value.shape, dtype=value.dtype, device=device)
            setattr(module, name, nn.Parameter(there, value.requires_grad))
    return network


def _learning(network: nn.Module) -> list[Tensor]:
    return [value for value in network.parameters() if value.requires_grad]


def _batch(options: SizedOptions, encoding: Encoding, config: DiTConfig, device: torch.device) -> dict[str, Tensor]:
    shapes = {
        "target": encoding.latent, "source": encoding.latent, "speech": encoding.speech,
        "text": (LENGTH, config.text_dim), "mouth": encoding.mouth, "sigma": (), "tau": (),
    }  # fmt: skip
    return {name: torch.ones(options.batch, *shape, device=device) * 0.5 for name, shape in shapes.items()}
