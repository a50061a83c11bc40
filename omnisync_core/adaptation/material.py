"""What is learned from: windows of a clip, and the same windows with the mouth changed to other sounds.

The changed window with the clip's own sound is the question, the clip itself the exact answer: same pose, same light,
same person. Shapes: W windows of T frames, K changes of each.
"""

from __future__ import annotations

import itertools
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
from ..mouth.looks import fitted_track, small_frames
from ..sheets import sync_report
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
LONGEST, LONGEST_PER_MINUTE = 180.0, 36.0
"""Seconds of the clip that are used, at most and for each minute that there is: more takes time to look at and memory,
and adds little."""
MOST_BYTES = 250e6
"""Of the windows' pictures; of more windows an even choice is taken."""
SHORTEST = 2.0
LEAST_SPEECH = 0.1
"""Share of the clip in which somebody speaks."""
NOTHING, CLEARLY, LATE = 0.1, 0.4, 0.12
"""Best correlation of the mouth's opening with the loudness below which they have nothing to do with each other; from
which its delay is believed; and the seconds of delay that are too many. The reader of openings learned from drawings:
on real faces a clip's own sound may have 0.15, so only the clearest cases are warned of."""
LOOKED_AT = 40.0
"""Seconds in which sound and mouth are compared."""
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
    sync_3: np.ndarray
    """Opening against loudness: correlation on time, the best one, and the seconds that the mouth is late there."""

    def __len__(self) -> int:
        return len(self.frames_WTHWC)

    def take(self, rows: np.ndarray) -> Windows:
        """Some of them."""
        return replace(self, **{name: getattr(self, name)[rows] for name in PER_WINDOW})


PER_WINDOW = ("frames_WTHWC", "mouth_WT3", "times_WT", "speech_WTND")


def read_windows(
    part: media.Part,
    audio: Path | None,
    how: object,
    engine: OmniSyncEngine,
    store: Store,
    on_frame: OnWindow,
    minutes: float = 60.0,
) -> Windows:
    """Windows of the first three quarters of a clip, with what its sound says up to there.

    audio: None is the video's own. `on_frame` is called after each frame that is looked at; `minutes` for all.
    InputError: it is too short, nobody speaks, no mouth was found, or several and nobody says which.
    """
    info = media.probe_video(part)
    wave: sound.Wave = sound.SpeechWave(part.path if audio is None else audio)
    start = info.start if audio is None else 0.0
    end = min(float(info.times_N[-1]), wave.duration - start)
    if end < SHORTEST:
        raise InputError(
            f"{part.path} and its sound last {end:.1f} s; at least {SHORTEST:g} s are needed to learn from"
        )
    limit = min(LEARNED_SHARE * end, LONGEST, max(SHORTEST, LONGEST_PER_MINUTE * minutes))
    shown = plan_timeline(info.times_N, wave.duration, limit=limit)
    wave = _Stretch(wave, start, limit)
    voice = Voice(wave, limit)
    spoken = float(np.mean(voice.at(shown.time_V) > 0.5))
    if spoken < LEAST_SPEECH:
        raise InputError(
            f"somebody speaks in {spoken:.0%} of {audio or part.path}, at least {LEAST_SPEECH:.0%} is needed: give the "
            "clip's own speech (--audio; in a graph: audio), or another clip"
        )
    if not store.has("windows"):
        speech = engine.speech(GatedWave(voice))
        track = _track(info, int(shown.source_V.max()) + 1, how, on_frame)
        placement = Placement(info, track, shown, engine.spec, np.ones(len(shown), np.float32))
        store.write("windows", **_read(placement, speech), sync_3=_compare(info, track, wave))
    return Windows(**store.read("windows"))


class _Stretch:
    """A stretch of a wave as a wave of its own; nothing is heard of what lies around it."""

    def __init__(self, wave: sound.Wave, start: float, seconds: float) -> None:
        self._wave, self._start = wave, start
        self.duration = max(0.0, min(seconds, wave.duration - start))

    def read(self, start_s: float, stop_s: float) -> np.ndarray:
        heard_S = self._wave.read(self._start + start_s, self._start + stop_s)
        time_S = start_s + np.arange(len(heard_S)) / sound.SAMPLE_RATE
        return heard_S * ((time_S >= 0) & (time_S < self.duration))


def warnings_of(windows: Windows) -> Iterator[str]:
    """The warning of a clip whose sound seems not to be its own."""
    r, best, late = (float(value) for value in windows.sync_3)
    is_late = best >= CLEARLY and abs(late) > LATE
    if np.isnan(r) or not (best < NOTHING or is_late):
        return
    yield (
        f"the clip and its sound go together poorly, and are learned as they are: the mouth's opening against the "
        f"loudness has r {r:.2f}, at best {best:.2f} with the mouth {abs(late) * 1000:.0f} ms "
        f"{'late' if late > 0 else 'early'} (at best at least {NOTHING:g}, within {LATE * 1000:.0f} ms, is expected)"
    )


def _track(info: media.VideoInfo, count: int, how: object, on_frame: OnWindow) -> mouth.MouthTrack:
    def frames() -> Iterator[tuple[float, np.ndarray]]:
        for number, timed in enumerate(small_frames(info, count), 1):
            yield timed
            on_frame(number, count)

    if isinstance(how, mouth.MouthTrack):
        found = fitted_track(how, info, count)
    else:
        looked, ahead = itertools.tee(frames())
        seen = mouth.count_mouths(ahead) if isinstance(how, str) and how == "auto" else 1
        del ahead  # it would have every frame kept for it
        if seen > 1:
            raise InputError(
                f"{seen} mouths are seen in {info.path}: point at the one that is learned, on the first frame "
                "(--mouth X,Y in pixels; in a graph: Mouth Track's speaker 'point')"
            )
        found = mouth.track(looked, how, frame_size=(info.width, info.height))
    if not found.confidence_N.any():
        raise InputError(" ".join(found.warnings) or f"the track never sees the mouth in {info.path}: take another one")
    return found


def _compare(info: media.VideoInfo, track: mouth.MouthTrack, wave: sound.Wave) -> np.ndarray:
    """How sound and mouth go together in the first part of what is learned from: `Windows.sync_3`."""
    times_N = track.pts_N[: int(np.searchsorted(track.pts_N, LOOKED_AT))]
    pictures = (picture for _, picture in small_frames(info, len(times_N)))
    reading = sync_report.read(pictures, times_N, fitted_track(track, info, len(times_N)), wave)
    return np.array([reading.r, *reading.best])


def _read(placement: Placement, speech: Speech) -> dict[str, np.ndarray]:
    length, size = placement.spec.window_frames, placement.spec.crop_size
    windows = [window for window in placement.windows if len(window) == length]
    windows = [window for window in windows if placement.gain_V[placement.positions(window)].min() > 0.5]
    if len(windows) < 3:
        raise InputError(
            f"the mouth is seen in {len(windows)} stretches of {length} frames, 3 at least are needed: point at it "
            "(--mouth X,Y; in a graph: Mouth Track), or take a longer clip"
        )
    most = max(3, int(MOST_BYTES / (length * size * size * 3)))
    chosen = np.unique(np.linspace(0, len(windows) - 1, min(most, len(windows))).round().astype(int))
    positions_WT = np.stack([placement.positions(windows[at]) for at in chosen])
    frames_WTHWC = np.empty((*positions_WT.shape, size, size, 3), np.uint8)
    needed = np.unique(positions_WT)
    for at, frame in zip(needed, play(placement.video, placement.timeline.source_V[needed]), strict=True):
        frames_WTHWC[positions_WT == at] = chunks.quantise(placement.crop(frame, int(at)))
    times_WT = placement.timeline.time_V[positions_WT]
    return {
        "frames_WTHWC": frames_WTHWC,
        "mouth_WT3": np.stack([[placement.spot(int(at)).mouth_3 for at in row] for row in positions_WT]),
        "times_WT": times_WT,
        "speech_WTND": np.stack([np.asarray(speech.at(times_T), np.float32) for times_T in times_WT]),
    }


def change(
    windows: Windows, round_number: int, engine: OmniSyncEngine, seed: int, go_on: Callable[[int], bool]
) -> tuple[np.ndarray, np.ndarray]:
    """Windows with another sound in their mouths: which ones (R, ascending), and the pictures, uint8 RTHWC.

    The sound is a bundled voice or another moment of the clip. `go_on(number of windows so far)` may end it: what was
    changed until then lies all over the clip.
    """
    voices = [sound.SpeechWave(path) for path in VOICES]
    sounds: Sequence[Speech] = [engine.speech(voice) for voice in voices]
    changed: dict[int, np.ndarray] = {}
    for number in np.random.default_rng([seed, round_number]).permutation(len(windows)).tolist():
        frames_THWC, mouth_T3 = windows.frames_WTHWC[number], windows.mouth_WT3[number]
        rng = np.random.default_rng([seed, round_number, number])
        times_T = windows.times_WT[number]
        if (round_number + number) % 2:
            which = int(rng.integers(len(sounds)))
            start = rng.uniform(0, max(voices[which].duration - np.ptp(times_T), 0))
            speech_TND = sounds[which].at(times_T - times_T[0] + start)
        else:
            speech_TND = windows.speech_WTND[_other_moment(windows.times_WT, number, rng)]
        picture = frames_THWC / np.float32(255)
        excerpt = Excerpt(picture, speech_TND, mouth_T3, seed=int(rng.integers(2**32)))
        (edit,) = engine.edit_group([excerpt], anchor=None, on_step=lambda *_: None)
        mask = region.edit_mask(engine.spec.crop_size, mouth_T3)[..., None]
        changed[number] = chunks.quantise(picture + mask * (edit.edited_THWC - edit.reference_THWC))
        if not go_on(len(changed)):
            break
    rows = np.array(sorted(changed))
    return rows, np.stack([changed[row] for row in rows.tolist()])


def with_prompt(engine: OmniSyncEngine, networks: dict, round_number: int) -> OmniSyncEngine:
    """The engine as it speaks in a round: changes shall be large, and not all alike."""
    prompt = PROMPTS[round_number % len(PROMPTS)]
    return OmniSyncEngine(
        networks, engine.spec, replace(engine.sampling, prompt=prompt), str(engine.fingerprint["model"])
    )


def _other_moment(times_WT: np.ndarray, number: int, rng: np.random.Generator) -> int:
    """Another window, some time away where there is one."""
    starts = times_WT[:, 0]
    away = np.flatnonzero(np.abs(starts - starts[number]) > APART)
    if not len(away):
        away = np.setdiff1d(np.arange(len(starts)), [number])
    return int(rng.choice(away))
