"""A batch over two Ray nodes here, with an actor, a node and the driver killed: is it what one process makes?

    python benchmarks/cluster.py prove --clips 200 --out /tmp/proof
    python benchmarks/cluster.py throughput --clips 64 --out /tmp/speed      # on a machine that does nothing else

Needs requirements-batch.txt and psutil. The engine is the bundled model at its one step, each worker on one thread; for
machines without time `--engine tiny` has random weights, `--engine fake` only paints, and `--engine nap` waits two
seconds a window besides, as for a graphics card: with it `throughput` is the batch's own. `prove` exits with 1 where a
row, a file or a hash is not as it should be, `throughput` where two workers do not do 1.8 times what one does.
"""

from __future__ import annotations

import argparse
import itertools
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from omnisync_core.batch.cluster import Cluster as Runner  # noqa: E402
from omnisync_core.batch.outcome import RESULTS, read_results  # noqa: E402
from omnisync_core.batch.plan import ModelChoice  # noqa: E402
from omnisync_core.batch.run import open_batch, run_batch, run_here  # noqa: E402
from omnisync_core.job.manifest import file_digest  # noqa: E402
from omnisync_core.job.options import SyncOptions  # noqa: E402
from omnisync_core.manifest import Row, read_manifest, write_manifest  # noqa: E402

OPTIONS = SyncOptions(mouth="centre")
ENGINES = ("mini", "tiny", "fake", "nap")
NAP_SECONDS = 2.0
SIZE = 128
"""Of the clips, pixels a side."""
NODE = {"num_cpus": 2, "object_store_memory": 200_000_000}


@dataclass(frozen=True)
class Choice:
    """The bundled model, or an engine of the tests; one step a window, one thread."""

    name: str
    pinned: bool = False
    """To one core each, so that a second worker has as much as the first."""

    def identity(self):
        return {"engine": self.name, **(ModelChoice().identity() if self.name == "mini" else {})}

    def load(self):
        import torch

        torch.set_num_threads(1)
        if self.pinned:
            _pin()
        if self.name == "mini":
            return ModelChoice().load()
        if self.name in ("fake", "nap"):
            from tests.batch.batches import Napping

            return Napping(NAP_SECONDS if self.name == "nap" else 0)
        from omnisync_core.engines.omnisync import Sampling
        from tests import tiny

        return tiny.engine(Sampling(steps=1))


def make_clips(folder: Path, count: int, least: int = 9) -> Path:
    """A list of small clips that all differ, `least` frames of `SIZE` x `SIZE` and up to eight more."""
    from tests.fake import write_sound, write_video

    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for number in range(count):
        frames = least + number % 9
        video = write_video(folder / f"v{number}.mkv", frames, size=(SIZE, SIZE), cuts=(number % 7 + 1,))
        sound = folder / f"a{number}.wav"
        if not sound.exists():
            write_sound(sound, frames / 25, loudness=0.1 + 0.8 * number / count)
        rows.append(Row(number + 1, f"clip{number:04d}", video, sound))
    write_manifest(folder / "list.csv", rows)
    return folder / "list.csv"


def run(manifest: Path, out: Path, runner, engine: str) -> float:
    """Seconds."""
    began = time.monotonic()
    run_batch(open_batch(read_manifest(manifest), out, ".mp4", OPTIONS, Choice(engine)), runner)
    return time.monotonic() - began


def start_cluster(nodes: int):
    """Ray nodes of two cores each on this machine, as if they were hosts."""
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={**NODE, "include_dashboard": False})
    others = [cluster.add_node(**NODE) for _ in range(nodes - 1)]
    return cluster, others


def drive(manifest: Path, out: Path, address: str, engine: str) -> subprocess.Popen:
    """The batch in a process of its own, so that it can be killed."""
    words = [sys.executable, __file__, "drive", "--manifest", manifest, "--out", out, "--address", address,
             "--engine", engine]  # fmt: skip
    return subprocess.Popen(list(map(str, words)))


def prove(clips: int, out: Path, engine: str) -> int:
    manifest = make_clips(out / "in", clips)
    print(f"one process: {run(manifest, out / 'alone', run_here, engine):.0f} s for {clips} clips", flush=True)
    cluster, (second,) = start_cluster(2)
    driver, many = drive(manifest, out / "many", cluster.address, engine), out / "many"
    try:
        _wait(many, clips // 4, driver)
        print(f"at {_count(many)} clips: kill -9 of an actor ({_kill_actor()}), {_memory(driver):.0f} MB", flush=True)
        _wait(many, clips // 2, driver)
        print(f"at {_count(many)} clips: kill -9 of a node, {_memory(driver):.0f} MB", flush=True)
        cluster.remove_node(second, allow_graceful=False)
        _wait(many, clips * 3 // 4, driver)
        print(f"at {_count(many)} clips: kill -9 of the driver, {_memory(driver):.0f} MB", flush=True)
        driver.kill()
        driver.wait()
        began, held, driver = time.monotonic(), 0.0, drive(manifest, many, cluster.address, engine)
        while driver.poll() is None:
            time.sleep(2)
            held = _memory(driver) or held
        print(f"the same command again: {time.monotonic() - began:.0f} s, the driver {held:.0f} MB", flush=True)
    finally:
        driver.kill()
        cluster.shutdown()
    return _compare(out / "alone", many, clips)


def throughput(clips: int, out: Path, engine: str) -> int:
    """Clips (of two seconds) a second from the first finished one on; a worker that computes has a core, a thread."""
    manifest, rates = make_clips(out / "in", clips, least=50), {}
    cluster, _ = start_cluster(1)
    try:
        for count in (1, 2):
            ends, began = [], time.monotonic()
            batch = open_batch(
                read_manifest(manifest), out / f"with{count}", ".mp4", OPTIONS, Choice(engine, engine != "nap")
            )
            run_batch(batch, Runner(cluster.address, workers=count), lambda _, ends=ends: ends.append(time.monotonic()))
            rates[count] = (clips - count) / (ends[-1] - ends[count - 1])
            print(f"{count} workers: {rates[count]:.2f} clips/s; {ends[-1] - began:.0f} s with starting", flush=True)
    finally:
        cluster.shutdown()
    print(f"two workers give {rates[2] / rates[1]:.2f} times the clips of one")
    return 0 if rates[2] >= 1.8 * rates[1] else 1


def _pin() -> None:
    """This worker to the first core that no other has taken; one that is ending lets its own go."""
    import fcntl
    import tempfile

    for core in itertools.cycle(sorted(os.sched_getaffinity(0))):
        taken = open(Path(tempfile.gettempdir()) / f"omnisync_core_{core}", "w")  # noqa: SIM115 - held until it ends
        with suppress(BlockingIOError):
            fcntl.flock(taken, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _HELD.append(taken)
            os.sched_setaffinity(0, {core})
            return
        time.sleep(0.1)


_HELD: list = []


def _compare(alone: Path, many: Path, clips: int) -> int:
    one, two = ({row.id: row for row in read_results(folder / RESULTS)} for folder in (alone, many))
    files = {path.stem: file_digest(path) for path in many.glob("*.mp4")}
    same = sum(one[name].sha256 == two[name].sha256 == files.get(name) for name in one if name in two)
    left = [path for path in (many / ".omnisync").rglob("*") if path.suffix in (".part", ".npz", ".mp4")]
    print(f"{len(two)} rows, {len(files)} files, {same} hashes as in one process, {len(left)} pieces left over")
    return 0 if len(two) == len(files) == same == clips and not left else 1


def _count(out: Path) -> int:
    return sum(1 for _ in out.glob("*.mp4"))


def _wait(out: Path, count: int, driver: subprocess.Popen) -> None:
    while _count(out) < count:
        if driver.poll() is not None:
            raise SystemExit(f"the driver ended with {driver.returncode} at {_count(out)} clips")
        time.sleep(0.2)


def _kill_actor() -> int:
    """Kill one that edits; its process says so."""
    import psutil

    for process in psutil.process_iter(["pid", "cmdline"]):
        words = " ".join(process.info["cmdline"] or ())
        if words.startswith("ray::") and "Worker" in words:
            os.kill(process.info["pid"], signal.SIGKILL)
            return process.info["pid"]
    raise SystemExit("no actor is at work")


def _memory(process: subprocess.Popen) -> float:
    """Resident, MB; 0 where it has ended."""
    import psutil

    try:
        return psutil.Process(process.pid).memory_info().rss / 1e6
    except psutil.NoSuchProcess:
        return 0.0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("prove", "throughput", "drive"))
    parser.add_argument("--clips", type=int, default=200)
    parser.add_argument("--engine", choices=ENGINES, default=ENGINES[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--manifest", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--address", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.what == "drive":
        run(given.manifest, given.out, Runner(given.address, workers=2), given.engine)
        return 0
    return {"prove": prove, "throughput": throughput}[given.what](given.clips, given.out.absolute(), given.engine)


if __name__ == "__main__":
    sys.exit(main())
