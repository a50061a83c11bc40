"""Whether the picture moves more where two windows meet: python benchmarks/seams.py

Drawn clips go through the whole pipeline. In the mouth's box, the mean change from frame to frame of the result over
that of the truth, at the frames that two windows share and the first after them, over the same elsewhere.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import common

LIMIT = 1.05
PLACES = ("all", "entering the overlap", "inside it", "leaving it")


def main() -> None:
    parser = common.parser(__doc__)
    parser.add_argument("--seams", type=int, default=500, help="at least so many")
    parser.add_argument("--seconds", type=float, default=12.0, help="of each clip")
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--size", type=int, default=256)
    options = parser.parse_args()

    import numpy as np

    from omnisync_core.synth.clips import SEEDS_PER_RUN, make_clip

    engine = common.load(options.model, steps=options.steps)
    sums, seams = [], 0
    with tempfile.TemporaryDirectory() as folder:
        while seams < options.seams:
            clip = make_clip(options.seed * SEEDS_PER_RUN + len(sums), size=options.size, seconds=options.seconds)
            result = _synced(engine, clip, Path(folder) / f"clip_{len(sums):04d}")
            places = _places(len(result), engine.spec)
            sums.append(_sums(_motion(result, clip.box_T4), _motion(clip.truth_frames, clip.box_T4), places))
            seams += int((places == 1).sum())
            print(f"{seams} seams in {len(sums)} clips", flush=True)
    _report(np.array(sums), seams)


def _synced(engine, clip, folder: Path):
    from omnisync_core.job.options import SyncOptions
    from omnisync_core.pipeline import sync_video
    from omnisync_core.synth.clips import read_video, write_clip
    from omnisync_core.windows import chunks

    write_clip(folder, clip)
    output, options = folder / "result.mkv", SyncOptions(mouth=clip.point, lossless=True)
    report = sync_video(folder / "source.mkv", folder / "target.wav", output, engine, options)
    windows = chunks.plan_windows([(0, report.frames)], engine.spec.window_frames, engine.spec.overlap_frames)
    if (report.shots, report.windows) != (1, len(windows)):
        raise SystemExit(f"{folder.name}: {report.shots} shots, {report.windows} windows: seams lie elsewhere")
    result = read_video(output)
    for path in folder.iterdir():
        path.unlink()
    return result


def _places(frames: int, spec):
    """Of every step from a frame to the next: 0 elsewhere, else its index in `PLACES`."""
    import numpy as np

    from omnisync_core.windows import chunks

    places = np.zeros(frames - 1, int)
    for window in chunks.plan_windows([(0, frames)], spec.window_frames, spec.overlap_frames)[1:]:
        first, last = window.start, window.start + window.lead
        places[first:last] = 2
        places[first - 1], places[last - 1] = 1, 3
    return places


def _motion(frames_THWC, box_T4):
    """Mean absolute change from each frame to the next inside the mouth's box of both."""
    import numpy as np

    low, high = np.minimum(box_T4[:-1, :2], box_T4[1:, :2]), np.maximum(box_T4[:-1, 2:], box_T4[1:, 2:])
    pairs = zip(frames_THWC, frames_THWC[1:], low, high, strict=False)
    return np.array(
        [np.abs(b[y0:y1, x0:x1].astype(int) - a[y0:y1, x0:x1]).mean() for a, b, (x0, y0), (x1, y1) in pairs]
    )


def _sums(result, truth, places):
    """(4 places, elsewhere) x (result, truth)."""
    import numpy as np

    masks = [places > 0, *(places == place for place in (1, 2, 3)), places == 0]
    return np.array([[curve[mask].sum() for curve in (result, truth)] for mask in masks])


def _report(sums_CP2, seams: int) -> None:
    import numpy as np

    rng, rows = np.random.default_rng(0), []
    draws = [np.arange(len(sums_CP2)), *rng.integers(len(sums_CP2), size=(2000, len(sums_CP2)))]
    pooled = np.array([sums_CP2[draw].sum(0) for draw in draws])
    share = pooled[..., 0] / pooled[..., 1]
    for index, place in enumerate(PLACES):
        ratio = share[:, index] / share[:, -1]
        low, high = np.quantile(ratio[1:], (0.025, 0.975))
        verdict = ("holds" if ratio[0] <= LIMIT else "FAILS") if index == 0 else ""
        figures = [f"{share[0, index]:.3f}", f"{share[0, -1]:.3f}", f"{ratio[0]:.3f}", f"{low:.3f} to {high:.3f}"]
        rows.append([place, *figures, LIMIT if index == 0 else "", verdict])
    print(f"\n{seams} seams in {len(sums_CP2)} clips; motion of the result over the truth's\n")
    print(common.table(["steps", "at seams", "elsewhere", "ratio", "95 % of clips", "at most", ""], rows))


if __name__ == "__main__":
    main()
