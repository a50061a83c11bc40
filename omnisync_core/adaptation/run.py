"""`adapt`: a clip of a person in, a speaker adapter out; stopped at any time it goes on from there."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from time import monotonic
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from torch import Tensor

from .. import media
from ..adapter import read_adapter, write_adapter
from ..checkpoint import Bundle, read_bundle
from ..engines.omnisync import (
    BUNDLED,
    OmniSyncEngine,
    build_networks,
    build_spec,
    choose_device,
    own_sampling,
    ready_networks,
    vae_config,
)
from ..errors import InputError, OutputError
from ..job.manifest import file_digest, plain
from ..job.report import Listener, Progress
from ..job.store import Store
from ..training.stage import device_of
from .learning import BATCH, RANK, Pairs, Pupil, pairs_of, split
from .material import Windows, change, read_windows, warnings_of, with_prompt

CHANGING_SHARE = 0.35
"""Of the time, at most, in which the clip is changed; one round at least."""
MOST_ROUNDS = 6
CHECKS = 6
"""How often, over the time, it is looked how far it has come."""
SAVE_SECONDS = 60.0
WARM_UP = 10
MOST_BYTES = 0.75e9
"""Of the pictures of all rounds, which are held twice for a moment."""
LEAST_WINDOWS = 8
"""So many are changed, if there are, however long it takes."""
MOST_LOST = 20
"""Steps in a row without a finite loss and gradient after which it is given up."""


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
    warnings: tuple[str, ...] = ()
    """What the user should know, one line each."""

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
    made is kept in the folder `<output>.omnisync` (with `state` in a folder in there that is named by the job).
    Whatever stops the work, also an exception raised by `progress`, the same call with `options.resume` goes on. The
    random numbers of the caller's torch stay as they are. Raises InputError, CheckpointError and OutputError.
    """
    began, part, output = monotonic(), media.Part.of(video), Path(output)
    if output.suffix != ".safetensors":
        raise InputError(f"the output must end in .safetensors, got {output.name!r}")
    if not output.parent.is_dir():
        raise OutputError(f"there is no folder {output.parent}: make it, or choose another output")
    if not os.access(output.parent, os.W_OK):
        raise OutputError(f"nothing can be written to {output.parent}: choose another output")
    if not part.path.is_file():
        raise InputError(f"no such file: {part.path}")
    bundle = read_bundle(model or BUNDLED)
    if not vae_config(bundle).skips:
        raise InputError(f"{bundle.path}: its decoder does not look at the source, which learning a person needs")
    place = choose_device(device)
    asked = learned_from(part, audio, bundle.digest, options)
    store = Store.open(output, asked, resume=options.resume, state=state)
    with closing(store), torch.random.fork_rng([place] if place.type == "cuda" else []):
        networks = ready_networks(bundle, str(place))
        engine = OmniSyncEngine(networks, build_spec(bundle), own_sampling(bundle), bundle.digest)
        work = _Work(store, options, progress or (lambda _: None), began)
        windows = work.windows(part, None if audio is None else Path(audio), engine)
        rows, changed_WKTHWC = work.changes(windows, engine, networks)
        pupil = Pupil(_learning(bundle, networks), engine, options.seed)
        result = work.learn(pupil, pairs_of(pupil, windows.take(rows), changed_WKTHWC, work.tick))
        said = {
            "base": bundle.digest, "learned": asked, "minutes": options.minutes, "rank": RANK, "windows": len(rows),
            "warnings": list(warnings_of(windows)), **result["figures"],
        }  # fmt: skip
        _write(output, result["transformer"], result["decoder"], said)
        store.remove()
    return _adapted(output, said, monotonic() - began)


def kept(output: str | os.PathLike, asked: Mapping[str, Any], minutes: float) -> Adapted | None:
    """What `output` says of itself where it was learned from the same (`learned_from`), in as many minutes at least.

    None: there is no such file. InputError: it is something else.
    """
    if not Path(output).exists():
        return None
    said = read_adapter(output).about
    if said.get("learned") != json.loads(json.dumps(asked)):
        raise InputError(f"{output} is there, and was learned from something else: choose another name")
    return _adapted(Path(output), said, 0.0) if float(said.get("minutes", 0)) >= minutes else None


def learned_from(part: media.Part, audio: str | os.PathLike | None, base: str, options: AdaptOptions) -> dict:
    """What must be the same for a job to go on, or a file to be the one asked for; the time may grow. Plain values."""
    return {
        "format": 2, "adapter of": base, "video": file_digest(part.path), "part": [part.start, part.stop],
        "sound": file_digest(audio or part.path), "mouth": plain(options.mouth), "seed": options.seed,
    }  # fmt: skip


class _Work:
    """The parts of the work that take time, reported and kept."""

    def __init__(self, store: Store, options: AdaptOptions, tell: Listener, began: float) -> None:
        self._store, self._options, self._tell = store, options, tell
        before = float(store.read("spent")["seconds"]) if store.has("spent") else 0.0
        self._began = began - before
        self._total = 60 * options.minutes

    @property
    def _spent(self) -> float:
        return monotonic() - self._began

    def tick(self) -> None:
        """Say how much of the time is over."""
        self._say("learning", self._total)

    def _say(self, stage: str, total: float) -> None:
        """Progress in seconds."""
        total = max(1, round(total))
        self._tell(Progress(stage, min(round(self._spent), total), total))

    def windows(self, part: media.Part, audio: Path | None, engine: OmniSyncEngine) -> Windows:
        def on_frame(done: int, total: int) -> None:
            self._tell(Progress("reading", done, total))

        options = self._options
        return read_windows(part, audio, options.mouth, engine, self._store, on_frame, options.minutes)

    def changes(self, windows: Windows, engine: OmniSyncEngine, networks: dict) -> tuple[np.ndarray, np.ndarray]:
        """Which windows are learned from (R), and K changes of each, RKTHWC: one round, more while there is time.

        A first round that takes too long ends before all windows are changed.
        """
        rounds: list[dict[str, np.ndarray]] = []
        while True:
            kept_before = self._read_round(len(rounds), windows)
            if kept_before is None:
                if rounds and not self._goes_on(len(rounds), rounds[0]["rows"], windows):
                    break
                kept_before = self._change(len(rounds), windows, with_prompt(engine, networks, len(rounds)))
            rounds.append(kept_before)
        return rounds[0]["rows"], np.stack([one["frames"] for one in rounds], 1)

    def _read_round(self, number: int, windows: Windows) -> dict[str, np.ndarray] | None:
        """A round that was made of these very windows."""
        if not self._store.has(_round(number)):
            return None
        made = self._store.read(_round(number))
        fits = made["rows"].max() < len(windows) and np.array_equal(windows.times_WT[made["rows"]], made["times"])
        return made if fits else None

    def _goes_on(self, rounds: int, rows: np.ndarray, windows: Windows) -> bool:
        """Whether another round is worth its time; the ones before say how long it takes."""
        soon_over = self._spent * (rounds + 1) / rounds > CHANGING_SHARE * self._total
        fits = (rounds + 1) * windows.frames_WTHWC.nbytes <= MOST_BYTES
        return len(rows) == len(windows) and rounds < MOST_ROUNDS and fits and not soon_over

    def _change(self, number: int, windows: Windows, engine: OmniSyncEngine) -> dict[str, np.ndarray]:
        budget = CHANGING_SHARE * self._total

        def go_on(done: int) -> bool:
            self._say("changing", budget)
            return number > 0 or done < LEAST_WINDOWS or self._spent < budget

        rows, frames = change(windows, number, engine, self._options.seed, go_on)
        made = {"rows": rows, "times": windows.times_WT[rows], "frames": frames}
        self._store.write(_round(number), **made)
        self._keep_time()
        return made

    def learn(self, pupil: Pupil, pairs: Pairs) -> dict:
        """Until the time is over; the best of what was looked at on the windows kept out is what stays."""
        rows, kept_out = split(pairs.times_WT)
        state = self._read_state()
        if state is None:
            state = {"step": 0, "before": pupil.share(pairs, kept_out)}
            state |= {"best": state["before"], "learned": pupil.learned()}
        else:
            pupil.remember(*state["now"])
        first = saved = checked = self._spent
        each = max(20.0, (self._total - first) / CHECKS)
        step = began_at = state["step"]
        lost = 0
        while self._spent < self._total:
            rng = np.random.default_rng([self._options.seed, 7, step])
            rate = min(1.0, (step - began_at + 1) / WARM_UP, 1.25 * (1 - self._spent / self._total) + 0.02)
            is_sound = pupil.step(pairs, rng.choice(rows, min(BATCH, len(rows)), replace=False), rate, rng)
            lost = 0 if is_sound else lost + 1
            if lost == MOST_LOST:
                raise InputError(f"{lost} steps in a row gave no numbers, after {step} steps: try another seed")
            step += 1
            self.tick()
            if self._spent - checked > each:
                self._check(pupil, pairs, kept_out, state)
                checked = self._spent
            if self._spent - saved > SAVE_SECONDS:
                self._write_state(pupil, state, step)
                saved = self._spent
        self.tick()
        self._check(pupil, pairs, kept_out, state)
        self._write_state(pupil, state, step)
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


def _write(output: Path, transformer: Mapping, decoder: Mapping, said: Mapping[str, object]) -> None:
    try:
        write_adapter(output, transformer, decoder, said)
    except (OSError, SafetensorError) as error:
        problem = getattr(error, "strerror", None) or str(error).splitlines()[0]
        raise OutputError(f"cannot write {output}: {problem}; what was learned is kept: mend that and resume") from None


def _adapted(output: Path, said: Mapping[str, Any], seconds: float) -> Adapted:
    figures = {name: said[name] for name in ("windows", "steps", "share_before", "share")}
    warnings = list(said["warnings"])
    if said["share"] <= said["share_before"]:
        warnings.append("nothing was learned that helps; give it more minutes, or a longer clip")
    return Adapted(str(output), **figures, seconds=seconds, warnings=tuple(warnings))


def _learning(bundle: Bundle, networks: Mapping[str, torch.nn.Module]) -> dict[str, torch.nn.Module]:
    place = device_of(networks["vae"])
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
