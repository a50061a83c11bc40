"""An engine that works in latents: a group of windows is encoded, then sampled, then decoded.

Where VAE and transformer do not fit into memory together they then change places once a group, not once a window.
Inside a group a window is anchored in the latents of the one before, since its pixels are not there yet.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..diffusion import flow
from .protocol import Edit, Engine, Excerpt, OnStep


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


@dataclass(frozen=True)
class Encoded:
    """A window that is ready to be sampled."""

    excerpt: Excerpt
    source_BCthw: Tensor
    given: Any = None
    """What else an engine's sampling needs and an autoencoder made."""


class LatentEngine(Engine):
    """An `Engine` of three strokes."""

    group = 4
    has_codec = True
    decodes_with_source = False
    """Whether the decoder is given the source's pictures; what it then leaves as they are needs no reference."""

    @abstractmethod
    def encode(self, frames_THWC: np.ndarray) -> Tensor:
        """Pictures, 0..1, to latents (1, C, t, h, w)."""

    @abstractmethod
    def sample(self, window: Encoded, held: Held | None, on_step: OnStep) -> Tensor:
        """The edited latents of a window; `held` stays what it is."""

    @abstractmethod
    def decode(self, latent_BCthw: Tensor, source_THWC: np.ndarray | None = None) -> np.ndarray:
        """Back to pictures (T, S, S, 3), float32, 0..1; the source's where the decoder looks at them."""

    def prepare(self, excerpt: Excerpt) -> Encoded:
        """All that autoencoders do before a window is sampled."""
        return Encoded(excerpt, self.encode(excerpt.frames_THWC))

    @torch.inference_mode()
    def edit_group(self, excerpts: Sequence[Excerpt], *, anchor: np.ndarray | None, on_step: OnStep) -> Iterator[Edit]:
        for excerpt in excerpts:
            self.spec.latent_frames(len(excerpt.frames_THWC))
        windows = [self.prepare(excerpt) for excerpt in excerpts]
        held = None if anchor is None else Held(self.encode(anchor), 0)
        results: list[Tensor] = []
        for window in windows:
            if results:
                held = self._following(window, windows[len(results) - 1], results[-1])
            results.append(self.sample(window, held, on_step))
        for result, window in zip(results, windows, strict=True):
            yield self.finish(window, result)

    @torch.inference_mode()
    def through_codec(self, frames_THWC: np.ndarray, source_THWC: np.ndarray) -> np.ndarray:
        latent_BCthw = self.encode(frames_THWC)
        return self.decode(latent_BCthw, source_THWC) if self.decodes_with_source else self.decode(latent_BCthw)

    def finish(self, window: Encoded, result: Tensor) -> Edit:
        """The pictures of a window's edited latents."""
        if self.decodes_with_source:
            source_THWC = window.excerpt.frames_THWC
            return Edit(self.decode(result, source_THWC), source_THWC)
        return Edit(self.decode(result), self.decode(window.source_BCthw))

    def _following(self, window: Encoded, before: Encoded, result_before: Tensor) -> Held | None:
        lead = window.excerpt.lead
        if lead == 0:
            return None
        stride = self.spec.temporal_stride
        return Held.following(window.source_BCthw, before.source_BCthw, result_before, lead, stride)
