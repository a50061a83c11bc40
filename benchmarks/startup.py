"""What the pack adds to a ComfyUI's start: starts with and without it, in turn, and the median of the differences.

    python benchmarks/startup.py --host ~/comfy/ComfyUI --python ~/comfy/venv/bin/python

Each start is the host's own quick test (all nodes loaded, then exit) on the CPU with a base directory that holds
nothing but, every other time, this pack. The first pair warms the disk and is left out.
"""

from __future__ import annotations

import argparse
import re
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LOADED = re.compile(r"^\s*([\d.]+) seconds.*: .*custom_nodes[/\\]omnisync", re.MULTILINE)


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
            without, _ = start(given, bare)
            with_pack, said = start(given, packed)
            if index:
                rows.append((without, with_pack, said))
                print(f"{index}: {without:6.2f} s without, {with_pack:6.2f} s with; the host says {said:.2f} s")
    print(f"median difference {statistics.median(b - a for a, b, _ in rows):.2f} s, "
          f"the host's own figure for the pack {statistics.median(said for _, _, said in rows):.2f} s")  # fmt: skip


def base_directory(path: Path, packed: bool) -> Path:
    (path / "custom_nodes").mkdir(parents=True)
    if packed:
        (path / "custom_nodes" / "omnisync").symlink_to(ROOT, target_is_directory=True)
    return path


def start(given: argparse.Namespace, base: Path) -> tuple[float, float]:
    """Seconds of a start, and what the host says the pack's import took."""
    command = [given.python, "main.py", "--cpu", "--quick-test-for-ci", "--disable-api-nodes", "--base-directory", base]
    began = time.monotonic()
    done = subprocess.run([*map(str, command)], cwd=given.host, capture_output=True, text=True, check=True)
    took = time.monotonic() - began
    found = LOADED.search(done.stdout + done.stderr)
    return took, float(found[1]) if found else 0.0


if __name__ == "__main__":
    main()
