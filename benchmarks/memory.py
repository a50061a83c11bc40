"""Peak memory of long jobs over that of short ones, each in a process of its own: python benchmarks/memory.py"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import common

LIMIT = 1.05


def main() -> None:
    parser = common.parser(__doc__)
    parser.add_argument("--video-seconds", type=float, nargs=2, default=(10, 600), metavar=("SHORT", "LONG"))
    parser.add_argument("--sound-seconds", type=float, nargs=2, default=(60, 3600), metavar=("SHORT", "LONG"))
    parser.add_argument("--steps", type=int, default=2)
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        _work(*options.child, options)
        return
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for what, job, pairs in _jobs(options):
            peaks = [_peak(Path(folder), job, *pair) for pair in pairs]
            ratio = peaks[1] / peaks[0]
            rows.append([what, *(f"{peak:.0f} MB" for peak in peaks), f"{ratio:.3f}", LIMIT, _verdict(ratio)])
            print(f"{what}: {ratio:.3f}", file=sys.stderr, flush=True)
    print(common.table(["peak of", "short", "long", "ratio", "at most", ""], rows))


def _jobs(options):
    """What is measured: its name, the child's job, (seconds of video, seconds of sound) short and long."""
    (short_v, long_v), (short_s, long_s) = options.video_seconds, options.sound_seconds
    yield (
        f"a video of {long_v:g} s over one of {short_v:g} s, 64 x 64, {options.steps} steps",
        "sync", ((short_v, short_v), (long_v, long_v)),
    )  # fmt: skip
    yield (
        f"a sound of {long_s:g} s over one of {short_s:g} s under {short_v:g} s of video",
        "sync", ((short_v, short_s), (short_v, long_s)),
    )  # fmt: skip
    yield f"features and activity of {long_s:g} s of sound over {short_s:g} s", "hear", ((0, short_s), (0, long_s))


def _verdict(ratio: float) -> str:
    return "holds" if ratio <= LIMIT else "FAILS"


def _peak(folder: Path, job: str, video: float, sound: float) -> float:
    """Megabytes; the files are made here, so that the child holds what the job needs and nothing else."""
    if video:
        common.write_video(folder / "in.mp4", video)
    common.write_sound(folder / "in.wav", sound)
    command = [sys.executable, __file__, *sys.argv[1:], "--child", job, str(folder), str(sound)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def _work(job: str, folder: str, seconds: str, options) -> None:
    """In the child: do the job, print the peak."""
    engine = common.load(options.model, steps=options.steps)
    if job == "sync":
        from omnisync_core.job.options import SyncOptions
        from omnisync_core.pipeline import sync_video

        video, sound, output = (Path(folder) / name for name in ("in.mp4", "in.wav", "out.mp4"))
        sync_video(video, sound, output, engine, SyncOptions(mouth="centre"))
    else:
        import numpy as np

        from omnisync_core.audio import SpeechWave, speech_activity

        wave = SpeechWave(Path(folder) / "in.wav")
        speech_activity(wave, np.arange(0, float(seconds), 0.04))
        features = engine.speech(wave)
        for start in np.arange(0, float(seconds), 17 / 25):
            features.at(start + np.arange(17) / 25)
    print(json.dumps(_peak_here()))


def _peak_here() -> float:
    """Megabytes that this process has held at most."""
    status = Path("/proc/self/status")
    if status.exists():
        return next(int(line.split()[1]) for line in status.read_text().splitlines() if "VmHWM" in line) / 1024
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


if __name__ == "__main__":
    main()
