"""Voices drawn at random, as variants of espeak-ng: what was taught on many throats reads one that it never heard.

A variant scales espeak-ng's own voice: frequency, strength and width of each formant, pitch, and what makes a voice
rough, breathy or hollow. The ranges are those of the variants that come with it.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

FORMANTS = 9


@contextmanager
def without_variants(data: Path) -> Iterator[Path]:
    """A copy of espeak-ng's data folder in which there are no variants, until the context ends."""
    with TemporaryDirectory() as folder:
        copy = Path(folder) / data.name
        shutil.copytree(data, copy, ignore=shutil.ignore_patterns("!v"))
        _variants(copy).mkdir()
        yield copy


@contextmanager
def drawn_voice(data: Path, seed: int) -> Iterator[str]:
    """The name of a variant that is drawn from a seed, in the data folder until the context ends: espeak-ng knows 350
    voices at most."""
    name = f"drawn{seed}"
    path = _variants(data) / name
    path.write_text(variant(seed), encoding="utf-8")
    try:
        yield name
    finally:
        path.unlink()


def variant(seed: int) -> str:
    """A variant file of espeak-ng: the same for the same seed."""
    rng = np.random.default_rng([seed, 91])
    throat = rng.normal(0, 0.14)
    lines = ["language variant", f"name drawn{seed}"]
    for formant in range(FORMANTS):
        shift = 100 * np.exp(throat + rng.normal(0, 0.09))
        strength, width = (_within(value, 50, 190) for value in 100 * np.exp(rng.normal(0, 0.25, size=2)))
        lines.append(f"formant {formant} {_within(shift, 65, 160)} {strength} {width}")
    low = float(np.exp(rng.uniform(np.log(65), np.log(210))))
    lines.append(f"pitch {low:.0f} {low * rng.uniform(1.15, 1.7):.0f}")
    lines.append(f"flutter {rng.integers(0, 12)}")
    lines.append(f"voicing {rng.integers(40, 140)}")
    lines.append(f"consonants {rng.integers(50, 130)} {rng.integers(30, 130)}")
    if rng.random() < 0.4:
        lines.append(f"roughness {rng.integers(1, 5)}")
    if rng.random() < 0.3:
        lines.append(f"echo {rng.integers(10, 150)} {rng.integers(5, 50)}")
    if rng.random() < 0.3:
        lines.append("breath " + " ".join(map(str, rng.integers(0, 8, size=8))))
        lines.append("breathw " + " ".join(map(str, rng.integers(100, 600, size=8))))
    if rng.random() < 0.15:
        lines.append(f"klatt {rng.integers(1, 7)}")
    return "\n".join(lines) + "\n"


def _variants(data: Path) -> Path:
    return data / "voices" / "!v"


def _within(value: float, low: float, high: float) -> int:
    return round(float(np.clip(value, low, high)))
