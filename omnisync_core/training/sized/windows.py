"""Encoded windows on disk and in batches: Parquet shards of latents, speech features and mouths, and one description.

A window's `pose` is shared by windows of the same person in the same pose who say other words (pseudo-pairs); `truth`
says whether its pictures are real, so that it may be what is to be made. Shapes: latent Cthw float16, speech TND
float16, mouth T3 float32 (x, y, width over the crop's side).
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import InputError
from ...files import replacing
from ...tables import need_parquet

DESCRIPTION = "encoding.json"
COLUMNS = ("id", "person", "pose", "truth", "caption")
NUMBERS = {"latent": np.float16, "speech": np.float16, "mouth": np.float32}
OPEN_SHARDS = 32


@dataclass(frozen=True)
class Encoding:
    """With what a folder's windows were encoded."""

    vae: str
    """Digest of its tensors; so is `whisper`."""
    whisper: str
    latent: tuple[int, ...]
    """Shape of a window's latents; so are `speech` and `mouth`."""
    speech: tuple[int, ...]
    mouth: tuple[int, ...]
    crop_size: int

    @property
    def frames(self) -> int:
        return self.mouth[0]

    @property
    def heard(self) -> tuple[int, int]:
        """Speech features a frame, and their width."""
        return self.speech[-2], self.speech[-1]

    @property
    def as_humo_hears(self) -> bool:
        """Speech is by latent frame, as `group_speech` and HuMo have it, and not by video frame."""
        return len(self.speech) == 4


@dataclass(frozen=True)
class WindowRow:
    """One window."""

    id: str
    person: str
    pose: str
    truth: bool
    caption: str
    latent: np.ndarray
    speech: np.ndarray
    mouth: np.ndarray


def write_encoding(folder: Path, encoding: Encoding) -> None:
    """InputError: what lies there was encoded otherwise."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / DESCRIPTION
    if path.exists() and read_encoding(folder) != encoding:
        raise InputError(f"{folder} holds windows of another VAE, Whisper or size; give another name")
    with replacing(path) as part:
        part.write_text(json.dumps(asdict(encoding), indent=1), encoding="utf-8")


def read_encoding(folder: Path) -> Encoding:
    path = folder / DESCRIPTION
    try:
        fields = json.loads(path.read_text(encoding="utf-8"))
        return Encoding(**{key: tuple(value) if isinstance(value, list) else value for key, value in fields.items()})
    except (OSError, ValueError, TypeError, AttributeError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"{folder} holds no encoded windows ({reason}); make them with `prepare`") from None


def write_windows(path: Path, rows: Iterable[WindowRow]) -> int:
    """A shard, whole or not at all, a row group a window; returns how many."""
    parquet = need_parquet()
    import pyarrow

    kinds = {"truth": pyarrow.bool_(), **dict.fromkeys(NUMBERS, pyarrow.binary())}
    schema = pyarrow.schema([(name, kinds.get(name, pyarrow.string())) for name in (*COLUMNS, *NUMBERS)])
    count = 0
    how = {"compression": "none", "use_dictionary": False, "write_statistics": False, "write_page_checksum": True}
    with replacing(path) as part, parquet.ParquetWriter(part, schema, **how) as out:
        for row in rows:
            cells: dict[str, Any] = {name: [getattr(row, name)] for name in COLUMNS}
            for name, kind in NUMBERS.items():
                cells[name] = [np.ascontiguousarray(getattr(row, name), kind).tobytes()]
            out.write_table(pyarrow.table(cells, schema=schema))
            count += 1
    return count


class Windows:
    """All windows of a split of a folder; their numbers are read when they are drawn."""

    def __init__(self, folder: str | Path, split: str) -> None:
        """InputError: none, or a shard that is cut off."""
        self.folder = Path(folder)
        self.encoding = read_encoding(self.folder)
        self._places: list[tuple[Path, int]] = []
        self.rows: list[dict[str, Any]] = []
        for path in sorted(self.folder.glob(f"{split}_*.parquet")):
            with _whole(path):
                shard = open_shard(path).read(columns=list(COLUMNS)).to_pylist()
            self._places += [(path, number) for number in range(len(shard))]
            self.rows += shard
        if not self.rows:
            raise InputError(f"{self.folder} has no windows to {split} on; make them with `prepare`")
        self.by_pose, self.by_person = self._groups("pose"), self._groups("person")
        truths = [number for number, row in enumerate(self.rows) if row["truth"]]
        self.pseudo = [number for number in truths if len(self.by_pose[self.rows[number]["pose"]]) > 1]
        self.arbitrary = [number for number in truths if len(self.by_person[self.rows[number]["person"]]) > 1]

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def captions(self) -> list[str]:
        return sorted({row["caption"] for row in self.rows})

    def pair(self, pseudo: bool, rng: np.random.Generator) -> tuple[int, int]:
        """Target and source. A pseudo-pair shares the pose; an arbitrary one the person, and not the window."""
        targets, groups, by = (
            (self.pseudo, self.by_pose, "pose") if pseudo else (self.arbitrary, self.by_person, "person")
        )
        target = int(targets[rng.integers(len(targets))])
        others = [number for number in groups[self.rows[target][by]] if number != target]
        return target, int(others[rng.integers(len(others))])

    def read(self, number: int) -> dict[str, np.ndarray]:
        """`latent`, `speech`, `mouth` of a window. InputError: its shard is damaged there."""
        path, row = self._places[number]
        shapes = asdict(self.encoding)
        with _whole(path):
            table = _kept_open(path).read_row_group(row, columns=list(NUMBERS))
            return {
                name: np.frombuffer(table[name][0].as_buffer(), kind).reshape(shapes[name])
                for name, kind in NUMBERS.items()
            }

    def check(self, needs_pseudo: bool, needs_arbitrary: bool) -> None:
        """InputError where there is nothing to draw pairs from."""
        if needs_pseudo and not self.pseudo:
            raise InputError(
                f"{self.folder} has no pseudo-pairs: no two of its {len(self)} windows share person and pose; prepare "
                "footage with --pairs folder, drawn characters or --bootstrap, or set objective.pair_threshold = 1"
            )
        if needs_arbitrary and not self.arbitrary:
            raise InputError(
                f"{self.folder} has no person with two windows: {len(self)} windows of {len(self.by_person)} people; "
                "prepare longer clips"
            )

    def _groups(self, column: str) -> dict[str, list[int]]:
        groups: dict[str, list[int]] = defaultdict(list)
        for number, row in enumerate(self.rows):
            groups[row[column]].append(number)
        return groups


def open_shard(path: Path) -> Any:
    """As pyarrow's ParquetFile. InputError: it is cut off, or something else.

    Not mapped: where a mapped file is cut off while it is open, the system ends the program without a word.
    """
    with _whole(path):
        shard = need_parquet().ParquetFile(path, page_checksum_verification=True)
        lacking = sorted({*COLUMNS, *NUMBERS} - set(shard.schema_arrow.names))
        if lacking:
            raise ValueError(f"it has no column {', '.join(lacking)}")
        return shard


_kept_open = lru_cache(maxsize=OPEN_SHARDS)(open_shard)


@contextmanager
def _whole(path: Path) -> Iterator[None]:
    """What goes wrong while a shard is read, as an InputError."""
    need_parquet()
    import pyarrow

    try:
        yield
    except InputError:
        raise
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(
            f"{path} is cut off, damaged or no windows ({reason}); remove it and run `prepare` again"
        ) from None
