"""Every metric by a library through its own path, with small stand-in weights; and the geometry of our own ones."""

from dataclasses import replace
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from omnisync_core.bench import identity, landmarks, measure, pictures, registry, sets
from omnisync_core.bench.clip import Clip, Moment, face_crop, faces_of
from omnisync_core.bench.measure import MeanOverMoments, Missing, OfWholeClip, library
from omnisync_core.bench.run import take
from omnisync_core.bench.sync import longest_stretch, score_video, sync_figures
from omnisync_core.errors import CheckpointError, InputError
from omnisync_core.manifest import read_manifest
from omnisync_core.media import VideoInfo
from omnisync_core.mouth import MouthTrack
from tests.bench.weights import mean_colours

SIDE = 96


def moment(result, truth=None, source=None):
    return Moment(0, 0, result, result if source is None else source, truth, None)


def picture(seed=0, side=SIDE):
    """Soft random colours."""
    rng = np.random.default_rng(seed)
    small = torch.from_numpy(rng.uniform(0, 255, (1, 3, 8, 8)))
    large = nn.functional.interpolate(small, (side, side), mode="bicubic").clamp(0, 255)
    return large[0].permute(1, 2, 0).numpy().astype(np.uint8)


def figure(name, folder, result, truth=None):
    return registry.METRICS[name].build(folder, "cpu").figure(moment(result, truth))


@pytest.fixture
def torchmetrics():
    return pytest.importorskip("torchmetrics", reason="torchmetrics: pip install -r requirements-bench.txt")


def test_psnr_of_a_known_error(torchmetrics):
    grey = np.full((SIDE, SIDE, 3), 100, np.uint8)
    assert abs(figure("psnr", None, grey + 10, grey) - 20 * np.log10(255 / 10)) < 1e-3
    assert figure("psnr", None, grey, grey) == 100


def test_ssim_of_flat_pictures_is_its_closed_form(torchmetrics):
    """Only the term of light is left: (2 a b + C) / (a^2 + b^2 + C)."""
    a, b, constant = 100 / 255, 140 / 255, 0.01**2
    pair = (np.full((SIDE, SIDE, 3), value, np.uint8) for value in (100, 140))
    assert abs(figure("ssim", None, *pair) - (2 * a * b + constant) / (a * a + b * b + constant)) < 1e-4
    assert abs(figure("ssim", None, picture(), picture()) - 1) < 1e-6


def test_gmsd_is_0_for_equal_pictures_and_grows_with_blur():
    pytest.importorskip("piq", reason="piq: pip install -r requirements-bench.txt")
    sharp = picture(1)
    blurred = sharp.copy()
    blurred[1:-1, 1:-1] = (sharp[:-2, 1:-1].astype(int) + sharp[2:, 1:-1]) // 2
    edge = sharp.copy()
    edge[40:60, 40:60] = 255
    assert figure("gmsd", None, sharp, sharp) < 1e-6
    assert 0 < figure("gmsd", None, blurred, sharp) < figure("gmsd", None, edge, sharp)


@pytest.mark.parametrize("name", ["ssim", "psnr"])
def test_without_a_truth_there_is_a_dash(torchmetrics, name):
    taking = registry.METRICS[name].build(None, "cpu").begin(None)
    taking.see(moment(picture()))
    assert taking.finish().note == pictures.NO_TRUTH
    assert not taking.finish().values


def test_a_picture_that_is_too_small_is_told(torchmetrics):
    with pytest.raises(InputError, match="the frames are 12 x 12"):
        figure("ssim", None, picture(side=12), picture(1, 12))


def test_lpips_takes_the_user_s_backbone(torchmetrics, tmp_path):
    """torchvision's AlexNet with random weights: our path gives what torchmetrics gives when handed that backbone."""
    torchvision = pytest.importorskip("torchvision", reason="torchvision has LPIPS's backbone")
    from torchmetrics.functional.image.lpips import _LPIPS

    torch.manual_seed(0)
    alexnet = torchvision.models.alexnet(weights=None)
    torch.save(alexnet.state_dict(), tmp_path / pictures.ALEXNET.name)
    reference = _LPIPS(net="alex", pnet_rand=True).eval()
    for number in range(1, 6):
        part = getattr(reference.net, f"slice{number}")
        for key, layer in part.named_children():
            layer.load_state_dict(alexnet.features[int(key)].state_dict())
    a, b = picture(2), picture(3)
    with torch.inference_mode():
        expected = float(reference(pictures.as_batch(a), pictures.as_batch(b), normalize=True))
    assert expected > 0.01
    assert abs(figure("lpips", tmp_path, a, b) - expected) < 1e-6
    torch.save({"features.0.weight": torch.zeros(3)}, tmp_path / pictures.ALEXNET.name)
    with pytest.raises(CheckpointError, match="tensors are missing"):
        registry.METRICS["lpips"].build(tmp_path, "cpu")


@pytest.fixture
def pyiqa():
    pytest.importorskip("timm", reason="pyiqa needs timm: pip install -r requirements-bench.txt")
    return pytest.importorskip("pyiqa", reason="pyiqa: pip install -r requirements-bench.txt")


def test_niqe_reads_the_user_s_file(pyiqa, tmp_path):
    """A pristine model whose mean is the picture's own features is nearer than another."""
    from scipy.io import savemat

    values = []
    for shift in (0.0, 5.0):
        model = {"mu_prisparam": np.full((1, 36), 0.5 + shift), "cov_prisparam": np.eye(36)}
        savemat(tmp_path / "niqe_modelparameters.mat", model)
        values.append(figure("niqe", tmp_path, picture(4, 192)))
    assert np.isfinite(values).all()
    assert values[0] < values[1]


def test_brisque_reads_the_user_s_file(pyiqa, tmp_path):
    """Without support vectors the score is the bias alone: minus rho."""
    torch.save((torch.zeros(4, 1), torch.zeros(4, 36)), tmp_path / "brisque_svm_weights.pth")
    assert abs(figure("brisque", tmp_path, picture(5, 128)) - 153.591) < 1e-3


def test_hyperiqa_reads_the_user_s_file_and_asks_no_network(pyiqa, tmp_path, monkeypatch):
    import socket

    from pyiqa.archs import hypernet_arch
    from pyiqa.default_model_configs import DEFAULT_CONFIGS

    def refuse(*_, **__):
        raise AssertionError("a network was asked")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setitem(DEFAULT_CONFIGS["hyperiqa"]["metric_opts"], "num_crop", 1)
    torch.manual_seed(0)
    with pictures._no_backbone_download():
        net = hypernet_arch.HyperNet(pretrained=False, num_crop=1)
    torch.save({"params": net.state_dict()}, tmp_path / "HyperIQA-resnet50-koniq10k-c96c41b1.pth")
    value = registry.METRICS["hyperiqa"].build(tmp_path, "cpu").figure(moment(picture(6, 256)))
    with torch.inference_mode():
        expected = float(net.eval()(pictures.as_batch(picture(6, 256))))
    assert abs(value - expected) < 1e-5


def test_pyiqa_s_files_of_another_network_are_refused(pyiqa, tmp_path):
    from scipy.io import savemat

    savemat(tmp_path / "niqe_modelparameters.mat", {"mu": np.zeros(3)})
    torch.save({"params": nn.Linear(2, 2).state_dict()}, tmp_path / "HyperIQA-resnet50-koniq10k-c96c41b1.pth")
    torch.save({"weight": torch.zeros(3)}, tmp_path / "brisque_svm_weights.pth")
    measures, lacking = measure.opened(registry.chosen(["niqe", "brisque", "hyperiqa"]), tmp_path, "cpu")
    assert not measures
    for name, line in lacking.items():
        assert f"is not what pyiqa's {name} reads" in line
        assert "\n" not in line


def test_a_file_that_holds_code_is_not_read(pyiqa, tmp_path):
    torch.save({"x": nn.Linear(1, 1)}, tmp_path / "brisque_svm_weights.pth")
    with pytest.raises(CheckpointError, match="damaged or holds more than tensors"):
        registry.METRICS["brisque"].build(tmp_path, "cpu")


def test_what_a_library_says_of_a_file_is_a_sentence():
    """torch goes on with advice to programmers."""
    error = RuntimeError("Weights only load failed. In PyTorch 2.6, we changed the default\nand more")
    assert measure.first_sentence(error) == "Weights only load failed"


def test_a_library_that_is_not_there_is_named():
    with pytest.raises(Missing, match=r"needs no_such_library: pip install -r requirements-bench\.txt"):
        library("no_such_library.part")


class Levels(nn.Module):
    """In Inception's and I3D's place: mean colours, whatever the shape; videos as StyleGAN-V gives them to I3D."""

    def forward(self, x, rescale: bool = False, resize: bool = False, return_features: bool = False):
        assert return_features
        assert x.dim() == 4 or (rescale and resize)
        return x.float().flatten(2).mean(-1)


def test_inception_s_and_i3d_s_files_are_torchscript(clips, tmp_path):
    for name in (sets.INCEPTION.name, sets.I3D.name):
        torch.jit.script(Levels()).save(str(tmp_path / name))
    pytest.importorskip("torchmetrics", reason="torchmetrics computes FID")
    measures, lacking = measure.opened(registry.chosen(["fid", "fvd"]), tmp_path, "cpu")
    assert not lacking
    clip = Clip(read_manifest(clips / "list.csv")[0], clips / "v1.mkv", frames=16)
    clip.__dict__["track"] = still_track(20, (64, 48))
    moments = list(clip.moments())
    taken = take(clip, measures)
    fid, fvd = taken["fid"].features, taken["fvd"].features
    expected = np.array([one.result.mean((0, 1)) for one in moments])
    assert np.allclose(fid["fid_result"], expected, atol=1e-3)
    assert fid["fid_real"].shape == (16, 3)
    crops = [face_crop(one.source, one.face_xys, 224) for one in moments]
    assert np.allclose(fvd["fvd_real"], np.mean(crops, (0, 1, 2))[None], atol=1e-2)
    (tmp_path / sets.I3D.name).write_bytes(b"nothing")
    assert "no TorchScript" in measure.opened(registry.chosen(["fvd"]), tmp_path, "cpu")[1]["fvd"]


def test_the_torchscript_of_another_network_is_a_dash_with_its_reason(tmp_path):
    for name in (sets.INCEPTION.name, sets.I3D.name):
        torch.jit.script(nn.Conv2d(3, 4, 3)).save(str(tmp_path / name))
    pytest.importorskip("torchmetrics", reason="torchmetrics computes FID")
    measures, lacking = measure.opened(registry.chosen(["fid", "fvd"]), tmp_path, "cpu")
    assert not measures
    for name, file in (("fid", sets.INCEPTION), ("fvd", sets.I3D)):
        assert lacking[name] == f"{tmp_path / file.name} is the TorchScript of another network; download it again"


def test_onnx_files_of_other_networks_are_told_before_any_clip(tmp_path):
    """One that averages colours of 8 x 8 for ArcFace; one that OpenCV opens as YuNet, but that finds no faces."""
    pytest.importorskip("onnxruntime", reason="onnxruntime runs ArcFace: pip install -r requirements-bench.txt")
    arcface, yunet = tmp_path / "w600k_r50.onnx", tmp_path / "face_detection_yunet_2023mar.onnx"
    yunet.write_bytes(mean_colours((1, 3, 320, 320)))
    for side, other in ((8, arcface), (112, yunet)):
        arcface.write_bytes(mean_colours((1, 3, side, side)))
        lacking = measure.opened(registry.chosen(["csim"]), tmp_path, "cpu")[1]["csim"]
        assert lacking == f"{other} holds another network; download it again"


class OfNoCommonKind(Exception):
    """As OpenCV's and onnxruntime's errors are."""


def test_whatever_a_library_raises_costs_that_metric_alone(clips):
    def raises(moment):
        raise OfNoCommonKind("(-215) in setInput\n and where")

    clip = Clip(read_manifest(clips / "list.csv")[0], clips / "v1.mkv", needs_face=False)
    two = {"csim": MeanOverMoments("csim", raises, "1", ""), "ssim": MeanOverMoments("ssim", lambda _: 1.0, "1", "")}
    taken = take(clip, two)
    assert taken["csim"].note == "OfNoCommonKind: (-215) in setInput"
    assert taken["ssim"].values == {"ssim": 1.0}


def test_a_clip_without_a_run_of_16_frames_has_no_fvd(clips):
    clip = Clip(read_manifest(clips / "list.csv")[0], clips / "v1.mkv", frames=8)
    clip.__dict__["track"] = still_track(20, (64, 48))
    assert "no such run" in take(clip, {"fvd": sets.I3DFeatures(Levels(), "x")})["fvd"].note


def still_track(frames, size, known=None):
    center, width = np.tile([0.5, 0.7], (frames, 1)), np.full(frames, 0.1)
    known = np.ones(frames) if known is None else np.asarray(known, float)
    return MouthTrack(
        np.arange(frames) / 25, center, width, known, np.full(frames, "user"), np.zeros(frames, int), size
    )


def test_a_face_s_crop_is_4_7_mouths_wide_and_lies_above_the_mouth():
    faces = faces_of(still_track(30, (200, 100)))
    assert np.allclose(faces, [[100, 70 - 0.23 * 20, 4.7 * 20]] * 30)


def test_one_frame_that_jumps_does_not_move_the_crop():
    track = still_track(30, (200, 100))
    track.center_N2[11] += 0.3
    assert np.allclose(faces_of(track), faces_of(still_track(30, (200, 100))))


def info(times, size=(64, 48)):
    times = np.asarray(times, float)
    return VideoInfo(None, *size, len(times), float(times[-1] + 0.02), 50.0, times, 0, "rgb24", False, False, False)


def test_the_longest_stretch_with_a_face_is_shown_25_times_a_second():
    """50 frames a second for two seconds; the face is gone for the fourth quarter second."""
    faces = np.ones((100, 3))
    faces[38:50] = np.nan
    frames, start = longest_stretch(3 + np.arange(100) / 50, 2.0, faces)
    assert np.array_equal(frames, np.arange(50, 100, 2))
    assert start == 1.0
    assert len(longest_stretch(np.arange(100) / 50, 2.0, np.full((100, 3), np.nan))[0]) == 0


def test_a_clip_without_a_mouth_is_told():
    with pytest.raises(InputError, match="no mouth is known"):
        score_video(None, info(np.arange(50) / 50), np.full((50, 3), np.nan), None)


def test_a_clip_shorter_than_syncnet_s_window_is_a_dash_with_its_reason(clips):
    from omnisync_core.synth.clips import read_video, write_video

    write_video(clips / "short.mkv", read_video(clips / "v0.mkv")[:4], 25)
    clip = Clip(read_manifest(clips / "list.csv")[0], clips / "short.mkv")
    clip.__dict__["track"] = still_track(20, (64, 48))
    assert "SyncNet needs 6 frames" in take(clip, {"lse": OfWholeClip(partial(sync_figures, None))})["lse"].note


def test_a_clip_without_sound_is_a_dash_with_its_reason(clips):
    row = replace(read_manifest(clips / "list.csv")[0], audio=clips / "v1.mkv")
    clip = Clip(row, clips / "v0.mkv")
    clip.__dict__["track"] = still_track(20, (64, 48))
    assert "sound" in take(clip, {"lse": OfWholeClip(partial(sync_figures, None))})["lse"].note


def test_identity_is_the_cosine_of_two_faces():
    vectors = {10: np.array([1.0, 0]), 20: np.array([1.0, 1.0]), 30: None}
    one = identity.of(lambda rgb: vectors[int(rgb[0, 0, 0])], "x")
    faces = {level: np.full((4, 4, 3), level, np.uint8) for level in vectors}
    assert abs(one.figure(moment(faces[10], source=faces[20])) - np.sqrt(0.5)) < 1e-12
    assert one.figure(moment(faces[10], source=faces[30])) is None


def test_a_face_is_turned_and_scaled_onto_arcface_s_template():
    """The template turned by 20 degrees, twice as large: the dots come back to where ArcFace wants them."""
    angle = np.radians(20)
    turn = 2 * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    points = identity.TEMPLATE @ turn.T + [140, 60]
    rgb = np.zeros((400, 400, 3), np.uint8)
    for x, y in points:
        rgb[round(y) - 3 : round(y) + 4, round(x) - 3 : round(x) + 4] = 255
    face = identity.aligned(rgb, points)
    assert face.shape == (112, 112, 3)
    for x, y in identity.TEMPLATE:
        assert face[round(float(y)), round(float(x)), 0] > 200


def test_arcface_runs_through_onnxruntime(tmp_path, monkeypatch):
    """An ONNX file that averages colours stands in for ArcFace, given faces for YuNet: the larger one counts."""
    pytest.importorskip("onnxruntime", reason="onnxruntime runs ArcFace: pip install -r requirements-bench.txt")
    (tmp_path / "w600k_r50.onnx").write_bytes(mean_colours((1, 3, 112, 112)))
    (tmp_path / "face_detection_yunet_2023mar.onnx").write_bytes(b"-")
    seen = []

    class Faces:
        def setInputSize(self, size):
            seen.append(size)

        def detect(self, bgr):
            if not bgr.any():
                return 0, None
            seen.append(bgr)
            small, large = (np.zeros(15, np.float32) for _ in range(2))
            small[2:4], small[4:14] = 50, np.ravel(identity.TEMPLATE)
            large[2:4], large[4:14] = 90, np.ravel(identity.TEMPLATE / 2 + 250)
            return 2, np.stack([small, large])

    monkeypatch.setattr(identity.cv2, "FaceDetectorYN", SimpleNamespace(create=lambda *_: Faces()))
    rgb = np.zeros((1280, 1280, 3), np.uint8)
    rgb[480:640, 480:640] = (250, 127, 10)  # twice as far out as in the picture of 640 that YuNet sees
    measures, lacking = measure.opened(registry.chosen(["csim"]), tmp_path, "cpu")
    assert not lacking
    found = measures["csim"].figure(moment(rgb, source=rgb))
    assert abs(found - 1) < 1e-6
    assert seen[:2] == [(640, 640)] * 2
    assert seen[2][260, 260].tolist() == [10, 127, 250]
    embedder = identity.Embedder(*(tmp_path / file.name for file in (identity.ARCFACE, identity.YUNET)))
    assert np.allclose(embedder(rgb), (np.array([250, 127, 10]) - 127.5) / 127.5, atol=1e-5)


def test_files_that_are_no_arcface_or_yunet_are_told(tmp_path):
    (tmp_path / "w600k_r50.onnx").write_bytes(b"no network")
    lacking = measure.opened(registry.chosen(["csim"]), tmp_path, "cpu")[1]["csim"]
    assert "needs the file face_detection_yunet_2023mar.onnx" in lacking
    assert "(MIT)" in lacking
    (tmp_path / "face_detection_yunet_2023mar.onnx").write_bytes(b"no network")
    pytest.importorskip("onnxruntime", reason="onnxruntime runs ArcFace: pip install -r requirements-bench.txt")
    lacking = measure.opened(registry.chosen(["csim"]), tmp_path, "cpu")[1]["csim"]
    assert "is no such network" in lacking
    assert "\n" not in lacking


@pytest.mark.parametrize(("shift", "expected"), [((0, 0), 0), ((3, 4), 5), ((-1, 0), 1)])
def test_lmd_of_a_shift_is_its_length(shift, expected):
    rng = np.random.default_rng(0)
    marks = rng.uniform(0, 100, (478, 2))

    def find(rgb):
        return marks + (shift if rgb[0, 0, 0] else 0)

    one = landmarks.of(find, "x")
    pair = np.ones((4, 4, 3), np.uint8), np.zeros((4, 4, 3), np.uint8)
    assert abs(one.figure(moment(pair[0], pair[1])) - expected) < 1e-9
    assert one.figure(moment(pair[0])) is None


def test_a_figure_that_is_no_number_is_a_dash(clips):
    from omnisync_core.bench.run import _json

    clip = Clip(read_manifest(clips / "list.csv")[0], clips / "v1.mkv", needs_face=False)
    taken = take(clip, {"ssim": MeanOverMoments("ssim", lambda moment: float("nan"), "1", "")})["ssim"]
    record = _json(taken)
    assert record["values"] == {}
    assert record["note"] == "a figure is no number"
