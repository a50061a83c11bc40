"""Speech features: the encoder of any Whisper, run over sound of any length in overlapping windows.

Shapes: wave_S mono 16 kHz; mel_BMF log-mel frames (100 a second); hidden states BLD (50 a second).
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn
from transformers import WhisperConfig
from transformers.models.whisper.modeling_whisper import WhisperEncoder as Encoder

from ..audio import SAMPLE_RATE, Wave, log_mel
from ..errors import CheckpointError
from .published import read_content, tensors_of

STATES_PER_SECOND = 50
TOKEN_SPACING = 0.02
"""Seconds between the features given to one video frame."""
HEAD_WIDTH = 64
"""Channels of an attention head in every published Whisper."""

MINI = {
    "d_model": 128,
    "encoder_layers": 4,
    "encoder_attention_heads": 4,
    "encoder_ffn_dim": 512,
    "num_mel_bins": 80,
    "max_source_positions": 200,
}


class WhisperEncoder(nn.Module):
    """transformers' encoder; a window is as long as its positions say (30 s in the published ones, 4 s in the mini)."""

    def __init__(self, config: dict) -> None:
        super().__init__()
        self.config = dict(config)
        self.encoder = Encoder(WhisperConfig(**config, attn_implementation="sdpa", dropout=0.0))

    @property
    def width(self) -> int:
        return self.config["d_model"]

    @property
    def window_seconds(self) -> float:
        return self.config["max_source_positions"] / STATES_PER_SECOND

    def forward(self, mel_BMF: Tensor) -> Tensor:
        """(B, mel bins, 2 * positions) -> (B, positions, D)."""
        return self.encoder(mel_BMF).last_hidden_state

    def layers(self, mel_BMF: Tensor) -> tuple[Tensor, ...]:
        """What goes into each layer, and the result: layers + 1 times (B, positions, D)."""
        return self.encoder(mel_BMF, output_hidden_states=True).hidden_states


def load_whisper(path: str | Path) -> WhisperEncoder:
    """The encoder of a published Whisper of any size, in OpenAI's or transformers' naming.

    `path` is a .safetensors file or a folder of them. Sizes are read from the tensors, the decoder is left alone.
    CheckpointError: nothing there, or no Whisper.
    """
    path = Path(path)
    files = sorted(path.glob("*.safetensors")) if path.is_dir() else [path]
    if not files or not all(file.is_file() for file in files):
        raise CheckpointError(f"no Whisper at {path}; expected a .safetensors file or a folder that holds one")
    tensors: dict[str, Tensor] = {}
    for file in files:
        try:
            with safe_open(file, framework="pt") as opened:
                tensors |= {key: opened.get_tensor(key) for key in opened.keys() if "encoder." in key}  # noqa: SIM118
        except (SafetensorError, OSError) as error:
            raise CheckpointError(f"{file} is damaged or no safetensors file ({error}); copy it again") from None
    return build_whisper(tensors, str(path))


def read_whisper(path: str | Path) -> WhisperEncoder:
    """The encoder of a published file of one Whisper, OpenAI's `.pt` too. CheckpointError: damaged, or no Whisper."""
    content = read_content(Path(path))
    sizes = content.get("dims")
    heads = sizes.get("n_audio_head") if isinstance(sizes, Mapping) else None
    return build_whisper(tensors_of(content, "model_state_dict", path), str(path), heads)


def build_whisper(tensors: Mapping[str, Tensor], name: str, heads: int | None = None) -> WhisperEncoder:
    """The encoder among the tensors of a Whisper in either naming, frozen. CheckpointError: they hold none.

    heads: where they are not as wide as in every published one.
    """
    own = {
        f"encoder.{_as_transformers(key.split('encoder.', 1)[1])}": value
        for key, value in tensors.items()
        if "encoder." in key
    }
    try:
        width, mels, _ = own["encoder.conv1.weight"].shape
        config = {
            "d_model": width,
            "encoder_layers": len({key.split(".")[2] for key in own if key.startswith("encoder.layers.")}),
            "encoder_attention_heads": heads or width // HEAD_WIDTH,
            "encoder_ffn_dim": own["encoder.layers.0.fc1.weight"].shape[0],
            "num_mel_bins": mels,
            "max_source_positions": own["encoder.embed_positions.weight"].shape[0],
        }
    except (KeyError, ValueError) as error:
        raise CheckpointError(f"{name} is no Whisper: {error} is missing") from None
    if not config["encoder_attention_heads"] or width % config["encoder_attention_heads"] or width % 2:
        raise CheckpointError(f"{name} is no Whisper: its width of {width} is no multiple of {HEAD_WIDTH}")
    encoder = WhisperEncoder(config)
    shapes = {key: value.shape for key, value in encoder.state_dict().items()}
    wrong = [key for key in shapes.keys() | own.keys() if key not in own or shapes.get(key) != own[key].shape]
    if wrong:
        raise CheckpointError(f"{name} is no Whisper: {len(wrong)} tensors are missing or unexpected ({min(wrong)!r})")
    encoder.load_state_dict(own)
    return encoder.eval()


def _as_transformers(key: str) -> str:
    """An encoder's key in transformers' naming, from OpenAI's or its own."""
    for theirs, ours in _OPENAI:
        key = key.replace(theirs, ours)
    return key


_OPENAI = (
    ("positional_embedding", "embed_positions.weight"),
    ("blocks.", "layers."),
    (".attn.query.", ".self_attn.q_proj."),
    (".attn.key.", ".self_attn.k_proj."),
    (".attn.value.", ".self_attn.v_proj."),
    (".attn.out.", ".self_attn.out_proj."),
    (".attn_ln.", ".self_attn_layer_norm."),
    (".mlp.0.", ".fc1."),
    (".mlp.2.", ".fc2."),
    (".mlp_ln.", ".final_layer_norm."),
    ("ln_post.", "layer_norm."),
)


class SpeechFeatures:
    """Features of a sound at any times. Windows overlap by a third; each is encoded when first asked for.

    Within an overlap the windows' states are blended by a triangle, so that a feature never jumps at a window's edge.
    """

    def __init__(
        self,
        encoder: WhisperEncoder,
        wave: Wave,
        tokens: int,
        resident: Callable[[nn.Module], AbstractContextManager] = lambda module: nullcontext(),
        kept_windows: int = 4,
    ) -> None:
        self.encoder, self.wave, self.tokens, self.resident = encoder, wave, tokens, resident
        self.length = encoder.config["max_source_positions"]
        self.hop = self.length * 2 // 3
        self.kept_windows = kept_windows
        self._windows: OrderedDict[int, np.ndarray] = OrderedDict()

    def at(self, times_T: np.ndarray) -> np.ndarray:
        """(T, tokens, D) float32: states around each time, `TOKEN_SPACING` apart, by linear interpolation."""
        offsets = (np.arange(self.tokens) - (self.tokens - 1) / 2) * TOKEN_SPACING
        positions = (np.asarray(times_T, np.float64)[:, None] + offsets) * STATES_PER_SECOND - 0.5
        positions = np.maximum(positions, 0)
        low = np.floor(positions).astype(np.int64)
        states = self.states(low.min(), low.max() + 2)
        share = (positions - low)[..., None].astype(np.float32)
        low -= low.min()
        return states[low] * (1 - share) + states[low + 1] * share

    def states(self, start: int, stop: int) -> np.ndarray:
        """Blended hidden states `start` to `stop` (exclusive), (stop - start, D) float32."""
        total = np.zeros((stop - start, self.encoder.width), np.float32)
        weights = np.zeros((stop - start, 1), np.float32)
        first = max(0, -(-(start - self.length + 1) // self.hop))
        for index in range(first, (stop - 1) // self.hop + 1):
            at = index * self.hop
            low, high = max(start, at), min(stop, at + self.length)
            if low >= high:
                continue
            ramp = self._ramp(index)[low - at : high - at, None]
            total[low - start : high - start] += ramp * self._window(index)[low - at : high - at]
            weights[low - start : high - start] += ramp
        return total / weights

    def _ramp(self, index: int) -> np.ndarray:
        """Triangular weight over a window, flat where no other window reaches; the first window has no left flank."""
        overlap = self.length - self.hop
        position = np.arange(self.length) + 0.5
        right = np.minimum(1, (self.length - position) / overlap)
        left = np.ones_like(right) if index == 0 else np.minimum(1, position / overlap)
        return np.minimum(left, right).astype(np.float32)

    @property
    def window_count(self) -> int:
        """Windows that hold sound."""
        return max(1, math.ceil(self.wave.duration * STATES_PER_SECOND / self.hop))

    def _window(self, index: int) -> np.ndarray:
        if index not in self._windows:
            encode_windows([(self, index)])
        self._windows.move_to_end(index)
        return self._windows[index]

    def mel(self, index: int) -> np.ndarray:
        """Log-mel picture of window `index`."""
        start = index * self.hop / STATES_PER_SECOND
        samples = self.length * SAMPLE_RATE // STATES_PER_SECOND
        wave_S = self.wave.read(start, start + samples / SAMPLE_RATE)[:samples]
        return log_mel(wave_S, self.encoder.config["num_mel_bins"])

    def keep(self, index: int, states_LD: np.ndarray) -> None:
        """Remember a window's states, forgetting the one that was used longest ago."""
        self._windows[index] = states_LD
        while len(self._windows) > self.kept_windows:
            self._windows.popitem(last=False)


class StatesShape:
    """What `SpeechFeatures` asks about an encoder, of one that is not at hand: a state's width, a window's seconds."""

    def __init__(self, width: int, seconds: int) -> None:
        self.width, self.config = width, {"max_source_positions": seconds * STATES_PER_SECOND}


def with_neighbours(times_T: np.ndarray, before: int, after: int) -> np.ndarray:
    """Times of frames with those of more frames around them, as far apart as they usually are (else 25 a second)."""
    times_T = np.asarray(times_T, np.float64)
    step = frame_seconds(times_T)
    first, last = np.arange(-before, 0) * step, np.arange(1, after + 1) * step
    return np.concatenate([times_T[0] + first, times_T, times_T[-1] + last])


def frame_seconds(times_T: np.ndarray) -> float:
    """The usual distance of frames; those that repeat the one before (a padded window) do not count."""
    steps = np.diff(times_T)
    steps = steps[steps != 0]
    return float(np.median(steps)) if len(steps) else 1 / 25


@torch.inference_mode()
def encode_windows(jobs: list[tuple[SpeechFeatures, int]]) -> None:
    """Encode windows, of one sound or of several with the same encoder, in one batch."""
    encoder, resident = jobs[0][0].encoder, jobs[0][0].resident
    mels = torch.as_tensor(np.stack([features.mel(index) for features, index in jobs]))
    with resident(encoder):
        weight = encoder.encoder.conv1.weight
        states = encoder(mels.to(weight.device, weight.dtype)).float().cpu().numpy()
    for (features, index), states_LD in zip(jobs, states, strict=True):
        features.keep(index, states_LD)
