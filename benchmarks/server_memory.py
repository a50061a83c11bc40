"""The memory of a ComfyUI server over queued jobs: python benchmarks/server_memory.py (with the host's python)

Twenty jobs of two seconds and two steps; the slope over jobs 5 to 20 must be under 2 MB a job. Every job has a seed of
its own, so that none comes from the host's cache.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path

import common
import numpy as np
import psutil

LIMIT_MB, WARM_UP = 2.0, 4


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--jobs", type=int, default=20)
    parser.add_argument("--steps", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=2.0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        used = _run(Path(folder), options)
    counted = used[WARM_UP:]
    slope = float(np.polyfit(np.arange(len(counted)), counted, 1)[0])
    print(common.table(["job", "resident MB"], [[job + 1, f"{mb:.1f}"] for job, mb in enumerate(used)]))
    print(f"slope over jobs {WARM_UP + 1} to {len(used)}: {slope:+.2f} MB a job (limit {LIMIT_MB:g})")
    sys.exit(slope >= LIMIT_MB)


def _run(base: Path, options: argparse.Namespace) -> list[float]:
    """Resident megabytes of the server after each job."""
    from tests.host.serving import Server

    workflow = common.ROOT / "workflows" / "api" / "lip_sync_a_video.json"
    prompt, used, server = json.loads(workflow.read_text(encoding="utf-8")), [], Server(base)
    prompt["3"]["inputs"]["steps"] = options.steps
    prompt["5"]["inputs"]["preview_seconds"] = options.seconds
    try:
        server.start()
        for job in range(options.jobs):
            prompt["5"]["inputs"]["seed"] = job
            done = server.wait(server.queue(prompt))
            assert done["status"]["status_str"] == "success", done["status"]
            used.append(psutil.Process(server.process.pid).memory_info().rss / 1e6)
    finally:
        server.kill()
    return used


if __name__ == "__main__":
    main()
