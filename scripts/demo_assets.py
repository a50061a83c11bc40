"""Makes the demonstration's clip: `python -m scripts.demo_assets`. Its character, voice and sentence are
of the test split, its seed far from those of `evaluate`.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import av
import numpy as np

from omnisync_core.synth.clips import Clip, about, make_clip, write_wave

FOLDER = Path(__file__).parents[1] / "omnisync_core" / "assets" / "demo"
SEED = 900_000_447


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=FOLDER)
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--seconds", type=float, default=4.0)
    chosen = parser.parse_args(arguments)
    write_assets(chosen.out, make_clip(chosen.seed, size=chosen.size, seconds=chosen.seconds))


def write_assets(folder: Path, clip: Clip) -> None:
    """source.mp4 (with its own sound), truth.mp4, target.wav and mouth.json."""
    folder.mkdir(parents=True, exist_ok=True)
    write_video(folder / "source.mp4", clip.source_frames, clip.fps, clip.source_wave)
    write_video(folder / "truth.mp4", clip.truth_frames, clip.fps, None)
    write_wave(folder / "target.wav", clip.target_wave)
    known = about(clip) | {"point": clip.center_T2[0].round(1).tolist()}
    (folder / "mouth.json").write_text(json.dumps(known, ensure_ascii=False), encoding="utf-8")


def write_video(path: Path, frames_THWC: np.ndarray, fps: float, wave_S: np.ndarray | None) -> None:
    """As a camera would: H.264, 4:2:0, BT.709, but hardly lossy."""
    with av.open(str(path), "w", container_options={"movflags": "+faststart"}) as output:
        stream = output.add_stream("libx264", rate=round(fps), options={"crf": "10", "preset": "veryslow"})
        stream.height, stream.width, stream.pix_fmt = *frames_THWC.shape[1:3], "yuv420p"
        context = stream.codec_context
        context.colorspace = context.color_primaries = context.color_trc = 1
        context.color_range = 1
        sound = output.add_stream("aac", rate=16000, layout="mono") if wave_S is not None else None
        for rgb in frames_THWC:
            frame = av.VideoFrame.from_ndarray(rgb, "rgb24")
            output.mux(stream.encode(frame.reformat(format="yuv420p", dst_colorspace="ITU709")))
        output.mux(stream.encode(None))
        if sound is not None:
            frame = av.AudioFrame.from_ndarray(wave_S[None], "fltp", "mono")
            frame.sample_rate = 16000
            output.mux(sound.encode(frame))
            output.mux(sound.encode(None))


if __name__ == "__main__":
    main()
