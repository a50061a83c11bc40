"""What the pack adds to a ComfyUI's start: starts with and without it, in turn, and the median of the differences.

    python benchmarks/startup.py --host ~/comfy/ComfyUI --python ~/comfy/venv/bin/python

Each start is the host's own quick test (all nodes loaded, then exit) on the CPU with a base directory that holds
nothing but, every other time, this pack. The first pair warms the disk and is left out. On a machine that does other
work the processor's seconds are the figure to read, elsewhere the clock's.
"""

from __future__ import annotations

import argparse
import os
import re
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LOADED = re.compile(r"([\d.]+) seconds.*: .*custom_nodes[/\\]omnisync")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--host", type=Path, required=True, help="a checkout of ComfyUI")
    parser.add_argument("--python", required=True, help="the python that runs it")
    parser.add_argument("--pairs", type=int, default=5)
    given = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        bare, packed = (base_directory(Path(folder) / name, name == "packed") for name in ("bare", "packed"))
        for index in range(given.pairs + 1):
            pair = start(given, bare), start(given, packed)
            if index:
                rows.append(pair)
                (clock, work, _), (clock_packed, work_packed, said) = pair
                both = f"clock {clock:.1f} -> {clock_packed:.1f} s, processor {work:.2f} -> {work_packed:.2f} s"
                print(f"{index}: {both}, the host says {said:.1f} s", flush=True)
    more = [statistics.median(packed[column] - bare[column] for bare, packed in rows) for column in (0, 1)]
    print(f"median: {more[0]:+.2f} s by the clock, {more[1]:+.2f} s of the processor")


def base_directory(path: Path, packed: bool) -> Path:
    (path / "custom_nodes").mkdir(parents=True)
    if packed:
        (path / "custom_nodes" / "omnisync").symlink_to(ROOT, target_is_directory=True)
    return path


def start(given: argparse.Namespace, base: Path) -> tuple[float, float, float]:
    """Seconds of a start by the clock and of the processor, and what the host says the pack's import took."""
    command = [given.python, "main.py", "--cpu", "--quick-test-for-ci", "--disable-api-nodes", "--base-directory", base]
    began, before = time.monotonic(), os.times()
    done = subprocess.run([*map(str, command)], cwd=given.host, capture_output=True, text=True, check=True)
    took, after = time.monotonic() - began, os.times()
    work = after.children_user + after.children_system - before.children_user - before.children_system
    found = LOADED.search(done.stdout + done.stderr)
    if found is None and (base / "custom_nodes" / "omnisync").exists():
        raise SystemExit(f"the host did not load the pack:\n{done.stderr[-2000:]}")
    return took, work, float(found[1]) if found else 0.0


if __name__ == "__main__":
    main()
