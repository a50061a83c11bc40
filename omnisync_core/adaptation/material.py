"""What is learned from: windows of a clip, and the same windows with the mouth changed to other sounds.

The changed window with the clip's own sound is the question, the clip itself the exact answer: same pose, same light,
same person. Shapes: W windows of T frames, K changes of each.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from .. import audio as sound
from .. import media, mouth
from ..crop import region
from ..engines.omnisync import OmniSyncEngine
from ..engines.protocol import Excerpt, Speech
from ..errors import InputError
from ..job.store import Store
from ..mouth.looks import small_frames
from ..timing.playback import play
from ..timing.silence import GatedWave, Voice
from ..timing.timeline import plan_timeline
from ..windows import chunks
from ..windows.placement import Placement

ASSETS = Path(__file__).parents[1] / "assets"
VOICES = (ASSETS / "demo" / "target.wav", ASSETS / "examples" / "two_speakers.wav", ASSETS / "examples" / "animal.wav")
PROMPTS = ("A person speaks.", "A person speaks loudly with clear teeth.", "A person mumbles.")
LEARNED_SHARE = 0.75
"""Of the clip; the last quarter stays unseen, so that `evaluate cycle` can say what was learned and what was learned
by heart."""
LONGEST = 180.0
"""Seconds of the clip that are used; more takes memory and adds little in minutes."""
SHORTEST = 2.0
LEAST_SPEECH = 0.1
"""Share of the clip in which somebody speaks."""
APART = 1.5
"""Seconds between a moment and another of the same sound that may take its place."""

OnWindow = Callable[[int, int], None]


@dataclass(frozen=True)
class Windows:
    """The part of a clip that is learned from, in crops."""

    frames_WTHWC: np.ndarray
    """uint8."""
    mouth_WT3: np.ndarray
    times_WT: np.ndarray
    """Seconds of the sound."""
    speech_WTND: np.ndarray
    """What the clip's own sound says."""

    def __len__(self) -> int:
        return len(self.frames_WTHWC)


def read_windows(
    part: media.Part, audio: Path | None, how: object, engine: OmniSyncEngine, store: Store, on_frame: OnWindow
) -> tuple[Windows, Speech]:
    """Windows of the first three quarters of a clip, and its sound.

    audio: None is the video's own. InputError: it is too short, nobody speaks, no mouth was found.
    """
    info = media.probe_video(part)
    wave = sound.SpeechWave(part.path if audio is None else audio)
    if audio is None and info.start:
        wave = _Later(wave, info.start)
    audio = audio or part.path
    end = min(float(info.times_N[-1]), wave.duration)
    if end < SHORTEST:
        raise InputError(
            f"{part.path} and its sound last {end:.1f} s; at least {SHORTEST:g} s are needed to learn from"
        )
    shown = plan_timeline(info.times_N, wave.duration, limit=min(LEARNED_SHARE * end, LONGEST))
    voice = Voice(wave, shown.end)
    spoken = float(np.mean(voice.at(shown.time_V) > 0.5))
    if spoken < LEAST_SPEECH:
        raise InputError(
            f"somebody speaks in {spoken:.0%} of {audio}, at least {LEAST_SPEECH:.0%} is needed: give the clip's own "
            "speech with --audio, or another clip"
        )
    speech = engine.speech(GatedWave(voice))
    if not store.has("windows"):
        count = int(shown.source_V.max()) + 1
        placement = Placement(
            info, _track(info, count, how, on_frame), shown, engine.spec, np.ones(len(shown), np.float32)
        )
        store.write("windows", **_read(placement, speech))
    return Windows(**store.read("windows")), speech


class _Later:
    """A wave from `start` seconds on: the sound of a part of a file."""

    def __init__(self, wave: sound.Wave, start: float) -> None:
        self._wave, self._start, self.duration = wave, start, max(0.0, wave.duration - start)

    def read(self, start_s: float, stop_s: float) -> np.ndarray:
        return self._wave.read(self._start + start_s, self._start + stop_s)


def _track(info: media.VideoInfo, count: int, how: object, on_frame: OnWindow) -> mouth.MouthTrack:
    def frames() -> Iterator[tuple[float, np.ndarray]]:
        for number, timed in enumerate(small_frames(info, count), 1):
            yield timed
            on_frame(number, count)

    found = mouth.track(frames(), how, frame_size=(info.width, info.height))
    if not found.confidence_N.any():
        raise InputError(" ".join(found.warnings))
    return found


def _read(placement: Placement, speech: Speech) -> dict[str, np.ndarray]:
    length = placement.spec.window_frames
    windows = [window for window in placement.windows if len(window) == length]
    windows = [window for window in windows if placement.gain_V[placement.positions(window)].min() > 0.5]
    if len(windows) < 3:
        raise InputError(
            f"the mouth is seen in {len(windows)} stretches of {length} frames, 3 at least are needed: point at it "
            "(--mouth X,Y), or take a longer clip"
        )
    positions_WT = np.stack([placement.positions(window) for window in windows])
    needed = np.unique(positions_WT)
    frames = play(placement.video, placement.timeline.source_V[needed])
    crops = [chunks.quantise(placement.crop(frame, int(at))) for at, frame in zip(needed, frames, strict=True)]
    place_WT = np.searchsorted(needed, positions_WT)
    times_WT = placement.timeline.time_V[positions_WT]
    return {
        "frames_WTHWC": np.stack(crops)[place_WT],
        "mouth_WT3": np.stack([[placement.spot(int(at)).mouth_3 for at in row] for row in positions_WT]),
        "times_WT": times_WT,
        "speech_WTND": np.stack([np.asarray(speech.at(times_T), np.float32) for times_T in times_WT]),
    }


def change(
    windows: Windows, round_number: int, engine: OmniSyncEngine, own: Speech, seed: int, on_window: OnWindow
) -> np.ndarray:
    """Every window with another sound in its mouth, uint8 WTHWC: a bundled voice, or another moment of the clip."""
    sounds: Sequence[Speech] = [engine.speech(sound.SpeechWave(path)) for path in VOICES]
    lengths = [sound.SpeechWave(path).duration for path in VOICES]
    changed = np.empty_like(windows.frames_WTHWC)
    for number, frames in enumerate(windows.frames_WTHWC):
        rng = np.random.default_rng([seed, round_number, number])
        times_T = windows.times_WT[number]
        if (round_number + number) % 2:
            which = int(rng.integers(len(sounds)))
            said, start = sounds[which], rng.uniform(0, max(lengths[which] - np.ptp(times_T), 0))
        else:
            said, start = own, _other_moment(windows.times_WT, number, rng)
        picture = frames / np.float32(255)
        excerpt = Excerpt(
            picture, said.at(times_T - times_T[0] + start), windows.mouth_WT3[number], seed=int(rng.integers(2**32))
        )
        (edit,) = engine.edit_group([excerpt], anchor=None, on_step=lambda *_: None)
        mask = region.edit_mask(engine.spec.crop_size, windows.mouth_WT3[number])[..., None]
        changed[number] = chunks.quantise(picture + mask * (edit.edited_THWC - edit.reference_THWC))
        on_window(number + 1, len(windows))
    return changed


def with_prompt(engine: OmniSyncEngine, networks: dict, round_number: int) -> OmniSyncEngine:
    """The engine as it speaks in a round: changes shall be large, and not all alike."""
    prompt = PROMPTS[round_number % len(PROMPTS)]
    return OmniSyncEngine(
        networks, engine.spec, replace(engine.sampling, prompt=prompt), str(engine.fingerprint["model"])
    )


def _other_moment(times_WT: np.ndarray, number: int, rng: np.random.Generator) -> float:
    """The start of another window, some time away where there is one."""
    starts = times_WT[:, 0]
    away = np.flatnonzero(np.abs(starts - starts[number]) > APART)
    if not len(away):
        away = np.setdiff1d(np.arange(len(starts)), [number])
    return float(starts[rng.choice(away)])
