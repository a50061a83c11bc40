"""Drawn characters' voices: espeak-ng's sound with the mouth's movement, known exactly. Training and tests only.

espeak-ng (GPL, from the pip package `espeakng-loader`) runs in a process of its own, one per utterance. Its phoneme
events become visemes, and these a curve of mouth parameters with coarticulation.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from ..audio import SAMPLE_RATE, resample
from ..errors import InputError
from ..files import replacing
from .archive import mapped, opened
from .sentences import languages, sentence
from .visemes import CURVE_RATE, MOUTH_PARAMS, REST, mouth_curve
from .voices import drawn_voice, without_variants

TRAIN_VOICES = (
    "m1", "m2", "m3", "m4", "m5", "m7", "f1", "f2", "f4", "croak", "klatt", "klatt3", "klatt4", "whisper", "Alex",
    "Andy", "Annie", "Denis", "Diogo", "Gene", "Lee", "Mario", "Reed", "Storm", "aunty", "belinda", "ed", "edward",
    "gustave", "iven", "john", "linda", "max", "miguel", "pablo", "paul", "quincy", "rob", "steph", "travis",
    "klatt5", "klatt6", "benjamin", "caleb", "edward2", "whisperf", "Demonic", "sandro", "anika", "announcer",
    "UniRobot", "grandma", "steph2", "steph3", "Hugo", "Michael", "Henrique", "marcelo", "michel", "zac",
    "kaukovalta", "norbert", "antonio", "boris", "Jacky", "Nguyen", "ian", "iven2", "Marco", "robert", "robosoft",
    "robosoft5",
)  # fmt: skip
TEST_VOICES = (
    "m6", "m8", "f3", "f5", "klatt2", "adam", "Alicia", "Andrea", "david", "grandpa", "shelby", "victor",
)  # fmt: skip

AMPLITUDE = {"loud": 1.3, "plain": 1.0, "mumble": 0.55}
CAPTIONS = {
    "loud": (
        "A {} speaking loudly with clear facial and tooth movements",
        "A {} speaks loudly with clear teeth.",
        "A {} shouts with a wide open mouth.",
        "A {} talking with big, exaggerated mouth movements",
        "The {} articulates very clearly and loudly, showing the teeth.",
    ),
    "plain": (
        "A {} speaks.",
        "A {} is talking.",
        "A {} talking to the camera",
        "The {} speaks in a normal voice.",
        "A {} says something.",
    ),
    "mumble": (
        "A {} mumbles with a nearly closed mouth.",
        "A {} mumbles.",
        "A {} talking quietly, hardly moving the lips",
        "The {} murmurs with small mouth movements.",
        "A {} mumbling softly with lips almost closed",
    ),
}

_WORKER = Path(__file__).with_name("espeak.py")
_SPLIT_SALT = {"train": 11, "test": 29}
_FULL_SCALE = 32767


@dataclass(frozen=True)
class Utterance:
    """One voice saying something. `wave_S` is float32 mono 16 kHz; `curve_M5` holds `MOUTH_PARAMS` at `CURVE_RATE`."""

    wave_S: np.ndarray
    curve_M5: np.ndarray
    text: str
    language: str
    voice: str

    @property
    def duration(self) -> float:
        return len(self.wave_S) / SAMPLE_RATE

    def mouth_at(self, times_T: np.ndarray, amplitude: float = 1.0) -> np.ndarray:
        """Mouth parameters (T, 5) at times in seconds; at rest outside the utterance.

        `amplitude` scales the opening in full and the departure of width and teeth by less.
        """
        times_T = np.asarray(times_T, np.float64)
        grid_M = np.arange(len(self.curve_M5)) / CURVE_RATE
        mouth_TP = np.stack(
            [np.interp(times_T, grid_M, self.curve_M5[:, p], left=REST[p], right=REST[p]) for p in range(len(REST))], -1
        )
        gentle = 0.6 + 0.4 * amplitude
        mouth_TP[:, 0] *= amplitude
        mouth_TP[:, 1] = np.clip(0.5 + gentle * (mouth_TP[:, 1] - 0.5), 0, 1)
        mouth_TP[:, 3] = np.clip(gentle * mouth_TP[:, 3], 0, 1)
        return mouth_TP.astype(np.float32)


def utterance(seed: int, split: str, *, seconds: float, data: Path | None = None) -> Utterance:
    """At least `seconds` of speech with natural pauses: the same for the same arguments, in any process.

    With `data` (`voices.without_variants`) the voice is one of its own instead of one of the split's.
    """
    rng = np.random.default_rng([_SPLIT_SALT[split], seed])
    language = str(rng.choice(languages()))
    named = str(rng.choice(TRAIN_VOICES if split == "train" else TEST_VOICES))
    count = 2 + int(seconds)
    sentences = [(sentence(language, split, rng), float(rng.uniform(0.0, 0.5))) for _ in range(count)]
    job = {
        "rate": int(rng.integers(125, 205)),
        "pitch": int(rng.integers(25, 76)),
        "range": int(rng.integers(30, 81)),
        "sentences": sentences,
        "seconds": seconds,
    }
    lead_in = float(rng.uniform(0, 0.4))
    peak = float(10 ** rng.uniform(-1.1, -0.05))
    with drawn_voice(data, seed) if data else nullcontext(named) as name:
        voice = f"{language}+{name}"
        source_S, rate, events, spoken = _speak({**job, "voice": voice, **({"data": str(data)} if data else {})})

    silence_S = np.zeros(int(lead_in * SAMPLE_RATE), np.float32)
    wave_S = np.concatenate([silence_S, resample(source_S, rate)])
    wave_S *= peak / max(float(np.abs(wave_S).max()), 1e-6)
    wave_S = (np.rint(wave_S * _FULL_SCALE) / _FULL_SCALE).astype(np.float32)
    shift = len(silence_S) / SAMPLE_RATE
    curve_M5 = mouth_curve([(at + shift, name) for at, name in events], wave_S, SAMPLE_RATE)
    text = " ".join(text for text, _ in sentences[:spoken])
    return Utterance(wave_S, curve_M5, text, language, voice)


def caption(style: str, rng: np.random.Generator, character_word: str = "person") -> str:
    """A prompt that asks for the style's amplitude (`AMPLITUDE`)."""
    text = str(rng.choice(CAPTIONS[style])).format(character_word)
    if character_word[0].lower() in "aeiou":
        text = text.replace(f"A {character_word}", f"An {character_word}")
    return text


def build_corpus(
    count: int, split: str, seed: int, seconds: float, workers: int, out: Path | str, *, drawn: bool = False
) -> None:
    """Writes the utterances of `seed .. seed + count - 1` to one npz, whole or not at all, which `load_corpus` reads.

    `drawn`: each in a voice of its own (`synth/voices.py`).
    """
    with ExitStack() as stack:
        data = stack.enter_context(without_variants(Path(_espeak_paths()["data"]))) if drawn else None
        pool = stack.enter_context(ThreadPoolExecutor(workers))

        def say(index: int) -> Utterance:
            return utterance(seed + index, split, seconds=seconds, data=data)

        utterances = list(pool.map(say, range(count)))
    about = [(u.text, u.language, u.voice) for u in utterances]
    with replacing(Path(out)) as part, open(part, "wb") as file:
        np.savez(
            file,
            wave=np.concatenate([np.rint(u.wave_S * _FULL_SCALE).astype(np.int16) for u in utterances]),
            curve=np.concatenate([u.curve_M5 for u in utterances]),
            wave_lengths=np.array([len(u.wave_S) for u in utterances]),
            curve_lengths=np.array([len(u.curve_M5) for u in utterances]),
            about=np.array(json.dumps(about)),
        )


class Corpus(Sequence[Utterance]):
    """The utterances that `build_corpus` wrote, sample for sample, read from the disk as they are asked for."""

    def __init__(self, *paths: Path | str) -> None:
        self.paths = paths
        self._rows: list[tuple] = []
        for path in paths:
            with opened(path) as data:
                edges = [np.cumsum([0, *data[f"{part}_lengths"]]) for part in ("wave", "curve")]
                about = json.loads(str(data["about"]))
            arrays = [mapped(path, part) for part in ("wave", "curve")]
            self._rows += [(arrays, edges, row, said) for row, said in enumerate(about)]

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> Utterance:  # type: ignore[override]  # no slices
        arrays, edges, row, about = self._rows[index]
        wave_S, curve_M5 = (array[edge[row] : edge[row + 1]] for array, edge in zip(arrays, edges, strict=True))
        return Utterance((wave_S / _FULL_SCALE).astype(np.float32), np.array(curve_M5), *about)


def load_corpus(path: Path | str) -> list[Utterance]:
    """All of a `Corpus`, in memory."""
    return list(Corpus(path))


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Write a corpus of utterances with mouth curves.")
    parser.add_argument("out", type=Path)
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--split", choices=tuple(_SPLIT_SALT), default="train")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--workers", type=int, default=2)
    chosen = parser.parse_args(arguments)
    build_corpus(chosen.count, chosen.split, chosen.seed, chosen.seconds, chosen.workers, chosen.out)


def _speak(job: dict) -> tuple[np.ndarray, int, list[tuple[float, str | None]], int]:
    """Runs the worker: samples (S,), their rate, phoneme events, how many of the sentences it said."""
    request = json.dumps({**_espeak_paths(), **job}).encode() + b"\n"
    done = subprocess.run([sys.executable, "-I", "-S", str(_WORKER)], input=request, capture_output=True, check=False)
    if done.returncode:
        reason = done.stderr.decode(errors="replace").strip().splitlines()[-1:] or [f"exit {done.returncode}"]
        raise InputError(f"espeak-ng failed on voice {job['voice']}: {reason[0]}")
    header, _, samples = done.stdout.partition(b"\n")
    answer = json.loads(header)
    wave_S = np.frombuffer(samples, np.int16).astype(np.float32) / 32768
    return wave_S, answer["rate"], answer["events"], answer["spoken"]


@lru_cache(maxsize=1)
def _espeak_paths() -> dict[str, str]:
    try:
        import espeakng_loader
    except ImportError:
        message = "espeak-ng is absent; install it with `pip install espeakng-loader` (for training and tests only)"
        raise InputError(message) from None
    return {"library": str(espeakng_loader.get_library_path()), "data": str(espeakng_loader.get_data_path())}


__all__ = [
    "AMPLITUDE", "CAPTIONS", "CURVE_RATE", "MOUTH_PARAMS", "TEST_VOICES", "TRAIN_VOICES",
    "Corpus", "Utterance", "build_corpus", "caption", "load_corpus", "utterance",
]  # fmt: skip


if __name__ == "__main__":
    main()
