"""The whole graph of parts, from Mouth Track to Mouth Paste, against the command line."""

from fractions import Fraction

import av
import numpy as np
import torch

POINT, SIZE, FRAMES = (64.0, 60.0), (128, 96), 9


def pictures():
    """Smooth drifting blobs with a dark mouth, whole 8-bit levels."""
    y, x = torch.meshgrid(torch.arange(float(SIZE[1])), torch.arange(float(SIZE[0])), indexing="ij")
    hue, frames = torch.tensor([3.0, 5.0, 7.0]), []
    for index in range(FRAMES):
        picture = 0.6 + 0.2 * torch.sin((x[..., None] + 0.5 * index) * hue / 60) * torch.cos(y[..., None] * hue / 50)
        inside = ((x - POINT[0]) / 16) ** 2 + ((y - POINT[1]) / 6) ** 2 < 1
        frames.append(torch.where(inside[..., None], torch.tensor([0.5, 0.1, 0.12]), picture))
    return (torch.stack(frames) * 255).round() / 255


def test_a_clip_of_one_window_is_that_of_the_command_line(host, parts, tmp_path):
    """Same seed and steps, float32 on the CPU, RGB without loss: at most 3 of 255 levels apart, half of them under 0.5.

    The command line keeps a window's edit and its reference with 8 bits and rounds the result, the graph does neither;
    where an edit goes over from being added to taking the pixels' place, a level of difference can become two.
    """
    media, video, heard = host.module("omnisync_core.media"), tmp_path / "clip.mp4", tmp_path / "sound.wav"
    media.write_pictures(video, pictures().numpy(), Fraction(25), "bgr0")
    media.write_samples(heard, parts.sound["waveform"][0].numpy(), parts.sound["sample_rate"])
    status = host.module("omnisync_core.cli").main([
        "lipsync", "--video", str(video), "--audio", str(heard), "--output", str(tmp_path / "cli.mkv"), "--lossless",
        "--mouth", "{:g},{:g}".format(*POINT), "--seed", "5", "--steps", "2",
        "--w-peak", "2", "--w-base", "1", "--device", "cpu", "--dtype", "float32",
    ])  # fmt: skip
    assert status == 0
    node = parts.node
    outputs = host.run(
        parts(
            track=node(
                "OmniSyncMouthTrack", source=["images", 0], speaker="point", index=0, point_x=POINT[0] / SIZE[0],
                point_y=POINT[1] / SIZE[1],
            ),
            images=host.give(pictures()),
            crop=node("OmniSyncMouthCrop", images=["images", 0], mouth_track=["track", 0], size=128),
            encoded={"pixels": ["crop", 0]},
            prompt={"text": "A person speaks."},
            sampled={"mouth_track": ["crop", 2]},
            decoded={"source": ["crop", 0]},
            paste=node(
                "OmniSyncMouthPaste", images=["images", 0], edited=["decoded", 1], region=["crop", 1],
                reference=["crop", 0],
            ),
        )
    )  # fmt: skip
    pasted, mask = outputs["paste"]
    with av.open(str(tmp_path / "cli.mkv")) as container:
        theirs = np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]).astype(float)
    source = pictures()
    apart = np.abs(pasted.numpy() * 255 - theirs)
    assert np.abs(theirs - source.numpy() * 255).max() > 8, "nothing was edited"
    assert apart.max() <= 3
    assert np.median(apart[mask.numpy() > 0.5]) < 0.5
    assert torch.equal(pasted[mask == 0], source[mask == 0])
