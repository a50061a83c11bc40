"""The way back: from a changed window and the clip's own sound to the clip itself, in one step, judged in pixels.

The transformer learns through low-rank additions to its matrices (Hu et al. 2021), the decoder as a whole. What speaks
of time, words and the encoders stays.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from ..engines.omnisync import OmniSyncEngine, choose_dtype
from ..training.generator import Generator, GeneratorOptions, edited, generator_loss, mouth_box
from ..training.latents import as_video
from ..training.stage import device_of
from .material import Windows

RANK = 16
TRANSFORMER_RATE, DECODER_RATE = 5e-4, 1e-4
BATCH = 2
OBJECTIVE = GeneratorOptions(plain_share=0.0, truth_share=0.25, latent_weight=0.3)
KEPT_OUT = 0.12
"""Share of the windows, the last ones, that say how far it has come."""


class LowRank(nn.Module):
    """A matrix and what is added to it: B A, nothing at the start."""

    def __init__(self, weight: Tensor, rank: int) -> None:
        super().__init__()
        self.inner = nn.Parameter(torch.randn(rank, weight.shape[1], device=weight.device) / weight.shape[1] ** 0.5)
        self.outer = nn.Parameter(torch.zeros(weight.shape[0], rank, device=weight.device))

    def forward(self, weight: Tensor) -> Tensor:
        with torch.autocast(weight.device.type, enabled=False):
            return weight + self.outer @ self.inner


@dataclass(frozen=True)
class Pairs:
    """Latents and pictures of windows (the answers) and of their changes (the questions)."""

    target_WCthw: Tensor
    source_WKCthw: Tensor
    frames_WTHWC: np.ndarray
    changed_WKTHWC: np.ndarray
    speech_WTND: Tensor
    mouth_WT3: Tensor
    times_WT: np.ndarray

    def draw(self, rows: np.ndarray, text: Tensor, rng: np.random.Generator) -> dict[str, Tensor]:
        """A batch as `generator_loss` takes it, one change of each row."""
        changes = rng.integers(self.source_WKCthw.shape[1], size=len(rows))
        return {
            "target": self.target_WCthw[rows].float(),
            "source": self.source_WKCthw[rows, changes].float(),
            "target_frames": torch.as_tensor(self.frames_WTHWC[rows]),
            "source_frames": torch.as_tensor(self.changed_WKTHWC[rows, changes]),
            "speech": self.speech_WTND[rows],
            "text": text.expand(len(rows), *text.shape[1:]),
            "mouth": self.mouth_WT3[rows].float(),
            "sigma": torch.as_tensor(rng.uniform(OBJECTIVE.sigma_least, 1, len(rows))).float(),
        }


class Pupil:
    """Networks that learn, and what they have learned so far."""

    def __init__(self, networks: Mapping[str, nn.Module], engine: OmniSyncEngine, seed: int) -> None:
        """`networks` are the bundle's; copies of them learn."""
        torch.manual_seed(seed)
        dit, vae = (copy.deepcopy(networks[part]).float().requires_grad_(False) for part in ("dit", "vae"))
        self.low_rank = {
            name: LowRank(module.weight, RANK)
            for name, module in dit.named_modules()
            if isinstance(module, nn.Linear) and name.startswith("blocks.") and "text_attention" not in name
        }
        for name, part in self.low_rank.items():
            parametrize.register_parametrization(dit.get_submodule(name), "weight", part)
        vae.decoder.requires_grad_(True)
        self.model = Generator(dit, vae)
        self._before = {name: value.detach().clone() for name, value in vae.decoder.named_parameters()}
        self._text, self._tau = engine.text.float().cpu().clone(), engine.sampling.tau
        learned = [parameter for part in self.low_rank.values() for parameter in part.parameters()]
        self._optimiser = torch.optim.AdamW(
            [
                {"params": learned, "lr": TRANSFORMER_RATE},
                {"params": list(vae.decoder.parameters()), "lr": DECODER_RATE},
            ],
            betas=(0.9, 0.99),
        )
        self._peaks = [group["lr"] for group in self._optimiser.param_groups]

    def encode(self, frames_WTHWC: Iterable[np.ndarray]) -> Iterator[Tensor]:
        """Latents of windows, one after another."""
        for frames_THWC in frames_WTHWC:
            with torch.no_grad(), self._autocast():
                video = as_video(torch.as_tensor(frames_THWC)[None]).to(device_of(self.model))
                yield self.model.vae.encode(video)[0].float().cpu().half()

    def step(self, pairs: Pairs, rows: np.ndarray, rate: float, rng: np.random.Generator) -> bool:
        """Learn from some windows at `rate` times the full rate; False: the numbers ran over, nothing was changed."""
        torch.manual_seed(int(rng.integers(2**62)))
        with self._autocast():
            loss = generator_loss(self.model, pairs.draw(rows, self._text, rng), len(rows), OBJECTIVE, rng)["loss"]
        loss.backward()
        parameters = [parameter for group in self._optimiser.param_groups for parameter in group["params"]]
        norm = nn.utils.clip_grad_norm_(parameters, 1.0)
        is_sound = bool(torch.isfinite(loss.detach()) & torch.isfinite(norm))
        if is_sound:
            for group, peak in zip(self._optimiser.param_groups, self._peaks, strict=True):
                group["lr"] = peak * rate
            self._optimiser.step()
        self._optimiser.zero_grad(set_to_none=True)
        return is_sound

    @torch.no_grad()
    def share(self, pairs: Pairs, rows: np.ndarray) -> float:
        """How much of the way back it finds, around the mouth: 1 all of it, 0 none, below 0 it leads further away."""
        left = there = 0.0
        for row in rows:
            torch.manual_seed(int(row))
            batch = pairs.draw(np.array([row]), self._text, np.random.default_rng(int(row)))
            batch = {name: value.to(device_of(self.model)) for name, value in batch.items()}
            with self._autocast():
                source, result, target = edited(self.model, batch, self._tau)
            box = (..., *mouth_box(batch["mouth"][0], source.shape[-1]))
            left += float((result - target)[box].square().sum())
            there += float((source - target)[box].square().sum())
        return 1 - left / max(there, 1e-9)

    def learned(self) -> tuple[dict[str, tuple[Tensor, Tensor]], dict[str, Tensor]]:
        """Layer -> (A, B) of the transformer; parameter -> change of the decoder. Copies."""
        pairs = {
            name: (part.inner.detach().clone(), part.outer.detach().clone()) for name, part in self.low_rank.items()
        }
        now = self.model.vae.decoder.named_parameters()
        return pairs, {name: value.detach() - self._before[name] for name, value in now}

    @torch.no_grad()
    def remember(self, transformer: Mapping[str, tuple[Tensor, Tensor]], decoder: Mapping[str, Tensor]) -> None:
        """Go on from what was learned before."""
        for name, (inner, outer) in transformer.items():
            self.low_rank[name].inner.copy_(inner)
            self.low_rank[name].outer.copy_(outer)
        for name, value in self.model.vae.decoder.named_parameters():
            value.copy_(self._before[name] + decoder[name].to(value))

    def _autocast(self) -> torch.autocast:
        """bfloat16 where the hardware multiplies it fast; never float16, which gradients would run over."""
        place = device_of(self.model)
        return torch.autocast(place.type, torch.bfloat16, enabled=choose_dtype("auto", place) is torch.bfloat16)


def split(times_WT: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Windows to learn from (one at least), and the last ones, which are kept out: no frame is in both."""
    count = len(times_WT)
    out = max(1, round(KEPT_OUT * count))
    before = times_WT[: count - out, -1] < times_WT[count - out, 0]
    return np.arange(max(1, int(before.sum()))), np.arange(count - out, count)


def pairs_of(
    pupil: Pupil, windows: Windows, changed_WKTHWC: np.ndarray, on_window: Callable[[], None] = lambda: None
) -> Pairs:
    """Pairs of windows and their changes; `on_window` is called after each that is encoded."""

    def encoded(frames_WTHWC: Iterable[np.ndarray]) -> Iterator[Tensor]:
        for latent in pupil.encode(frames_WTHWC):
            on_window()
            yield latent

    target = torch.stack(list(encoded(windows.frames_WTHWC)))
    source = torch.stack([torch.stack(list(encoded(changes_KTHWC))) for changes_KTHWC in changed_WKTHWC])
    return Pairs(
        target, source, windows.frames_WTHWC, changed_WKTHWC, torch.as_tensor(windows.speech_WTND).float(),
        torch.as_tensor(windows.mouth_WT3), windows.times_WT,
    )  # fmt: skip
