"""The way back: from a changed window and the clip's own sound to the clip itself, in one step, judged in pixels.

The transformer learns through low-rank additions to its matrices (Hu et al. 2021), the decoder as a whole. What speaks
of time, words and the encoders stays.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn.utils import parametrize

from ..engines.omnisync import OmniSyncEngine
from ..training.generator import Generator, GeneratorOptions, generator_loss
from ..training.latents import as_video
from ..training.stage import device_of

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

    def encode(self, frames_WTHWC: np.ndarray) -> Tensor:
        """Latents of windows, one after another."""
        with torch.no_grad(), self._autocast():
            videos = (as_video(torch.as_tensor(frames)[None]).to(device_of(self.model)) for frames in frames_WTHWC)
            return torch.cat([self.model.vae.encode(video).float().cpu() for video in videos]).half()

    def step(self, pairs: Pairs, rows: np.ndarray, rate: float, rng: np.random.Generator) -> float:
        """Learn from some windows at `rate` times the full rate; returns the loss. It may be no number."""
        torch.manual_seed(int(rng.integers(2**62)))
        with self._autocast():
            loss = generator_loss(self.model, pairs.draw(rows, self._text, rng), len(rows), OBJECTIVE, rng)["loss"]
        loss.backward()
        parameters = [parameter for group in self._optimiser.param_groups for parameter in group["params"]]
        nn.utils.clip_grad_norm_(parameters, 1.0)
        for group, peak in zip(self._optimiser.param_groups, self._peaks, strict=True):
            group["lr"] = peak * rate
        self._optimiser.step()
        self._optimiser.zero_grad(set_to_none=True)
        return float(loss.detach())

    @torch.no_grad()
    def share(self, pairs: Pairs, rows: np.ndarray) -> float:
        """How much of the way back it finds, around the mouth: 1 all of it, 0 none, below 0 it leads further away."""
        left = there = 0.0
        for row in rows:
            torch.manual_seed(int(row))
            batch = pairs.draw(np.array([row]), self._text, np.random.default_rng(int(row)))
            batch = {name: value.to(device_of(self.model)) for name, value in batch.items()}
            source, target = (as_video(batch[f"{name}_frames"]) for name in ("source", "target"))
            with self._autocast():
                sigma = torch.full_like(batch["sigma"], self._tau)
                clean = self.model.predict(batch["source"], sigma, batch["speech"], batch["text"])
                result = self.model.decode(clean, source).clamp(-1, 1)
            x, y, width = (batch["mouth"][0].mean(0) * source.shape[-1]).tolist()
            box = (..., *(slice(max(0, round(at - 0.62 * width)), round(at + 0.62 * width)) for at in (y, x)))
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
        return torch.autocast(device_of(self.model).type, torch.bfloat16)


def split(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Windows to learn from, and those kept out."""
    out = max(1, round(KEPT_OUT * count))
    return np.arange(count - out), np.arange(count - out, count)


def pairs_of(
    pupil: Pupil, frames_WTHWC: np.ndarray, changed_KWTHWC: np.ndarray, speech: np.ndarray, mouth: np.ndarray
) -> Pairs:  # fmt: skip
    changed_WKTHWC = rearrange(changed_KWTHWC, "k w t h w2 c -> w k t h w2 c")
    source = pupil.encode(rearrange(changed_WKTHWC, "w k t h w2 c -> (w k) t h w2 c"))
    return Pairs(
        pupil.encode(frames_WTHWC), source.unflatten(0, changed_WKTHWC.shape[:2]), frames_WTHWC, changed_WKTHWC,
        torch.as_tensor(speech).float(), torch.as_tensor(mouth),
    )  # fmt: skip
