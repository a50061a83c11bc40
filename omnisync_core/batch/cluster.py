"""The runner over Ray, an extra: a pool of actors, one engine each, on this machine or on a cluster.

Paths travel, never frames: every host sees the clips, the result's folder and this program under the same paths. What
dies (an actor, a host) is started again or done without, and its clips are handed out again by Ray; that none is made
twice, or kills one actor after the other, is the ledger's doing.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import threading
import time
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any

from ..errors import InputError, OutputError
from ..job.options import SyncOptions
from .clip import Task, edit_clip, edit_part, refused, split_clip
from .ledger import Ledger
from .outcome import Outcome
from .plan import EngineChoice
from .waiting import rows_while_hosts

OLDEST = (2, 55)
"""The first Ray whose data pipelines are known to start dead actors again as this needs it."""
CPUS = 2
"""Cores of a worker without a GPU."""
MOST_BLOCKS = 5000
"""Ray keeps books on each; beyond it several clips share one."""
WHOLE, SPLIT = "whole", "split"
"""What is to be done with a clip."""
CONNECT_SECONDS = 10.0
WAITING = 2
"""Clips that lie ready for each actor."""
DEATHS = 3
"""Of workers at one clip; then the next would die of it too."""
RAY_NAMES = {"num_gpus": "GPU", "num_cpus": "CPU"}


@dataclass(frozen=True)
class Cluster:
    """A `run.Runner`. Without `address` this machine alone; without `gpus` and `workers` all that the cluster has."""

    address: str | None = None
    gpus: int | None = None
    workers: int | None = None
    """On CPU cores."""
    split: float | None = None
    """Longer clips are cut into pieces of so many seconds, which different workers edit; None: they are not."""

    def __call__(
        self, tasks: Sequence[Task], ledger: Ledger, options: SyncOptions, engine: EngineChoice
    ) -> Iterator[Outcome]:
        """Outcomes as they come. InputError: no Ray, no cluster, too small a one. OutputError: the cluster is gone."""
        ray = need_ray()
        self.connect(ray)
        try:
            count, resources = self._pool(ray)
            pool = _Pool(ray, count, resources, (engine, options, str(ledger.out), self.split or 0.0, uuid.uuid4().hex))
            yield from _outcomes(pool, tasks, self.split)
        except ray.exceptions.RayError as error:
            raise OutputError(f"the cluster stopped: {_last_line(error)}; the same command goes on") from None
        finally:
            ray.shutdown()

    def connect(self, ray: ModuleType) -> None:
        """To the cluster, or to one of this machine alone. InputError: there is none."""
        _check_address(self.address)
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is reported to anybody
        os.environ.setdefault("RAY_IGNORE_UNHANDLED_ERRORS", "1")  # of its own books, when a node died that held them
        logging.getLogger("ray.data").setLevel(logging.ERROR)
        root = str(Path(__file__).parents[2])
        paths = os.pathsep.join([root, *filter(None, [os.environ.get("PYTHONPATH")])])
        stop = signal.getsignal(signal.SIGTERM)
        try:
            ray.init(
                address=self.address,
                ignore_reinit_error=True,
                log_to_driver=False,
                logging_level="error",
                runtime_env={"env_vars": {"PYTHONPATH": paths}},
            )
        except (ConnectionError, ValueError) as error:
            raise _no_cluster(self.address, error) from None
        finally:
            if threading.current_thread() is threading.main_thread():
                signal.signal(signal.SIGTERM, stop)  # Ray's ends the program without a word

    def _pool(self, ray: ModuleType) -> tuple[int, dict[str, float]]:
        """How many actors, and what each takes. InputError: the cluster has less."""
        hosts = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        gpus, cpus = (sum(int(host.get(name, 0)) for host in hosts) for name in ("GPU", "CPU"))
        if self.gpus is not None and self.gpus > gpus:
            raise InputError(f"--gpus asks for {self.gpus}, the cluster has {gpus} GPUs; take fewer, or --workers")
        if self.workers is not None and self.workers > cpus:
            raise InputError(f"--workers asks for {self.workers}, the cluster has {cpus} CPU cores; take fewer")
        if self.workers is None and (self.gpus or gpus):
            return self.gpus or gpus, {"num_gpus": 1, "num_cpus": 1}
        largest = max((int(host.get("CPU", 0)) for host in hosts), default=0)
        count = self.workers or max(1, cpus // CPUS)
        return count, {"num_cpus": max(1, min(CPUS, cpus // count, largest))}


class Worker:
    """An actor: opens its engine at its first clip and keeps it."""

    def __init__(self, engine: EngineChoice, options: SyncOptions, out: str, split: float, run: str) -> None:
        self._choice, self._options, self._ledger, self._split = engine, options, Ledger(Path(out)), split
        self._run = run
        self._engine: Any = None

    def __call__(self, batch: dict[str, Any]) -> dict[str, list]:
        """Rows of a task and what to do with it (`WHOLE`, `SPLIT` or a piece as start:stop) to rows of outcomes."""
        rows = zip(batch["task"], batch["what"], strict=True)
        outcomes = [self._do(Task.from_json(str(text)), str(what)) for text, what in rows]
        return {name: [getattr(outcome, name) for outcome in outcomes] for name in asdict(outcomes[0])}

    def _do(self, task: Task, what: str) -> Outcome:
        began = time.monotonic()
        try:
            with self._ledger.counted(task.key, f"{self._run}-{what.replace(':', '-')}") as died:
                if died >= DEATHS:
                    raise OutputError(f"{died} workers died at it: out of memory, or a file that breaks the decoder")
                return self._edit(task, what)
        except Exception as error:
            if what != WHOLE:  # reported, or made good, where the clip is edited whole
                return Outcome(task.id, SPLIT)
            self._ledger.tidy(task.key)
            return replace(refused(task, str(error), began), state="failed")

    def _edit(self, task: Task, what: str) -> Outcome:
        try:
            self._engine = self._engine or self._choice.load()
        except Exception as error:  # of this host alone, it may be
            raise OutputError(f"no engine on this host: {error}") from None
        given = (self._engine, self._options, self._ledger)
        if what == WHOLE:
            return edit_clip(task, *given)
        if what == SPLIT:
            pieces = split_clip(task, *given, self._split)
            return Outcome(task.id, SPLIT, reason=" ".join(f"{piece.start}:{piece.stop}" for piece in pieces))
        edit_part(task, range(*map(int, what.split(":"))), *given)
        return Outcome(task.id, what)


def need_ray() -> ModuleType:
    """Ray with its data pipelines. InputError: not installed, too old."""
    try:
        import ray
        import ray.data
        import ray.exceptions
    except ImportError:
        raise InputError(
            "more than one process needs Ray: pip install -r requirements-batch.txt, "
            "or leave --gpus, --workers and --address out"
        ) from None
    version = tuple(int(part) for part in ray.__version__.split(".")[:2])
    if version < OLDEST:
        oldest = ".".join(map(str, OLDEST))
        raise InputError(f"Ray {ray.__version__} is too old, expected {oldest} or newer: pip install -U 'ray[data]'")
    return ray


@dataclass(frozen=True)
class _Pool:
    """Actors that are started for each pass over the data."""

    ray: ModuleType
    count: int
    resources: dict[str, float]
    given: tuple
    """What each `Worker` is made with."""

    def run(self, jobs: Sequence[tuple[Task, str]]) -> Iterator[Outcome]:
        """Outcomes of tasks and what is to be done with each, as they come. OutputError: no host is left."""
        if not jobs:
            return
        data = self.ray.data
        data.DataContext.get_current().enable_progress_bars = False
        rows = [{"task": task.as_json(), "what": what} for task, what in jobs]
        done = data.from_items(rows, override_num_blocks=min(len(rows), MOST_BLOCKS)).map_batches(
            Worker,
            batch_size=1,
            fn_constructor_args=self.given,
            compute=data.ActorPoolStrategy(size=min(self.count, len(rows)), max_tasks_in_flight_per_actor=WAITING),
            **self.resources,
        )
        needs = {RAY_NAMES[name]: amount for name, amount in self.resources.items()}
        for row in rows_while_hosts(self.ray, done.iter_rows(), needs):
            yield Outcome(**row)


def _outcomes(pool: _Pool, tasks: Sequence[Task], split: float | None) -> Iterator[Outcome]:
    """Short clips whole; long ones in three passes: where they can be cut, their pieces, all of them joined."""
    by_id = {task.id: task for task in tasks}
    is_long = {task.id: split is not None and task.seconds > 1.5 * split for task in tasks}
    pieces: list[tuple[Task, str]] = []
    for outcome in pool.run([(task, SPLIT if is_long[task.id] else WHOLE) for task in tasks]):
        if is_long[outcome.id]:
            pieces += [(by_id[outcome.id], piece) for piece in outcome.reason.split() if outcome.state == SPLIT]
        else:
            yield outcome
    for _ in pool.run(pieces):
        pass
    yield from pool.run([(task, WHOLE) for task in tasks if is_long[task.id]])


def _check_address(address: str | None) -> None:
    """InputError where nobody listens: Ray itself would ask for minutes. Names such as `auto` are Ray's to know."""
    if address is None:
        return
    if address.startswith("ray://"):
        raise InputError(
            f"{address} is Ray Client, over which Ray Data does not run: start this on a host of the cluster, "
            "with --address auto"
        )
    host, _, port = address.rpartition(":")
    if host and port.isdigit() and int(port) < 2**16:
        try:
            socket.create_connection((host.strip("[]"), int(port)), CONNECT_SECONDS).close()
        except OSError as error:
            raise _no_cluster(address, error) from None


def _no_cluster(address: str | None, error: BaseException) -> InputError:
    where = f"at {address}" if address else "here"
    return InputError(
        f"no Ray cluster {where} ({_last_line(error)}): start one with ray start --head, or leave --address out"
    )


def _last_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1][:200] if lines else type(error).__name__
