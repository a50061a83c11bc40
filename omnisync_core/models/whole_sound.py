"""Whisper's states of a sound of any length as its authors' programs take them: no windows that overlap.

Shapes: N states (50 a second), K layers of states, D their width. The sound's log-mel picture is normalised by the
loudest point of the whole sound, then encoded in segments of 30 s padded with zeros.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..audio import MEL_HOP, MEL_WINDOW, SAMPLE_RATE, Wave, mel_levels, normalised_mel
from .whisper import WhisperEncoder

SEGMENT_FRAMES = 3000
"""Mel frames (100 a second) that the encoder takes at once."""
KEPT_SEGMENTS = 2


class WholeSound:
    """States of a sound by number. Segments are encoded when first asked for.

    last_only: K = 1, the last layer's alone.
    """

    def __init__(
        self,
        whisper: WhisperEncoder,
        wave: Wave,
        resident: Callable[[nn.Module], AbstractContextManager] = lambda module: nullcontext(),
        last_only: bool = False,
    ) -> None:
        self._whisper, self._wave, self._resident = whisper, wave, resident
        self._layers = last_state if last_only else layer_states
        self._samples = max(round(wave.duration * SAMPLE_RATE), MEL_WINDOW)
        self._frames = self._samples // MEL_HOP
        self._segments: OrderedDict[int, np.ndarray] = OrderedDict()

    @property
    def count(self) -> int:
        """States of the sound."""
        return max(1, self._frames // 2)

    def states(self, indices: np.ndarray) -> np.ndarray:
        """States 0..count - 1 by number, of any shape, as (*shape, K, D) float32."""
        segments, places = np.divmod(indices, SEGMENT_FRAMES // 2)
        parts = {number: self._segment(int(number)) for number in np.unique(segments)}
        some = next(iter(parts.values()))
        picked = np.empty((*indices.shape, *some.shape[1:]), np.float32)
        for number, states in parts.items():
            here = segments == number
            picked[here] = states[places[here]]
        return picked

    def mel(self, start: int, stop: int) -> np.ndarray:
        """Mel frames start..stop of the whole sound's normalised picture."""
        return normalised_mel(self._levels(start, stop), self._loudest)

    @cached_property
    def silence(self) -> np.ndarray:
        """A state (K, D) amid silence as loud as the sound's quietest points."""
        quiet = np.full((self._mels, SEGMENT_FRAMES), -10.0)
        return self._encode(normalised_mel(quiet, self._loudest))[SEGMENT_FRAMES // 4]

    def _segment(self, number: int) -> np.ndarray:
        if number not in self._segments:
            start = number * SEGMENT_FRAMES
            stop = min(start + SEGMENT_FRAMES, self._frames)
            self._segments[number] = self._encode(self.mel(start, stop))
            while len(self._segments) > KEPT_SEGMENTS:
                self._segments.popitem(last=False)
        self._segments.move_to_end(number)
        return self._segments[number]

    @torch.inference_mode()
    def _encode(self, mel_MF: np.ndarray) -> np.ndarray:
        """States (F / 2, K, D) of up to 30 s; the rest is zeros and forgotten."""
        frames = mel_MF.shape[-1]
        mel = torch.as_tensor(np.pad(mel_MF, ((0, 0), (0, SEGMENT_FRAMES - frames))))[None]
        with self._resident(self._whisper):
            weight = self._whisper.encoder.conv1.weight
            states = self._layers(self._whisper, mel.to(weight.device, weight.dtype))[0].float().cpu().numpy()
        return states[: max(1, frames // 2)]

    @property
    def _mels(self) -> int:
        return self._whisper.config["num_mel_bins"]

    @cached_property
    def _loudest(self) -> float:
        """Highest level of the whole sound, which is read once, in pieces."""
        starts = range(0, self._frames, SEGMENT_FRAMES)
        return max(float(self._levels(at, min(at + SEGMENT_FRAMES, self._frames)).max()) for at in starts)

    def _levels(self, start: int, stop: int) -> np.ndarray:
        """Mel levels of frames start..stop; at its two ends the sound is mirrored."""
        half = MEL_WINDOW // 2
        first, last = start * MEL_HOP - half, (stop - 1) * MEL_HOP + half
        inner_S = self._wave.read(max(first, 0) / SAMPLE_RATE, min(last, self._samples) / SAMPLE_RATE)
        before, after = max(-first, 0), max(last - self._samples, 0)
        return mel_levels(np.pad(inner_S, (before, after), mode="reflect"), self._mels)


def layer_states(whisper: WhisperEncoder, mel_BMF: Tensor) -> Tensor:
    """(B, F / 2, K, D): what goes into each layer and what leaves the last one, before the final norm."""
    out, left = _before_norm(whisper, mel_BMF, output_hidden_states=True)
    return torch.stack([*out.hidden_states[:-1], left], 2)


def last_state(whisper: WhisperEncoder, mel_BMF: Tensor) -> Tensor:
    """(B, F / 2, 1, D): what leaves the last layer, before the final norm."""
    return _before_norm(whisper, mel_BMF)[1][:, :, None]


def _before_norm(whisper: WhisperEncoder, mel_BMF: Tensor, **how: bool) -> tuple[Any, Tensor]:
    left: list[Tensor] = []
    hook = whisper.encoder.layer_norm.register_forward_pre_hook(lambda norm, given: left.append(given[0]))
    try:
        out = whisper.encoder(mel_BMF, **how)
    finally:
        hook.remove()
    return out, left[0]
