"""Which engine a user's files are: a bundle of this project, or public weights."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import InputError
from .protocol import Engine

REUSE = 3
"""Steps for which LatentSync's whole network is computed once; as its authors run it."""
BUNDLES_ALONE, LATENTSYNC_ALONE = ("adapter", "prompt", "tau"), ("cfg", "resolution")


def open_engine(
    model: Path | None, vae: Path | None = None, whisper: Path | None = None, given: Mapping[str, Any] | None = None
) -> Engine:
    """The engine of a bundle (None: the bundled one); with `vae` and `whisper` that of LatentSync's UNet.

    `given`: what the user chose of steps, guidance (fields by name), device and dtype; of a bundle prompt and tau, of
    LatentSync cfg and resolution. InputError: files without each other, settings of the other kind.
    """
    given = dict(given or {})
    check_choice(model, vae, whisper, given)
    if vae is None:
        from .omnisync import load_engine

        return load_engine(model, **given)
    return _latentsync(model, vae, whisper, given)


def check_choice(model: Path | None, vae: Path | None, whisper: Path | None, given: Mapping[str, Any]) -> None:
    """InputError where files and settings do not go together; nothing is read."""
    if vae is None and whisper is None:
        _refuse(given, LATENTSYNC_ALONE, "is of LatentSync: give its UNet (--model), --vae and --whisper too")
        if model is not None and model.suffix in (".pt", ".pth", ".ckpt"):
            raise InputError(f"{model} is no bundle; LatentSync's UNet needs --vae and --whisper too")
        return
    missing = [name for name, path in (("model", model), ("vae", vae), ("whisper", whisper)) if path is None]
    if missing:
        raise InputError(f"LatentSync is three files: give --{' and --'.join(missing)} too")
    _refuse(given, BUNDLES_ALONE, "is of OmniSync's bundles alone; leave it out")
    if given.get("guidance") and "cfg" in given:
        raise InputError("give either --cfg, or --w-peak, --w-base, --gamma and --convention")


def _latentsync(model: Path, vae: Path, whisper: Path, given: dict[str, Any]) -> Engine:
    from ..diffusion.guidance import Guidance
    from .latentsync.engine import Settings
    from .latentsync.opening import load_latentsync

    weights = given.pop("guidance", None)
    place = {name: given.pop(name) for name in ("device", "dtype") if name in given}
    given.setdefault("resolution", 512)
    settings = Settings(**given, reuse=REUSE, guidance=Guidance(**weights) if weights else None)
    return load_latentsync(model, vae, whisper, settings, **place)


def _refuse(given: Mapping[str, Any], names: tuple[str, ...], why: str) -> None:
    for name in names:
        if name in given:
            raise InputError(f"--{name} {why}")
