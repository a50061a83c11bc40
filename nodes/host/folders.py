"""Where model files lie: the host's folders, our own in `models` and the bundled mini."""

from __future__ import annotations

import re
from pathlib import Path

import folder_paths

from ...omnisync_core.errors import CheckpointError, InputError
from ...omnisync_core.files import make_folder
from ...omnisync_core.marks.options import WEIGHTS, weights_named

FOLDER, ADAPTERS = "omnisync", "omnisync_adapters"
METRICS = "metrics"
"""Files of others that metrics need."""
WATERMARK = "omnisync_watermark"
"""For the weight file of a learned watermark."""
BUNDLED_NAME = "omnisync_mini (bundled)"
ASSETS = Path(__file__).parents[2] / "omnisync_core" / "assets"
BUNDLED = ASSETS / "omnisync_mini.safetensors"
EXAMPLES = {
    "person": (ASSETS / "demo" / "source.mp4", ASSETS / "demo" / "target.wav"),
    "person, true lips": (ASSETS / "demo" / "truth.mp4", ASSETS / "demo" / "target.wav"),
    "animal": (ASSETS / "examples" / "animal.mp4", ASSETS / "examples" / "animal.wav"),
    "two speakers": (ASSETS / "examples" / "two_speakers.mp4", ASSETS / "examples" / "two_speakers.wav"),
}
"""Name -> clip and sound."""
SUFFIX = ".safetensors"
SEALS = (SUFFIX, ".pth", ".pt")
GGUF = ".gguf"
"""Files of these the host leaves to the packs that read them, and lists none."""
LONGEST_NAME = 100
PLAIN_NAME = re.compile(rf"(?!\.)[\w .-]{{1,{LONGEST_NAME}}}(?<![ .])")
"""No folder, nothing hidden, nothing that Windows cuts off."""


def register() -> None:
    """Let the host know our folders in `models`; paths that its extra_model_paths.yaml names for them stay."""
    for name in (FOLDER, ADAPTERS, METRICS, WATERMARK):
        folder_paths.add_model_folder_path(name, str(Path(folder_paths.models_dir) / name))


def bundle_names() -> list[str]:
    """The bundled mini first, then the bundles in `models/omnisync`."""
    return [BUNDLED_NAME, *file_names(FOLDER)]


def bundle_path(name: str) -> Path:
    return BUNDLED if name == BUNDLED_NAME else file_path(FOLDER, name)


def file_names(*folders: str, suffixes: tuple[str, ...] = (SUFFIX,)) -> list[str]:
    """The safetensors (or other) files in folders of the host, each name once."""
    names = [name for folder in folders for name in folder_paths.get_filename_list(folder)]
    if GGUF in suffixes:
        names += _gguf_names(folders)
    return list(dict.fromkeys(name for name in names if name.lower().endswith(suffixes)))


def _gguf_names(folders: tuple[str, ...]) -> list[str]:
    roots = (root for folder in folders for root in folder_paths.get_folder_paths(folder))
    found = (name for root in roots for name in folder_paths.recursive_search(root, [".git"])[0])
    return sorted(name for name in found if name.lower().endswith(GGUF))


def file_path(folder: str, name: str, suffixes: tuple[str, ...] = (SUFFIX,)) -> Path:
    """The file of a listed name. CheckpointError for a name that is not listed: no name leaves the host's folders."""
    found = folder_paths.get_full_path(folder, name) if name in file_names(folder, suffixes=suffixes) else None
    if found is None:
        raise CheckpointError(f"no model {name!r} in models/{folder}; put the {suffixes[0]} file there and press R")
    return Path(found)


def adapter_output(name: str) -> Path:
    """Where a new speaker adapter of this name is kept; the folder is made. InputError: no plain file name, no folder.

    It is the one that is listed under this name, where there is one.
    """
    stem = name.strip().removesuffix(SUFFIX)
    if not PLAIN_NAME.fullmatch(stem):
        raise InputError(
            f"name must be a plain file name (letters, digits, space . _ -; at most {LONGEST_NAME}), got {name[:80]!r}"
        )
    listed = folder_paths.get_full_path(ADAPTERS, stem + SUFFIX)
    path = Path(listed) if listed else folder_of(ADAPTERS) / (stem + SUFFIX)
    make_folder(path.parent)
    return path


def folder_of(name: str) -> Path:
    """The first of the host's folders of a kind: where a file of our own may be kept."""
    return Path(folder_paths.get_folder_paths(name)[0])


def metrics_folder() -> Path:
    """Where files of metrics are looked for: the first of the host's folders, or the one that the environment names."""
    from ...omnisync_core.bench.measure import metrics_folder

    return metrics_folder() or folder_of(METRICS)


def metrics_file(file) -> Path:
    """A metric's file in any of the host's folders of metrics. InputError: says which, from where."""
    found = folder_paths.get_full_path(METRICS, file.name)
    return Path(found) if found else file.find(metrics_folder())


def watermark_weights() -> str | None:
    """The weight file of a learned watermark: what the environment names, else the one in `models/omnisync_watermark`.

    None: there is none. InputError: several lie there.
    """
    names = file_names(WATERMARK, suffixes=SEALS)
    if (named := weights_named()) or not names:
        return named
    if len(names) > 1:
        raise InputError(
            f"models/{WATERMARK} has {len(names)} files ({', '.join(sorted(names))}): leave one there, or name it in "
            f"{WEIGHTS}"
        )
    return str(file_path(WATERMARK, names[0], SEALS))
