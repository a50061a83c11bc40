"""The table `[omnisync]` of a training's TOML file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

from ...errors import InputError
from ..objective import PAPER, ObjectiveOptions
from ..settings import check_kinds, check_number

OBJECTIVES = {"paper": PAPER, "ours": ObjectiveOptions()}
OPTIMISERS = ("adamw", "muon")


@dataclass(frozen=True)
class SizedOptions:
    """Defaults are the paper's where it says them."""

    data: str
    """A folder of encoded windows (`prepare`)."""
    vae: str
    """A bundle or Wan 2.1's file: what the windows were encoded with; so is `whisper`, or a published Whisper."""
    whisper: str
    text: str
    """A bundle, or a folder with a T5, UMT5 or ByT5 and its tokenizer."""
    steps: int
    size: str = "base"
    """One of `start.SIZES`; `dit` changes some of its numbers."""
    dit: Mapping[str, Any] = field(default_factory=dict)
    init: str = ""
    """HuMo 1.7B's or Wan 2.1 1.3B's file; a bundle, whose sizes are taken where `dit` changes none; or from nothing."""
    batch: int = 1
    """Pairs in every process, `accumulate` times a step."""
    accumulate: int = 1
    optimiser: str = "adamw"
    lr: float = 1e-5
    weight_decay: float = 0.01
    betas: tuple[float, float] = (0.9, 0.999)
    warmup: int = 0
    ema: float = 0.0
    """Decay of the weights' moving average, which is then what is written; 0: none."""
    bf16: bool = True
    recompute: bool = True
    """Activations are computed a second time instead of kept."""
    shard: bool = False
    """Weights, gradients and optimiser are spread over the processes."""
    lora_rank: int = 0
    """Above 0: the transformer of the bundle `init` stays as it is, a LoRA for it is learned and written."""
    objective: ObjectiveOptions = PAPER
    sampling: Mapping[str, Any] = field(default_factory=dict)
    save_minutes: float = 10.0

    def __post_init__(self) -> None:
        for name in ("steps", "batch", "accumulate"):
            if getattr(self, name) < 1:
                raise InputError(f"omnisync.{name} must be 1 or more, got {getattr(self, name)}")
        check_number("omnisync.lr", self.lr, 0, least=False)
        check_number("omnisync.weight_decay", self.weight_decay, 0)
        for name in ("warmup", "lora_rank"):
            check_number(f"omnisync.{name}", getattr(self, name), 0, whole=True)
        if not all(0 <= beta < 1 for beta in self.betas):
            raise InputError(f"omnisync.betas must be from 0 to below 1, got {list(self.betas)}")
        if self.optimiser not in OPTIMISERS:
            raise InputError(f"omnisync.optimiser must be one of {', '.join(OPTIMISERS)}, got {self.optimiser!r}")
        if self.optimiser == "muon" and self.shard:
            raise InputError("Muon needs whole matrices: set omnisync.shard = false or optimiser = 'adamw'")
        if not 0 <= self.ema < 1:
            raise InputError(f"omnisync.ema must be from 0 to below 1, got {self.ema}")
        if self.lora_rank and (self.ema or not self.init):
            raise InputError("a LoRA is learned over a bundle and has no average: give omnisync.init, leave ema out")
        if self.lora_rank and self.shard:
            raise InputError("a LoRA is too small to be spread over processes: set omnisync.shard = false")


def read_options(table: Mapping[str, Any]) -> SizedOptions:
    """InputError: an unknown or missing name, or a value out of its bounds."""
    if not isinstance(table, Mapping):
        raise InputError(f"[omnisync] must be a table, got {table!r}")
    known = {one.name for one in fields(SizedOptions)}
    unknown = sorted(table.keys() - known)
    missing = sorted({"data", "vae", "whisper", "text", "steps"} - table.keys())
    if unknown or missing:
        raise InputError(f"[omnisync] lacks {missing or 'nothing'} and has unknown {unknown or 'nothing'}")
    check_kinds(SizedOptions, table, "omnisync")
    settings = dict(table)
    if "objective" in settings:
        settings["objective"] = _objective(settings["objective"])
    if "betas" in settings:
        settings["betas"] = tuple(settings["betas"])
    return SizedOptions(**settings)


def _objective(table: Mapping[str, Any]) -> ObjectiveOptions:
    """`like` says which of `OBJECTIVES`; what else is there changes it."""
    changes = dict(table)
    like = changes.pop("like", "paper")
    unknown = sorted(changes.keys() - {one.name for one in fields(ObjectiveOptions)})
    if unknown or like not in OBJECTIVES:
        raise InputError(
            f"[omnisync.objective] has unknown {unknown or 'nothing'}; like must be one of {', '.join(OBJECTIVES)}"
        )
    check_kinds(ObjectiveOptions, changes, "omnisync.objective")
    return replace(OBJECTIVES[like], **changes)
