"""Makes the clips of the node *OmniSync Example*: `python -m scripts.example_assets`.

An animal, and two people side by side whose words lie in the left and the right channel. All of the test split.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from scipy.io import wavfile

from omnisync_core.audio import SAMPLE_RATE
from omnisync_core.synth.clips import make_clip, write_wave
from omnisync_core.synth.scene import Scene
from omnisync_core.synth.speech import AMPLITUDE, utterance
from scripts.demo_assets import write_video

FOLDER = Path(__file__).parents[1] / "omnisync_core" / "assets" / "examples"
ANIMAL, LEFT, RIGHT = 910_000_077, 910_000_003, 910_000_000
FPS, SECONDS, SIDE = 25, 4, 288
TURNS = ((0.0, 2.15), (1.9, 4.0))
"""When the left and the right one speak, seconds."""
FADE_SECONDS = 0.08


def main() -> None:
    FOLDER.mkdir(parents=True, exist_ok=True)
    clip = make_clip(ANIMAL, size=384, seconds=3.0)
    write_video(FOLDER / "animal.mp4", clip.source_frames, clip.fps, None)
    write_wave(FOLDER / "animal.wav", clip.target_wave)
    frames, waves = zip(*(_speaker(seed, *turn) for seed, turn in zip((LEFT, RIGHT), TURNS, strict=True)), strict=True)
    write_video(FOLDER / "two_speakers.mp4", np.concatenate(frames, 2), FPS, None)
    wave_SC = np.stack(waves, 1)
    wavfile.write(FOLDER / "two_speakers.wav", SAMPLE_RATE, (np.clip(wave_SC, -1, 1) * 32767).astype(np.int16))


def _speaker(seed: int, start: float, stop: float) -> tuple[np.ndarray, np.ndarray]:
    """Frames of someone who says something, and other words to say from `start` to `stop`."""
    times_T = np.arange(SECONDS * FPS) / FPS
    said, other = (utterance(2 * seed + which, "test", seconds=seconds) for which, seconds in ((0, SECONDS), (1, 2.1)))
    frames = Scene.random(seed, "test", duration=SECONDS).render(
        said.mouth_at(times_T, AMPLITUDE["plain"]), times_T, size=SIDE
    )
    wave_S = np.zeros(SECONDS * SAMPLE_RATE, np.float32)
    first, last, fade = round(start * SAMPLE_RATE), round(stop * SAMPLE_RATE), round(FADE_SECONDS * SAMPLE_RATE)
    words = other.wave_S[: last - first]
    wave_S[first : first + len(words)] = words
    if last < len(wave_S):
        wave_S[last - fade : last] *= np.linspace(1, 0, fade, dtype=np.float32)
    return frames, wave_S


if __name__ == "__main__":
    main()
