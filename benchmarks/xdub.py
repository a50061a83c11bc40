"""X-Dub's pipeline on a real clip, with tiny weights: benchmarks/xdub.py --video CLIP --sound SPEECH --mouth X,Y

The clip is played twice in a row (its packets copied) and synced whole, at the true sizes: crops of 512 pixels, windows
of 77 frames. The network is a tiny one of the true layout; a small share of what it says moves the source's latents, so
that a window stays a picture and the next one goes on from it. Each job runs in a process of its own. What must hold:
as many frames, of the same size, at the same times; outside of the mask every sample of every plane the source's; a
job that was killed and resumed gives the same samples; the peak of memory is that of half the clip.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import common

LIMIT = 1.05
SHARE = 0.02
"""Of the random network's velocity."""
FINISHED = 3
"""Windows after which the job is killed."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--video", required=True, metavar="CLIP")
    parser.add_argument("--sound", required=True, metavar="SPEECH")
    parser.add_argument("--mouth", required=True, metavar="X,Y", help="in pixels of the first frame")
    parser.add_argument("--crop", type=int, default=512)
    parser.add_argument("--steps", type=int, default=1, help="of each window; three evaluations each")
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        print(json.dumps(_sync(*options.child, options)))
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        once, twice = repeated(options.video, folder / "once.mkv", 1), repeated(options.video, folder / "twice.mkv", 2)
        results = [folder / f"{kind}.mkv" for kind in ("short", "whole", "resumed")]
        short, whole = (_child(_command(*pair)) for pair in zip((once, twice), results, strict=False))
        _killed(_command(twice, results[2]))
        resumed = _child(_command(twice, results[2], "resume"))
        rows = [*_compared(twice, results[1], options), _same(*results[1:], resumed)]
    ratio = whole["megabytes"] / short["megabytes"]
    peaks = f"{whole['megabytes']:.0f} MB over {short['megabytes']:.0f} MB: {ratio:.3f}"
    rows.append(["peak of the whole over that of half of it", peaks, ratio <= LIMIT])
    print(common.table(["", "found", ""], [[*row[:2], "holds" if row[2] else "FAILS"] for row in rows]))
    sys.exit(not all(row[2] for row in rows))


def repeated(video: str | Path, path: Path, times: int) -> Path:
    """A video's pictures, packet by packet, several times in a row; without its sound."""
    import av

    shift = 0
    with av.open(str(path), "w") as output:
        for turn in range(times):
            with av.open(str(video)) as source:
                given = source.streams.video[0]
                stream = stream if turn else output.add_stream_from_template(given)  # noqa: F821 - of the first turn
                ends = shift
                for packet in source.demux(given):
                    if packet.dts is None:
                        continue
                    packet.pts, packet.dts, packet.stream = packet.pts + shift, packet.dts + shift, stream
                    ends = max(ends, packet.pts + packet.duration)
                    output.mux(packet)
                shift = ends
    return path


def _command(video: Path, output: Path, how: str = "new") -> list[str]:
    return [sys.executable, __file__, *sys.argv[1:], "--child", str(video), str(output), how]


def _child(command: list[str]) -> dict:
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def _killed(command: list[str]) -> None:
    """A job that is killed, without a word to it, when some of its windows are finished."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    state = Path(f"{command[-2]}.omnisync")
    while len(list(state.rglob("*window_*.npz"))) < FINISHED:
        if process.poll() is not None:
            raise SystemExit("the job ended before it could be killed: take a longer clip")
        time.sleep(0.05)
    with contextlib.suppress(ProcessLookupError):
        os.kill(process.pid, signal.SIGKILL)
    process.wait()


def _sync(video: str, output: str, how: str, options: argparse.Namespace) -> dict:
    """In the child: do the job; its peak of memory and what it reports."""
    import torch

    from omnisync_core.job.options import SyncOptions
    from omnisync_core.pipeline import sync_video

    torch.set_num_threads(1)
    mouth = tuple(float(part) for part in options.mouth.split(","))
    chosen, resumed = SyncOptions(mouth=mouth, lossless=True, resume=how == "resume"), []

    def tell(progress) -> None:
        if progress.plan:
            resumed.append(progress.plan.windows_done)

    report = sync_video(video, options.sound, output, _engine(options), chosen, tell)
    return {"megabytes": _peak(), "windows": report.windows, "before": resumed[0], "warnings": report.warnings}


def _engine(options: argparse.Namespace):
    from omnisync_core.engines.xdub.engine import PlacedDiT
    from tests.engines.xdub import small

    class Calm(PlacedDiT):
        """Says that the source is there, and a little of what the tiny network says."""

        def run(self, given, work):
            def calm(velocity):
                def small_share(latents, sigma, branches):
                    return (latents - given.source) / sigma + SHARE * velocity(latents, sigma, branches)

                return work(small_share)

            return super().run(given, calm)

    sizes = {"steps": options.steps, "crop_size": options.crop, "window_frames": 77}
    return small.engine(Calm(small.dit()), **sizes)


def _compared(video: Path, result: Path, options: argparse.Namespace) -> list[list]:
    """The result beside its source: what was asked, what was found, whether it holds."""
    import numpy as np

    from omnisync_core import media

    given, made = media.probe_video(video), media.probe_video(result)
    rows = []
    for name, one, other in (
        ("frames", given.frame_count, made.frame_count),
        ("size", f"{given.width} x {given.height}", f"{made.width} x {made.height}"),
        ("frames a second", f"{given.average_fps:.3f}", f"{made.average_fps:.3f}"),
    ):
        rows.append([name, f"{other}, of the source {one}", one == other])
    apart = float(np.abs(given.times_N - made.times_N).max()) if rows[0][2] else np.inf
    rows.append(["frames' times", f"{1000 * apart:.3f} ms apart at most", apart < 1e-3])
    outside, inside = _changed(video, result, given, options)
    rows.append(["changed outside of the mask", f"{outside} samples of all planes", outside == 0])
    return [*rows, ["frames changed inside of it", f"{inside}", inside > 0.9 * given.frame_count]]


def _changed(video: Path, result: Path, info, options: argparse.Namespace) -> tuple[int, int]:
    """Samples that differ outside of the mask, and frames that differ inside."""
    import numpy as np

    from omnisync_core import mouth
    from omnisync_core.crop import region
    from omnisync_core.mouth.looks import small_frames

    spec, size = _engine(options).spec, (info.width, info.height)
    point = tuple(float(part) for part in options.mouth.split(","))
    track = mouth.track(small_frames(info), point, frame_size=size)
    spots = [(shot.box(frame), shot.mouth_T3[frame - shot.start]) for shot in region.plan_crops(track, spec)
             for frame in range(shot.start, shot.stop)]  # fmt: skip
    outside = inside = 0
    for (box, place_3), one, other in zip(spots, _planes(video), _planes(result), strict=True):
        x0, y0, x1, y1 = covered = region.cover(box, size)
        mask_HW = np.zeros((info.height, info.width), bool)
        mask_HW[y0:y1, x0:x1] = region.source_mask(region.edit_mask(spec.crop_size, place_3)[0], box, covered) > 0
        halves = mask_HW.reshape(info.height // 2, 2, -1, 2).any((1, 3))
        changed = [plane != new for plane, new in zip(one, other, strict=True)]
        outside += sum(
            int((where & ~mask).sum()) for where, mask in zip(changed, (mask_HW, halves, halves), strict=True)
        )
        inside += any(where.any() for where in changed)
    return outside, inside


def _planes(path: Path):
    """Y, U and V of every frame of an 8-bit 4:2:0 video of even size."""
    import av

    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            assert frame.format.name in ("yuv420p", "yuvj420p"), frame.format.name
            samples, high = frame.to_ndarray(), frame.height
            luma, u, v = samples[:high], samples[high : high + high // 4], samples[high + high // 4 :]
            yield luma, *(plane.reshape(high // 2, frame.width // 2) for plane in (u, v))


def _same(whole: Path, resumed: Path, counts: dict) -> list:
    one, other = map(_digest, (whole, resumed))
    share = f"{counts['before']} of {counts['windows']} windows from before"
    same = one == other
    return [
        "killed and resumed",
        f"{'the same' if same else 'other'} samples, {share}",
        same and counts["before"] >= FINISHED,
    ]


def _digest(path: Path) -> str:
    digest = hashlib.sha256()
    for planes in _planes(path):
        for plane in planes:
            digest.update(plane)
    return digest.hexdigest()


def _peak() -> float:
    """Megabytes that this process has held at most."""
    status = Path("/proc/self/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if "VmHWM" in line) / 1024


if __name__ == "__main__":
    main()
