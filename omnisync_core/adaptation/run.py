"""`adapt`: a clip of a person in, a speaker adapter out; stopped at any time it goes on from there."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from time import monotonic
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .. import media
from ..adapter import write_adapter
from ..checkpoint import Bundle, read_bundle
from ..engines.omnisync import (
    BUNDLED,
    OmniSyncEngine,
    build_networks,
    build_spec,
    own_sampling,
    ready_networks,
    vae_config,
)
from ..errors import InputError, OutputError
from ..job.manifest import file_digest, plain
from ..job.report import Listener, Progress
from ..job.store import Store
from .learning import BATCH, RANK, Pairs, Pupil, pairs_of, split
from .material import Windows, change, read_windows, with_prompt

CHANGING_SHARE = 0.35
"""Of the time, at most, in which the clip is changed; one round at least."""
MOST_ROUNDS = 6
CHECKS = 6
"""How often, over the time, it is looked how far it has come."""
SAVE_SECONDS = 60.0
WARM_UP = 10


@dataclass(frozen=True)
class AdaptOptions:
    minutes: float = 5.0
    """All in: making the changes and learning."""
    mouth: Any = "auto"
    """As `SyncOptions.mouth`."""
    seed: int = 0
    resume: bool = False

    def __post_init__(self) -> None:
        if not 0 < self.minutes <= 24 * 60:
            raise InputError(f"minutes must be a number in (0, 1440], got {self.minutes}")


@dataclass(frozen=True)
class Adapted:
    """What was learned. The shares are of windows that were kept out: how much of the way back is found."""

    output: str
    windows: int
    steps: int
    share_before: float
    share: float
    seconds: float

    def as_json(self) -> dict:
        return asdict(self)


def adapt(
    video: str | os.PathLike | media.Part,
    output: str | os.PathLike,
    *,
    audio: str | os.PathLike | None = None,
    model: str | os.PathLike | None = None,
    options: AdaptOptions = AdaptOptions(),
    device: str = "auto",
    state: str | os.PathLike | None = None,
    progress: Listener | None = None,
) -> Adapted:
    """Write `output` (.safetensors): what the bundle `model` (None: the bundled one) learned of the person in `video`.

    audio: the clip's own sound where the video has none. The last quarter of the clip is never learned from. What was
    made is kept in the folder `<output>.omnisync`, or with `state` in a folder in there that is named by the job.
    Whatever stops the work, also an exception raised by `progress`, the same call with `options.resume` goes on.
    Raises InputError, CheckpointError and OutputError.
    """
    began, part, output = monotonic(), media.Part.of(video), Path(output)
    if output.suffix != ".safetensors":
        raise InputError(f"the output must end in .safetensors, got {output.name!r}")
    if not output.parent.is_dir():
        raise OutputError(f"there is no folder {output.parent}: make it, or choose another output")
    bundle = read_bundle(model or BUNDLED)
    if not vae_config(bundle).skips:
        raise InputError(f"{bundle.path}: its decoder does not look at the source, which learning a person needs")
    networks = ready_networks(bundle, device)
    engine = OmniSyncEngine(networks, build_spec(bundle), own_sampling(bundle), bundle.digest)
    asked = _manifest(part, audio, bundle, options)
    store = Store.open(output, asked, resume=options.resume, state=state)
    try:
        work = _Work(store, options, progress or (lambda _: None), began)
        windows, own = read_windows(
            part, None if audio is None else Path(audio), options.mouth, engine, store, work.on_frame
        )
        changed = [
            work.changed(number, windows, with_prompt(engine, networks, number), own) for number in work.rounds()
        ]
        pupil = Pupil(_learning(bundle, networks), engine, options.seed)
        pairs = pairs_of(pupil, windows.frames_WTHWC, np.stack(changed), windows.speech_WTND, windows.mouth_WT3)
        result = work.learn(pupil, pairs)
        told = {
            "base": bundle.digest,
            "learned": asked,
            "minutes": options.minutes,
            "rank": RANK,
            "windows": len(windows),
            **result["figures"],
        }
        write_adapter(output, result["transformer"], result["decoder"], told)
        store.remove()
    finally:
        store.close()
    return Adapted(str(output), len(windows), **result["figures"], seconds=monotonic() - began)


class _Work:
    """The parts of the work that take time, told of and kept."""

    def __init__(self, store: Store, options: AdaptOptions, tell: Listener, began: float) -> None:
        self._store, self._options, self._tell = store, options, tell
        before = float(store.read("spent")["seconds"]) if store.has("spent") else 0.0
        self._began = began - before
        self._total = 60 * options.minutes

    @property
    def _spent(self) -> float:
        return monotonic() - self._began

    def on_frame(self, done: int, total: int) -> None:
        self._tell(Progress("reading", done, total))

    def rounds(self) -> Iterator[int]:
        """One round of changes, and more while there is time for them."""
        number, longest = 0, 0.0
        while number == 0 or self._store.has(_round(number)) or (
            number < MOST_ROUNDS and self._spent + longest < CHANGING_SHARE * self._total
        ):  # fmt: skip
            at = monotonic()
            yield number
            longest, number = max(longest, monotonic() - at), number + 1

    def changed(self, number: int, windows: Windows, engine: OmniSyncEngine, own: Any) -> np.ndarray:
        if not self._store.has(_round(number)):

            def on_window(done: int, total: int) -> None:
                self._tell(Progress("changing", number * total + done, (number + 1) * total))

            self._store.write(
                _round(number), frames=change(windows, number, engine, own, self._options.seed, on_window)
            )
            self._keep_time()
        return self._store.read(_round(number))["frames"]

    def learn(self, pupil: Pupil, pairs: Pairs) -> dict:
        """Until the time is over; the best of what was looked at on the windows kept out is what stays."""
        rows, kept_out = split(len(pairs.frames_WTHWC))
        state = self._read_state()
        if state is None:
            state = {"step": 0, "before": pupil.share(pairs, kept_out)}
            state |= {"best": state["before"], "learned": pupil.learned()}
        else:
            pupil.remember(*state["now"])
        first, saved, checked = self._spent, self._spent, self._spent
        each = max(20.0, (self._total - first) / CHECKS)
        step = state["step"]
        while self._spent < self._total:
            rng = np.random.default_rng([self._options.seed, 7, step])
            rate = min(1.0, (step - state["step"] + 1) / WARM_UP, 1.25 * (1 - self._spent / self._total) + 0.02)
            loss = pupil.step(pairs, rng.choice(rows, min(BATCH, len(rows)), replace=False), rate, rng)
            if not np.isfinite(loss):
                raise InputError(f"the loss is no number after {step} steps; what was learned is kept, use --resume")
            step += 1
            self._tell(Progress("learning", min(round(self._spent), round(self._total)), round(self._total)))
            if self._spent - checked > each:
                self._check(pupil, pairs, kept_out, state)
                checked = self._spent
            if self._spent - saved > SAVE_SECONDS:
                self._write_state(pupil, state, step)
                saved = self._spent
        self._check(pupil, pairs, kept_out, state)
        transformer, decoder = state["learned"]
        figures = {"steps": step, "share_before": state["before"], "share": state["best"]}
        return {"transformer": transformer, "decoder": decoder, "figures": figures}

    def _check(self, pupil: Pupil, pairs: Pairs, kept_out: np.ndarray, state: dict) -> None:
        share = pupil.share(pairs, kept_out)
        if share > state["best"]:
            state |= {"best": share, "learned": pupil.learned()}

    def _write_state(self, pupil: Pupil, state: dict, step: int) -> None:
        arrays = {"step": np.array(step), "before": np.array(state["before"]), "best": np.array(state["best"])}
        for name, learned in (("now", pupil.learned()), ("learned", state["learned"])):
            arrays |= _flat(name, *learned)
        self._store.write("state", **arrays)
        self._keep_time()

    def _read_state(self) -> dict | None:
        if not self._store.has("state"):
            return None
        arrays = self._store.read("state")
        state = {"step": int(arrays["step"]), "before": float(arrays["before"]), "best": float(arrays["best"])}
        return state | {name: _whole(name, arrays) for name in ("now", "learned")}

    def _keep_time(self) -> None:
        self._store.write("spent", seconds=np.array(self._spent))


def _manifest(part: media.Part, audio: str | os.PathLike | None, bundle: Bundle, options: AdaptOptions) -> dict:
    """What must be the same to go on; the time may grow."""
    return {
        "format": 1, "adapter of": bundle.digest, "video": file_digest(part.path), "part": [part.start, part.stop],
        "sound": file_digest(audio or part.path), "mouth": plain(options.mouth), "seed": options.seed,
    }  # fmt: skip


def _learning(bundle: Bundle, networks: Mapping[str, torch.nn.Module]) -> dict[str, torch.nn.Module]:
    place = next(networks["vae"].parameters()).device
    return {part: module.to(place) for part, module in build_networks(bundle).items()}


def _round(number: int) -> str:
    return f"window_changed_{number}"


def _flat(name: str, transformer: Mapping, decoder: Mapping[str, Tensor]) -> dict[str, np.ndarray]:
    arrays = {f"{name}/decoder/{key}": value.cpu().numpy() for key, value in decoder.items()}
    for layer, (inner, outer) in transformer.items():
        arrays |= {f"{name}/inner/{layer}": inner.cpu().numpy(), f"{name}/outer/{layer}": outer.cpu().numpy()}
    return arrays


def _whole(name: str, arrays: Mapping[str, np.ndarray]) -> tuple[dict, dict]:
    def under(kind: str) -> dict[str, Tensor]:
        head = f"{name}/{kind}/"
        return {key[len(head) :]: torch.as_tensor(value) for key, value in arrays.items() if key.startswith(head)}

    inner, outer = under("inner"), under("outer")
    return {layer: (inner[layer], outer[layer]) for layer in inner}, under("decoder")
