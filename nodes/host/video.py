"""VIDEO and AUDIO of the host as files for the core, and its result as a VIDEO; where files may lie.

A working folder in the host's temp folder holds what only exists in memory; it is gone when the job is.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path

import folder_paths
import numpy as np
import torch
from comfy_api.latest import Input, InputImpl
from torch import Tensor

from ...omnisync_core import media
from ...omnisync_core.errors import InputError
from ...omnisync_core.files import replacing
from ...omnisync_core.job.report import size
from ...omnisync_core.marks.credentials import Signer, check_container
from ...omnisync_core.marks.options import Marks
from ...omnisync_core.timing.playback import play
from .counting import counted

UNFINISHED = "omnisync_unfinished"
BYTES = {"yuv420p": 1.5, "yuv420p10le": 3.0, "bgr0": 3.0, "gbrp16le": 6.0}
"""At most, per pixel of a lossless file."""


@contextmanager
def working_folder() -> Iterator[Path]:
    """An empty folder for files of one job."""
    temp = Path(folder_paths.get_temp_directory())
    temp.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="omnisync_", dir=temp))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def unfinished_folder() -> Path:
    """Where jobs keep finished windows: in output/, for the host empties its temp folder at every start."""
    return Path(folder_paths.get_output_directory()) / UNFINISHED


def result_path(suffix: str) -> Path:
    """A new name in the host's temp folder, by its own numbering: what is to stay, Save Video keeps."""
    folder, name, counter, *_ = folder_paths.get_save_image_path("omnisync", folder_paths.get_temp_directory())
    return Path(folder) / f"{name}_{counter:05}_{suffix}"


def saved_path(prefix: str, suffix: str, width: int, height: int) -> tuple[Path, str]:
    """A new name in the host's output folder, by its own numbering, and its folder below that one."""
    root = folder_paths.get_output_directory()
    folder, name, counter, subfolder, _ = folder_paths.get_save_image_path(prefix, root, width, height)
    return Path(folder) / f"{name}_{counter:05}_{suffix}", subfolder


def as_video(path: Path, *, is_signed: bool = False):
    """VIDEO of a file; of a signed one everything that is saved of it is signed again."""
    return SignedVideo(str(path)) if is_signed else InputImpl.VideoFromFile(str(path))


class SignedVideo(InputImpl.VideoFromFile):
    """A file with Content Credentials. The host writes it anew, without them: what it saved is signed, made from this.

    A part of it (a trim) is a VIDEO like any other.
    """

    def save_to(self, path, *args, **kwargs):
        """As the host's. InputError: a container without Content Credentials; then nothing is saved."""
        if not isinstance(path, (str, Path)):  # memory, to be sent somewhere
            return super().save_to(path, *args, **kwargs)
        path = Path(path)
        check_container(path)
        signer = Signer(*Marks().credentials)
        with replacing(path, by_suffix=True) as part:
            super().save_to(str(part), *args, **kwargs)
            signer.sign(part, path, Path(self.get_stream_source()), {})


def open_video(video, folder: Path, lossless: bool) -> media.Part:
    """The file of a VIDEO and which part of it is shown; one of tensors is written to `folder` without loss.

    That file has the pixel format of the result: 4:2:0 in the video's bits, which every player shows, or with
    `lossless` the tensors' own RGB; transparency is dropped. InputError: no video, no frames, NaN.
    """
    if not isinstance(video, Input.Video):
        raise InputError(f"video must be a VIDEO, got {type(video).__name__}; connect Load Video or Create Video")
    if type(video).get_stream_source is Input.Video.get_stream_source:  # it would encode its tensors with loss
        parts = video.get_components()
        deep = video.get_bit_depth() > 8
        pix_fmt = rgb_format(parts.images) if lossless else "yuv420p10le" if deep else "yuv420p"
        sound = own_sound(parts.audio)
        return media.Part(write_images(folder / "source.mp4", parts.images, parts.frame_rate, pix_fmt, sound))
    source = video.get_stream_source()
    if not isinstance(source, str):
        (folder / "source.bin").write_bytes(source.getbuffer())
        source = folder / "source.bin"
    start, duration = video.get_active_trim_window()
    return media.Part(Path(source), start, start + duration if duration else None)


def rgb_format(images_NHWC: Tensor) -> str:
    """The RGB pixel format that holds a batch: 8 bits where all its values are whole, else 16."""
    for image_HWC in images_NHWC:
        codes = image_HWC[..., :3].float().clamp(0, 1) * 255
        if (codes - codes.round()).abs().max() > 1e-3:
            return "gbrp16le"
    return "bgr0"


def own_sound(audio) -> tuple[np.ndarray, int] | None:
    """The sound that came with the pictures, for engines that hear it; many videos have none."""
    wave = None if audio is None else audio["waveform"]
    if wave is None or not wave.numel():
        return None
    return wave[0, :8].float().cpu().numpy(), int(audio["sample_rate"])


def write_images(
    path: Path, images_NHWC: Tensor, rate: Fraction, pix_fmt: str, sound: tuple[np.ndarray, int] | None = None
) -> Path:
    """A lossless file of a batch; what it holds beside RGB is dropped. InputError: NaN, no frames, no space."""
    if images_NHWC.ndim != 4 or not images_NHWC.numel() or images_NHWC.shape[-1] not in (1, 3, 4):
        raise InputError(f"the video's frames must be (N, H, W, 3) and not none, got {tuple(images_NHWC.shape)}")
    needed = images_NHWC.shape[:3].numel() * BYTES[pix_fmt]
    free = shutil.disk_usage(path.parent).free
    if free < needed:
        raise InputError(f"{path.parent} has {size(free)} free, the frames need up to {size(needed)}: free some")
    pictures = (_picture(image_HWC) for image_HWC in counted(images_NHWC, None))
    media.write_pictures(path, pictures, Fraction(rate).limit_denominator(100_000), pix_fmt, sound)
    return path


def changed_images(
    images_NHWC: Tensor, source: media.VideoInfo, result: Path, shown_V: np.ndarray
) -> tuple[Tensor, Tensor]:
    """The pictures `shown_V` of a batch with the change from one file to the other, and where it is (1 or 0 per pixel).

    Only changed values are touched: everything else, also an alpha channel, stays to the bit.
    """
    changed = images_NHWC[torch.from_numpy(np.asarray(shown_V))]
    mask_NHW = torch.zeros(changed.shape[:3])
    pairs = zip(play(source, shown_V), media.read_frames(result), strict=True)
    for index, (before, after) in enumerate(counted(pairs, None)):
        delta_HWC = torch.from_numpy(after.rgb() - before.rgb())
        mask_NHW[index] = (delta_HWC != 0).any(-1)
        place = changed[index, ..., :3]
        edited = (place.float().cpu() + delta_HWC).clamp(0, 1).to(place)
        changed[index, ..., :3] = torch.where((delta_HWC != 0).to(place.device), edited, place)
    return changed, mask_NHW


def _picture(image_HWC: Tensor) -> np.ndarray:
    image_HWC = image_HWC.float().cpu()
    return (image_HWC.expand(*image_HWC.shape[:2], 3) if image_HWC.shape[-1] == 1 else image_HWC[..., :3]).numpy()
