"""An engine that works in latents: a group of windows is encoded, then sampled, then decoded.

Where VAE and transformer do not fit into memory together they then change places once a group, not once a window.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..diffusion import flow
from ..spec import VideoSpec
from .protocol import Edit, Excerpt

OnStep = Callable[[int, int], None]


@dataclass(frozen=True)
class Held:
    """Latent frames that a window shares with finished ones, from its frame `first` on."""

    latent_BCthw: Tensor
    first: int

    @classmethod
    def following(cls, source: Tensor, source_before: Tensor, result_before: Tensor, lead: int, stride: int) -> Held:
        """What a window with the latents `source` continues, of which `lead` video frames end the window before.

        The same frames have other latents in another window, since a causal autoencoder sees them after other ones; the
        edit of them is the same but for what a way through pixels costs as well, so the edit is handed on. The first
        latent frame holds a single video frame, which no latent frame before does: it is free.
        """
        count = (lead - 1) // stride
        edit = result_before[:, :, -count:] - source_before[:, :, -count:]
        return cls(source[:, :, 1 : 1 + count] + edit.to(source), 1)

    def on_path(self, x: Tensor, eps: Tensor, sigma: Tensor) -> Tensor:
        """x with these frames on the straight path from eps to them: a window goes on where the last one ended."""
        held = slice(self.first, self.first + self.latent_BCthw.shape[2])
        x = x.clone()
        x[:, :, held] = flow.add_noise(self.latent_BCthw.to(x), eps[:, :, held].to(x), float(sigma))
        return x


class LatentEngine(ABC):
    """A `GroupEngine` (see `engines/protocol.py`) of three strokes."""

    spec: VideoSpec
    group = 4

    @abstractmethod
    def encode(self, frames_THWC: np.ndarray) -> Tensor:
        """Pictures, 0..1, to latents (1, C, t, h, w)."""

    @abstractmethod
    def sample(self, excerpt: Excerpt, source_BCthw: Tensor, held: Held | None, on_step: OnStep) -> Tensor:
        """The edited latents of a window whose source has these; `held` stays what it is."""

    @abstractmethod
    def decode(self, latent_BCthw: Tensor) -> np.ndarray:
        """Back to pictures (T, S, S, 3), float32, 0..1."""

    def edit(
        self,
        frames_THWC: np.ndarray,
        speech_TND: Any,
        mouth_T3: np.ndarray,
        *,
        anchor: np.ndarray | None,
        seed: int,
        on_step: OnStep,
    ) -> Edit:
        window = Excerpt(frames_THWC, speech_TND, mouth_T3, seed)
        return next(self.edit_group([window], anchor=anchor, on_step=on_step))

    @torch.inference_mode()
    def edit_group(self, excerpts: Sequence[Excerpt], *, anchor: np.ndarray | None, on_step: OnStep) -> Iterator[Edit]:
        for excerpt in excerpts:
            self.spec.latent_frames(len(excerpt.frames_THWC))
        sources = [self.encode(excerpt.frames_THWC) for excerpt in excerpts]
        held = None if anchor is None else Held(self.encode(anchor), 0)
        results: list[Tensor] = []
        for excerpt, source in zip(excerpts, sources, strict=True):
            if results:
                before = sources[len(results) - 1], results[-1]
                anew = excerpt.lead == 0
                held = None if anew else Held.following(source, *before, excerpt.lead, self.spec.temporal_stride)
            results.append(self.sample(excerpt, source, held, on_step))
        for result, source in zip(results, sources, strict=True):
            yield Edit(self.decode(result), self.decode(source))
