"""The one loop: a loss to minimise for a number of steps, resumable, logged, on one process or many.

Optimiser, rate, average and sharding are given (`Course`). Under `accelerate launch` every process draws its own batch
and the mean of all gradients is taken; a batch drawn by `step_rng` is the same whether several processes draw it at
once or one process after the other (`accumulate`).
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator, PartialState
from torch import Tensor, nn

from ..errors import InputError, OutputError
from ..files import replacing
from .optimiser import Average, Optimiser
from .sharding import full_state, full_states, load_full, load_states

LOG_EVERY = 20
Loss = Callable[[nn.Module, int], dict[str, Tensor]]
"""(model, step) -> `loss`, and what else is to be logged."""
Report = Callable[[nn.Module, int], None]
"""Is called with the model (the average where there is one) and its step whenever the state was saved."""

_part: ContextVar[int] = ContextVar("part of a step", default=0)


@dataclass(frozen=True)
class Course:
    """How a training goes about it."""

    steps: int
    optimiser: Callable[[nn.Module], Optimiser]
    rate: Callable[[int, float], float] = lambda step, share: 1.0
    """(step, share of the way) -> part of the optimiser's peak rates."""
    decay: float | None = None
    """Of the moving average of the weights; None: no average."""
    seed: int = 0
    precision: str = "no"
    """"bf16": autocast; the weights stay as they are."""
    accumulate: int = 1
    """Batches to a step, in every process."""
    shard: Callable[[nn.Module], None] | None = None
    """Spreads a network over the processes (`sharding.py`); not called where there is one."""
    compiled: bool = False
    until: float | None = None
    """A wall-clock time (time.time()) at which it ends: the schedule's decay is then reached early."""
    save_minutes: float = 10.0
    names: Callable[[int], str] = lambda step: ""
    """What the batch of a step was made of, for a person who looks for the one that broke it."""


def fit(
    name: str, work: Path, model: nn.Module, loss_of: Loss, course: Course, report: Report | None = None
) -> nn.Module:
    """Minimise `loss_of(model, step)["loss"]` over what of the model learns; returns it, or its average.

    The state is saved to `work/name.pt` and read from there at the start; a loss that takes its randomness from torch
    and `step_rng` then goes on exactly as if it had not been stopped. InputError: a loss or a gradient that is no
    number; the weights before that step are saved. OutputError: the state cannot be written; the one of before stays.
    """
    return _Training(name, work, model, course, report).run(loss_of)


class _Training:
    def __init__(self, name: str, work: Path, model: nn.Module, course: Course, report: Report | None) -> None:
        self.accelerator = Accelerator(mixed_precision=course.precision, cpu=not torch.cuda.is_available())
        self.name, self.course, self.report = name, course, report
        self.path, self.log = work / f"{name}.pt", work / f"{name}.jsonl"
        self.model = model.to(self.accelerator.device)
        self.average = None if course.decay is None else Average(model, course.decay)
        spread = course.shard if self.accelerator.num_processes > 1 else None
        self.sharded = spread is not None
        if spread is not None:
            for network in (self.model, *([self.average.module] if self.average else [])):
                spread(network)
        self.optimiser = course.optimiser(self.model)
        self.first = self._load()
        self.running = torch.compile(self.model, dynamic=False) if course.compiled else self.model
        self.began = self.saved = time.time()

    @property
    def result(self) -> nn.Module:
        return self.average.module if self.average else self.model

    def run(self, loss_of: Loss) -> nn.Module:
        steps = self.course.steps
        for step in range(self.first, steps):
            losses = self._gradients(loss_of, step)
            finite, share, due = self._agreed(step, losses["loss"])
            if share >= 1:
                break
            size = self.optimiser.step(self.course.rate(step, share)) if finite else math.nan
            if not math.isfinite(size):
                self._give_up(step)
            if self.average:
                self.average.update_parameters(self.model)
            if step % LOG_EVERY == 0 and self.accelerator.is_main_process:
                log_step(self.log, step, size, time.time() - self.began, losses)
            if due:
                self._keep(step + 1)
        if self.first < steps:
            self._keep(steps)
        return self.result

    def _gradients(self, loss_of: Loss, step: int) -> dict[str, Tensor]:
        parts: list[dict[str, Tensor]] = []
        count = self.course.accumulate
        for part in range(count):
            token = _part.set(part)
            try:
                torch.manual_seed(int(step_rng(self.course.seed, step).integers(2**63)))
                with self.accelerator.autocast():
                    parts.append(loss_of(self.running, step))
            finally:
                _part.reset(token)
            self.accelerator.backward(parts[-1]["loss"] / count)
            parts[-1] = {key: value.detach() for key, value in parts[-1].items()}
        if not self.sharded:
            average_gradients(self.accelerator, self.optimiser.parameters)
        return {key: torch.stack([part[key].float() for part in parts]).mean() for key in parts[0]}

    def _agreed(self, step: int, loss: Tensor) -> tuple[bool, float, bool]:
        """Is the loss a number, how far along is this step, is it time to save: the same in all processes."""
        due = time.time() - self.saved > self.course.save_minutes * 60
        own = torch.tensor([float(torch.isfinite(loss)), self._progress(step), float(due)], dtype=torch.float64)
        if self.accelerator.num_processes > 1:
            own = self.accelerator.reduce(own.float().to(self.accelerator.device), "mean")
        finite, share, due_share = own.tolist()
        return finite == 1, share, due_share > 0

    def _progress(self, step: int) -> float:
        """How far along the schedule this step is: by steps or by the clock, whichever is further."""
        share, until = step / self.course.steps, self.course.until
        if until is None or step == self.first:
            return share
        at_start = self.first / self.course.steps
        clock = at_start + (1 - at_start) * (time.time() - self.began) / max(until - self.began, 1e-3)
        return max(share, clock)

    def _give_up(self, step: int) -> None:
        self._save(step)
        batch = self.course.names(step)
        raise InputError(
            f"{self.name}: the loss of step {step} is no number (seed {self.course.seed}"
            + (f"; its batch: {batch}" if batch else "")
            + f"); the weights before it are in {self.path}: go on with a lower lr, or with clips that are whole"
        )

    def _keep(self, step: int) -> None:
        self._save(step)
        self.saved = time.time()
        if self.report is not None and (self.sharded or self.accelerator.is_main_process):
            was = self.result.training
            self.report(self.result.eval(), step)
            self.result.train(was)

    def _save(self, step: int) -> None:
        if not (self.sharded or self.accelerator.is_main_process):
            return
        state = {
            "step": step, "sharded": self.sharded, "model": self._learned(self.model),
            "optimiser": full_states(self.model, self.optimiser.parts) if self.sharded else self.optimiser.state_dict(),
        }  # fmt: skip
        if self.average:
            state |= {"average": self._learned(self.average.module), "count": self.average.count}
        if self.accelerator.is_main_process:
            try:
                with replacing(self.path) as part:
                    torch.save(state, part)
            except (OSError, RuntimeError) as error:  # torch's own writer tells a full disk by the latter
                reason = getattr(error, "strerror", None) or f"{str(error).splitlines()[0]}; is the disk full?"
                kept = f"what was saved is still in {self.path}" if self.path.exists() else "nothing was saved before"
                raise OutputError(
                    f"cannot save {self.name} at step {step} ({reason}); {kept}: make room and give the command again"
                ) from error

    def _learned(self, network: nn.Module) -> dict[str, Tensor]:
        """What a training changes: all but frozen parameters."""
        state = full_state(network) if self.sharded else network.state_dict()
        frozen = _frozen(self.model)
        return {key: value for key, value in state.items() if key not in frozen}

    def _load(self) -> int:
        if not self.path.exists():
            return 0
        state = self._read()
        if state.get("sharded", False) != self.sharded:
            kinds = ("a whole", "a sharded") if self.sharded else ("a sharded", "a whole")
            raise InputError(
                f"{self.path} is the state of {kinds[0]} training, this is {kinds[1]} one: set shard as it was"
            )
        frozen = _frozen(self.model)
        own, saved = ({key: value.shape for key, value in kept.items() if key not in frozen}
                      for kept in (self.model.state_dict(), state["model"]))  # fmt: skip
        if own != saved or ("average" in state) != bool(self.average):
            raise self._of_another()
        for network, part in ((self.model, "model"), *([(self.average.module, "average")] if self.average else [])):
            load_full(network, state[part], self.sharded)
        if self.average:
            self.average.count = state["count"]
        if self.sharded:
            load_states(self.model, self.optimiser.parts, state["optimiser"])
        else:
            try:
                self.optimiser.load_state_dict(state["optimiser"])
            except (ValueError, KeyError):
                raise self._of_another() from None
        return state["step"]

    def _read(self) -> dict[str, Any]:
        """The state that was saved. InputError: it is damaged."""
        try:
            state = torch.load(self.path, map_location="cpu", weights_only=True)
            if state.keys() >= {"step", "model", "optimiser"}:
                return state
        except (OSError, RuntimeError, ValueError, LookupError, EOFError, AttributeError, UnpicklingError):
            pass
        raise InputError(f"{self.path} is damaged or no state of a training: bring it back, or remove it to begin anew")

    def _of_another(self) -> InputError:
        return InputError(
            f"{self.path} is the state of another training; give another `out`, or remove it to begin anew"
        )


def _frozen(model: nn.Module) -> set[str]:
    return {name for name, value in model.named_parameters() if not value.requires_grad}


def step_rng(*key: int) -> np.random.Generator:
    """The randomness of one batch: of a step, of this process in it. What ran before it does not matter."""
    state = PartialState()
    return np.random.default_rng([*key, _part.get() * state.num_processes + state.process_index])


def average_gradients(accelerator: Accelerator, parameters: Iterable[nn.Parameter]) -> None:
    """Every process goes on with the mean of all processes' gradients."""
    if accelerator.num_processes > 1:
        for parameter in parameters:
            if parameter.grad is not None:
                parameter.grad = accelerator.reduce(parameter.grad, "mean")


def log_step(log: Path, step: int, gradient: float, seconds: float, losses: Mapping[str, Tensor]) -> None:
    """A line of JSON: the step, the gradient's norm, the seconds since the start, the losses."""
    row = {key: round(float(value.detach()), 5) for key, value in losses.items()}
    with open(log, "a", encoding="utf-8") as file:
        file.write(json.dumps({"step": step, "gradient": round(gradient, 3), "seconds": round(seconds), **row}) + "\n")


def log_unseen(work: Path, name: str, step: int, means: Mapping[str, float | Tensor]) -> None:
    """What a report found on what is not learned from: printed, and a line of JSON in `NAME_unseen.jsonl`."""
    row = {key: round(float(value), 4) for key, value in means.items()}
    print(f"{name}, step {step}, unseen: " + ", ".join(f"{key} {value:.4f}" for key, value in row.items()), flush=True)
    with open(work / f"{name}_unseen.jsonl", "a", encoding="utf-8") as file:
        file.write(json.dumps({"step": step, **row}) + "\n")
