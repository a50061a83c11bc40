"""LatentSync, ours and the official code: python benchmarks/latentsync.py --official CHECKOUT

Random weights on the CPU, each measurement in a process of its own. Times are the processor's, so that other work on
the machine does not count. The official code (bytedance/LatentSync; it needs diffusers, kornia, einops) is asked for
its UNet and for its way of cutting faces out and pasting them back; what only runs with CUDA (its face detector) is
left out, and its three ffmpeg passes are done by PyAV with the same settings: all in its favour.
"""

from __future__ import annotations

import argparse
import importlib.machinery
import json
import math
import subprocess
import sys
import tempfile
import time
import types
from functools import partial
from pathlib import Path

import common

SMALL, LARGE = (32, 32, 32, 32), (160, 320, 640, 640)
SIZE, FPS, CHUNK = (1080, 1920), 25, 16
FACE = 540, 700, 380
"""Where the face is: brows' middle x, y and their distance, in pixels."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--official", default="", metavar="CHECKOUT", help="a checkout of bytedance/LatentSync")
    parser.add_argument("--seconds", type=float, default=10.0, help="length of the clip")
    parser.add_argument("--steps", type=int, default=20, help="denoising steps of each window of the clip")
    parser.add_argument("--forwards", type=int, default=3, help="of which the quickest counts")
    parser.add_argument("--small", action="store_true", help="leave the larger UNet out")
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        print(json.dumps(JOBS[options.child[0]](options.child[1], options)))
        return
    sides = ["ours", *(["official"] if options.official else [])]
    rows = []
    for widths in (SMALL,) if options.small else (SMALL, LARGE):
        for side in sides:
            found = _child("forward", f"{side} {','.join(map(str, widths))}")
            rows.append(["/".join(map(str, widths)), side, f"{found['seconds']:.2f} s", f"{found['megabytes']:.0f} MB"])
    print(common.table(["one UNet forward, 2 x 16 frames, 32 x 32", "", "processor", "memory above the weights"], rows))
    rows = []
    for side in ("ours", "ours, no overlap", *sides[1:]):
        found = _child("clip", side)
        rows.append([side, *(f"{found[name]:.2f}" for name in ("forwards", "encodes", "decodes", "outside"))])
        rows[-1].append(f"{found['megabytes']:.0f} MB")
    head = ["UNet forwards", "pictures encoded", "pictures decoded", "seconds outside the networks"]
    what = f"per frame of {options.seconds:g} s at 1080 x 1920, {options.steps} steps"
    print(common.table([what, *head, "memory"], rows))


def _child(job: str, what: str) -> dict:
    command = [sys.executable, __file__, *sys.argv[1:], "--child", job, what]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def _forward(what: str, options) -> dict:
    """Processor seconds of the quickest forward, and the memory it needed."""
    import torch

    torch.set_num_threads(1)
    side, widths = what.split()
    widths = tuple(map(int, widths.split(",")))
    network = _ours(widths) if side == "ours" else _official(options.official, widths)
    sample, audio = torch.randn(2, 13, CHUNK, 32, 32), torch.randn(2, CHUNK, 50, 384)
    before, seconds = _memory("VmRSS"), []
    _forget_peak()
    with torch.inference_mode():
        for _ in range(options.forwards):
            began = time.process_time()
            network(sample, torch.tensor([501]), audio)
            seconds.append(time.process_time() - began)
    return {"seconds": min(seconds), "megabytes": _memory("VmHWM") - before}


def _ours(widths: tuple[int, ...]):
    """The published layout (two layers a block) at other widths."""
    from omnisync_core.engines.latentsync.config import (
        AttentionConfig,
        BlockConfig,
        LayerConfig,
        MotionConfig,
        UNetConfig,
    )
    from omnisync_core.engines.latentsync.unet import UNet

    def layer(inputs, width, attends, moves=True):
        attention = AttentionConfig(1, width, 384, linear=False) if attends else None
        return LayerConfig(inputs, width, attention, MotionConfig(1, 2, width, 24) if moves else None)

    last, down, left, width = len(widths) - 1, [], [widths[0]], widths[0]
    for number, wide in enumerate(widths):
        down.append(BlockConfig((layer(width, wide, number < last), layer(wide, wide, number < last)), number < last))
        left += [wide, wide, *([wide] if number < last else [])]
        width = wide
    up = []
    for number, wide in enumerate(reversed(widths)):
        layers = []
        for _ in range(3):
            layers.append(layer(width + left.pop(), wide, number > 0))
            width = wide
        up.append(BlockConfig(tuple(layers), number < last))
    mid = (layer(widths[-1], widths[-1], False, False), layer(widths[-1], widths[-1], True, False))
    config = UNetConfig(13, 4, widths[0], 4 * widths[0], tuple(down), mid, tuple(up))
    return UNet(config).eval().requires_grad_(False)


def _official(checkout: str, widths: tuple[int, ...]):
    import yaml

    # It has no __init__.py: a file of its name beside this one would be taken for it.
    sys.path[:] = [checkout, *(path for path in sys.path if Path(path or ".").resolve() != Path(__file__).parent)]
    # Its helpers import packages for reading videos; the network needs one name of them.
    helpers = types.ModuleType("latentsync.utils.util")
    helpers.__spec__, helpers.zero_rank_log = importlib.machinery.ModuleSpec(helpers.__name__, None), print
    sys.modules[helpers.__name__] = helpers
    from latentsync.models.unet import UNet3DConditionModel

    config = yaml.safe_load((Path(checkout) / "configs/unet/stage2.yaml").read_text())["model"]
    config = {**config, "block_out_channels": list(widths), "norm_eps": float(config["norm_eps"])}
    network = UNet3DConditionModel(**config).eval().requires_grad_(False)
    return lambda sample, timestep, audio: network(sample, timestep, encoder_hidden_states=audio).sample


def _clip(side: str, options) -> dict:
    """Per frame of a clip: calls, processor seconds outside the networks; and the memory above the libraries'."""
    import cv2
    import torch

    from omnisync_core.engines.latentsync.engine import Settings

    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory() as folder:
        video, sound = Path(folder) / "in.mp4", Path(folder) / "in.wav"
        _encode(video, _pictures(options.seconds), crf=18)
        common.write_sound(sound, options.seconds)
        overlap = 0 if "no overlap" in side else Settings.overlap_frames
        run = _clip_official if side == "official" else partial(_clip_ours, overlap=overlap)
        network = _official(options.official, SMALL) if side == "official" else _ours(SMALL)
        meter, before = Meter(), _memory("VmRSS")
        _forget_peak()
        began = time.process_time()
        frames = run(network, meter, video, sound, options)
        outside = time.process_time() - began - meter.seconds
    counts = {name: value / frames for name, value in meter.counts.items()}
    return {**counts, "outside": outside / frames, "megabytes": _memory("VmHWM") - before}


class Meter:
    """Counts calls of networks and the processor's time in them. The codec is one of 8 x 8 mean colours."""

    def __init__(self):
        self.seconds, self.counts = 0.0, {"forwards": 0, "encodes": 0, "decodes": 0}

    def call(self, what: str | None, count: int, function, *given):
        began = time.process_time()
        out = function(*given)
        self.seconds += time.process_time() - began
        if what is not None:
            self.counts[what] += count
        return out

    def encode(self, faces_NRRC):
        import torch.nn.functional as F

        latents = self.call("encodes", len(faces_NRRC), lambda: F.avg_pool2d(faces_NRRC.permute(0, 3, 1, 2), 8))
        return latents[:, [0, 1, 2, 0]] * 2 - 1

    def decode(self, latents_NChw):
        import torch.nn.functional as F

        faces = self.call("decodes", len(latents_NChw), lambda: F.interpolate(latents_NChw[:, :3], scale_factor=8))
        return (faces / 2 + 0.5).permute(0, 2, 3, 1)


def _clip_ours(network, meter: Meter, video: Path, sound: Path, options, *, overlap: int) -> int:
    """The whole pipeline, from file to file; the mouth is given."""
    import numpy as np

    from omnisync_core.engines.latentsync.engine import LatentSyncEngine, PlacedUNet, Settings
    from omnisync_core.job.options import SyncOptions
    from omnisync_core.models.whisper import WhisperEncoder
    from omnisync_core.mouth import MouthTrack
    from omnisync_core.pipeline import sync_video

    placed = PlacedUNet(network)
    predict = placed.predict
    placed.predict = lambda *given: meter.call("forwards", 1, predict, *given)
    whisper = WhisperEncoder({"d_model": 384, "encoder_layers": 4, "encoder_attention_heads": 6,
                              "encoder_ffn_dim": 1536, "num_mel_bins": 80, "max_source_positions": 1500})  # fmt: skip
    encode = whisper.encoder.forward
    whisper.encoder.forward = lambda *given, **more: meter.call(None, 0, lambda: encode(*given, **more))
    engine = LatentSyncEngine(placed, meter, whisper, Settings(steps=options.steps, overlap_frames=overlap), "random")
    count = round(options.seconds * FPS)
    x, y, across = FACE
    center = np.tile([[x / SIZE[0], (y + across * 40 / 41) / SIZE[1]]], (count, 1))
    track = MouthTrack(
        np.arange(count) / FPS, center, np.full(count, across * 26.7 / 41 / SIZE[0]), np.ones(count),
        np.full(count, "landmarks"), np.zeros(count, int), SIZE,
    )  # fmt: skip
    return sync_video(video, sound, video.with_name("out.mp4"), engine, SyncOptions(mouth=track)).frames


def _clip_official(network, meter: Meter, video: Path, sound: Path, options) -> int:
    """Its steps in its order, each by its own code where it runs on the CPU; landmarks are given."""
    import av
    import cv2
    import numpy as np
    import torch
    import torch.nn.functional as F
    from latentsync.utils.affine_transform import AlignRestore

    def pictures(path):
        with av.open(str(path)) as container:
            yield from (frame.to_ndarray(format="rgb24") for frame in container.decode(video=0))

    first = video.with_name("25fps.mp4")
    _encode(first, pictures(video), crf=18)
    frames = np.array(list(pictures(first)))
    restorer = AlignRestore(resolution=256, device="cpu", dtype=torch.float32)
    x, y, across = FACE
    points = np.array([[x - across / 2, y], [x + across / 2, y], [x, y + across * 20 / 41]])
    aligned = [restorer.align_warp_face(frame.copy(), points) for frame in frames]
    resized = [cv2.resize(face, (256, 256), interpolation=cv2.INTER_LANCZOS4) for face, _ in aligned]
    faces = torch.stack([torch.from_numpy(face) / 255 for face in resized])
    drawn = []
    for chunk in faces.split(CHUNK):
        latents = [meter.encode(part).transpose(0, 1)[None] for part in (chunk, chunk)]
        given = torch.cat([latents[0], latents[0][:, :1], *latents], 1).repeat(2, 1, 1, 1, 1)
        audio = torch.zeros(2, len(chunk), 50, 384)
        for _ in range(options.steps):
            out = meter.call("forwards", 1, network, given, torch.tensor([501]), audio)
            given = torch.cat([given[:, :4] - 0.01 * out[:1], given[:, 4:]], 1)
        drawn.append(meter.decode(given[0, :4].transpose(0, 1)))
    restored = []
    for frame, face, (_, matrix) in zip(frames, torch.cat(drawn), aligned, strict=True):
        wide = F.interpolate(face.permute(2, 0, 1)[None], (280, 210), mode="bicubic", antialias=True)[0]
        restored.append(restorer.restore_img(frame, wide * 2 - 1, matrix))
    result, last = np.stack(restored), video.with_name("13.mp4")
    _encode(last, result, crf=13)
    _encode(video.with_name("out.mp4"), pictures(last), crf=18)
    return len(result)


def _pictures(seconds: float):
    """A drifting gradient, portrait."""
    import numpy as np

    y, x = np.mgrid[: SIZE[1], : SIZE[0]]
    for index in range(round(seconds * FPS)):
        shade = 127 + 90 * np.sin((x + 2 * index) / 90) * np.cos(y / 70)
        yield np.repeat(shade[..., None], 3, 2).astype(np.uint8)


def _encode(path: Path, pictures, crf: int) -> None:
    import av

    with av.open(str(path), "w") as output:
        stream = output.add_stream("libx264", rate=FPS, options={"crf": str(crf), "threads": "1"})
        stream.width, stream.height, stream.pix_fmt = *SIZE, "yuv420p"
        for picture in pictures:
            output.mux(stream.encode(av.VideoFrame.from_ndarray(picture, "rgb24")))
        output.mux(stream.encode(None))


def _memory(name: str) -> float:
    """A figure of /proc/self/status in megabytes; not a number elsewhere than on Linux."""
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.exists() else []
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith(name)), math.nan)


def _forget_peak() -> None:
    forget = Path("/proc/self/clear_refs")
    if forget.exists():
        forget.write_text("5")


JOBS = {"forward": _forward, "clip": _clip}

if __name__ == "__main__":
    main()
