"""A real host in this process: CPU, a base directory of its own, this pack loaded as the host loads it.

Run with the host's own python; `tests/test_host.py` does. Modules of the pack are reached through `host.module`: the
host loads it under a name of its own, and its folder `nodes/` must not shadow the host's `nodes.py`.
"""

import asyncio
import importlib
import os
import shutil
import sys
import tempfile
import uuid
from fractions import Fraction
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
HOST = Path(os.environ.get("COMFYUI_PATH") or Path.home() / "comfy" / "ComfyUI").resolve()


class HostError(Exception):
    """A prompt was refused or a node failed; the text is what the host says."""


class Host:
    """The booted host: prompts in the API's form run in it."""

    def __init__(self, base: Path):
        self.base = base
        self.pack = str(ROOT).replace(".", "_x_")
        import execution
        import server

        import nodes

        self._execution, self._nodes, self._server = execution, nodes, server
        nodes.NODE_CLASS_MAPPINGS["TestKeep"] = Keep
        nodes.NODE_CLASS_MAPPINGS["TestGive"] = Give
        self.events: list = []
        self._executor = self._new_executor()

    def run(self, prompt: dict) -> dict[str, tuple]:
        """Run a prompt; returns each node's outputs as a tuple, by node id. HostError with the node's message.

        Outputs that nothing takes are kept alive by `TestKeep`, so that every node of the prompt runs.
        """
        prompt = {str(key): node for key, node in prompt.items()}
        kept = dict(prompt)
        used = {value[0] for node in prompt.values() for value in node["inputs"].values() if isinstance(value, list)}
        for key, node in prompt.items():
            if key not in used and not self.is_output(node["class_type"]):
                kept[f"keep {key}"] = {"class_type": "TestKeep", "inputs": {"value": [key, 0]}}
        name = str(uuid.uuid4())
        valid, error, targets, node_errors = asyncio.run(self._execution.validate_prompt(name, kept, None))
        if not valid or node_errors:
            raise HostError(f"{error} {node_errors}")
        self._executor.execute(kept, name, {}, targets)
        if not self._executor.success:
            status = self._executor.status_messages[-1]
            raise HostError(status[1].get("exception_message", status[0]))
        return {key: self._outputs(key) for key in prompt}

    def forget(self) -> None:
        """Drop everything that earlier prompts left in the host's cache."""
        self._executor = self._new_executor()

    def give(self, *values) -> dict:
        """A node (for a prompt) whose outputs are these Python objects."""
        return {"class_type": "TestGive", "inputs": {"key": Give.keep(values)}}

    def node(self, node_id: str):
        """The class of a node id."""
        return self._nodes.NODE_CLASS_MAPPINGS[node_id]

    def is_output(self, node_id: str) -> bool:
        return bool(getattr(self.node(node_id), "OUTPUT_NODE", False))

    def edit_alone(self, engine, frames_THWC, speech_TND, mouth_T3, *, anchor=None, seed=0, on_step=lambda *_: None):
        """One window through an engine: its `Edit`."""
        window = self.module("omnisync_core.engines.protocol").Excerpt(frames_THWC, speech_TND, mouth_T3, seed)
        return next(engine.edit_group([window], anchor=anchor, on_step=on_step))

    def edit_the_mouth(self, engine: dict, clip: tuple, **options) -> None:
        """Lip Sync Video changes a `clip` where there is a mouth, and says where there is none."""
        lip_sync = {"class_type": "OmniSyncLipSyncVideo", "inputs": {
            "video": ["clip", 0], "audio": ["clip", 1], "mouth_track": ["clip", 2], "engine": ["engine", 0], **options,
        }}  # fmt: skip
        result, report, *_ = self.run({**engine, "clip": self.give(*clip), "synced": lip_sync})["synced"]
        found, before = result.get_components().images, clip[0].get_components().images
        assert found.shape == before.shape
        change = (found - before).abs().amax((1, 2, 3))
        assert change[:4].min() > 2 / 255
        assert change[7:].max() <= 2 / 255
        assert "no mouth" in str(report)

    def random_patcher(self, config, scale: float):
        """A patcher over a host model of random weights."""
        import comfy.model_patcher
        import torch

        config.set_inference_dtype(torch.float32, None)
        model, generator = config.get_model({}, ""), torch.Generator().manual_seed(0)
        with torch.no_grad():
            for weight in model.parameters():
                fan = max(weight.shape[-1], 1)
                weight.copy_(torch.randn(weight.shape, generator=generator) * (scale / fan**0.5))
        cpu = torch.device("cpu")
        return comfy.model_patcher.CoreModelPatcher(model, load_device=cpu, offload_device=cpu)

    def clip(self, images_NHWC, rate: int) -> tuple:
        """Images with somebody's mouth in all but the last three, and stereo sound at 48 kHz: (VIDEO, AUDIO, TRACK)."""
        import numpy as np
        import torch
        from comfy_api.latest import InputImpl, Types

        count, height, width = images_NHWC.shape[:3]
        video = InputImpl.VideoFromComponents(Types.VideoComponents(images=images_NHWC, frame_rate=rate))
        wave = torch.randn(1, 2, 24000, generator=torch.Generator().manual_seed(1)) * 0.2
        track = self.module("omnisync_core.mouth").MouthTrack(
            np.arange(count) / rate, np.tile([[0.5, 0.6]], (count, 1)), np.full(count, 0.2),
            np.float32(np.arange(count) < count - 3), np.full(count, "user"), np.zeros(count, int), (width, height),
        )  # fmt: skip
        return video, {"waveform": wave, "sample_rate": 48000}, track

    def module(self, name: str):
        """A module of the pack as the host loaded it, e.g. `omnisync_core.pipeline` or `nodes.host.models`."""
        return importlib.import_module(f"{self.pack}.{name}")

    def load(self, *extras: str) -> None:
        """Load some of the host's own `comfy_extras` (file names), as its start does for all of them."""
        for extra in extras:
            path = str(HOST / "comfy_extras" / extra)
            assert asyncio.run(self._nodes.load_custom_node(path, module_parent="comfy_extras")), extra

    def load_pack(self, path: Path) -> None:
        """Load a node pack of others, a folder or one file, as the host's start does."""
        assert asyncio.run(self._nodes.load_custom_node(str(path))), f"{path} did not load"

    @property
    def output(self) -> Path:
        return self.base / "output"

    def _outputs(self, key: str) -> tuple:
        entry = asyncio.run(self._executor.caches.outputs.get(key))
        if entry is None:
            return ()
        return tuple(values[0] if len(values) == 1 else values for values in entry.outputs)

    def _new_executor(self):
        kinds = self._execution.CacheType
        return self._execution.PromptExecutor(
            Messages(self.events), cache_type=kinds.CLASSIC, cache_args={"lru": 0, "ram": 0.0, "ram_inactive": 0.0}
        )


class Messages:
    """What the executor needs of a server."""

    client_id = None
    last_node_id = None
    last_prompt_id = None
    sockets_metadata: dict = {}  # noqa: RUF012 - as the server has it

    def __init__(self, events: list):
        self.events = events

    def send_sync(self, event, data, sid=None):
        self.events.append((event, data))

    def queue_updated(self):
        pass


class Anything(str):
    """A socket type that fits all."""

    def __ne__(self, other):
        return False


class Keep:
    """An output node that takes anything."""

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"value": (Anything("*"),)}}

    RETURN_TYPES = ()
    FUNCTION = "run"
    OUTPUT_NODE = True
    CATEGORY = "test"

    def run(self, value):
        return {}


class Give:
    """Python objects as outputs, up to eight."""

    kept: dict = {}  # noqa: RUF012

    @classmethod
    def keep(cls, values: tuple) -> str:
        key = str(uuid.uuid4())
        cls.kept[key] = values + (None,) * (8 - len(values))
        return key

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"key": ("STRING",)}}

    RETURN_TYPES = (Anything("*"),) * 8
    FUNCTION = "run"
    CATEGORY = "test"

    def run(self, key):
        return self.kept[key]


@pytest.fixture(scope="session")
def host():
    base = Path(tempfile.mkdtemp(prefix="omnisync_host_"))
    for folder in ("custom_nodes", "models", "input", "output", "temp", "user/default"):
        (base / folder).mkdir(parents=True, exist_ok=True)
    booted = boot(base)
    yield booted
    shutil.rmtree(base, ignore_errors=True)


def boot(base: Path) -> Host:
    """Start the host without a port."""
    sys.dont_write_bytecode = True
    sys.path[:] = [entry for entry in sys.path if Path(entry or ".").resolve() != ROOT]
    sys.path.insert(0, str(HOST))
    sys.argv = ["main.py", "--cpu", "--base-directory", str(base), "--disable-api-nodes"]
    import comfy.options

    comfy.options.enable_args_parsing()
    import utils.extra_config  # noqa: F401 - before nodes, which puts HOST/comfy first on the path

    asyncio.run(_load_pack())
    return Host(base)


async def _load_pack() -> None:
    import server

    import nodes

    server.PromptServer(asyncio.get_running_loop())
    await nodes.init_public_apis()
    assert await nodes.load_custom_node(str(ROOT), set(nodes.NODE_CLASS_MAPPINGS)), "the pack did not load"


@pytest.fixture
def parts(host):
    """`parts(**changed)`: the graph of parts on nine pictures and two seconds of stereo noise, as a prompt.

    What changes by name: some of a node's inputs, or a whole node (another one, or one more).

    Nodes: given (pictures, sound, track), model, encoded, speech, prompt, noise, sampled, decoded.
    """
    import numpy as np
    import torch

    random = torch.Generator().manual_seed(0)
    pictures = torch.rand(9, 96, 96, 3, generator=random) * 0.5 + torch.linspace(0, 0.5, 96)[:, None]
    sound = {"waveform": torch.randn(1, 2, 88200, generator=random) * 0.1, "sample_rate": 44100}
    track = host.module("omnisync_core.mouth").MouthTrack(
        np.arange(9) / 25, np.tile([[0.5, 0.55]], (9, 1)), np.full(9, 0.4), np.ones(9), np.full(9, "user"),
        np.zeros(9, int), (96, 96),
    )  # fmt: skip
    weights = {"w_peak": 2.0, "w_base": 1.0, "gamma": 1.5, "sigma_g": 0.7, "convention": "floored"}

    def node(name, **inputs):
        return {"class_type": name, "inputs": inputs}

    def prompt(**changed):
        nodes = {
            "given": host.give(pictures, sound, track),
            "model": node("OmniSyncLoadModel", model_name="omnisync_mini (bundled)", weight_dtype="default"),
            "encoded": node("VAEEncode", pixels=["given", 0], vae=["model", 1]),
            "speech": node(
                "OmniSyncEncodeAudioWhisper", audio_encoder=["model", 3], audio=["given", 1], fps=25.0, frame_count=9,
                strength=1.0, offset_ms=0.0,
            ),
            "prompt": node(
                "OmniSyncEncodePromptT5", clip=["model", 2], audio_encoder_output=["speech", 0], text="A cat speaks.",
            ),
            "noise": node(
                "OmniSyncProgressiveNoise", model=["model", 0], latent=["encoded", 0], tau=0.92, steps=2,
                spacing="linear", seed=5,
            ),
            "sampled": node(
                "OmniSyncDSCFGSampler", model=["model", 0], positive=["prompt", 0], negative=["prompt", 1],
                mouth_track=["given", 2], noise=["noise", 0], sigmas=["noise", 1], latent=["noise", 2], **weights,
            ),
            "decoded": node(
                "OmniSyncChunkedVideoDecode", vae=["model", 1], samples=["sampled", 0], fps=25.0, audio=["given", 1],
                output="images",
            ),
        }  # fmt: skip
        for name, change in changed.items():
            whole = "class_type" in change
            nodes[name] = change if whole else {**nodes[name], "inputs": {**nodes[name]["inputs"], **change}}
        return nodes

    prompt.pictures, prompt.sound, prompt.track, prompt.weights, prompt.node = pictures, sound, track, weights, node
    return prompt


@pytest.fixture
def clip(host, tmp_path):
    from tests.host.painted import FPS, pictures

    path = tmp_path / "clip.mp4"
    host.module("omnisync_core.media").write_pictures(path, pictures().numpy(), Fraction(FPS), "yuv420p")
    return path


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A host in a process of its own, over HTTP."""
    from tests.host.serving import Server

    started = Server(tmp_path_factory.mktemp("server"))
    try:
        yield started.start()
    finally:
        started.kill()


@pytest.fixture
def sync(host, monkeypatch):
    """Run Lip Sync Video; its result's path and report. `engine` None paints. Without a track the finder, which sees
    no mouth on these pictures, sees one in the middle."""
    from tests.host.painted import OPTIONS, painter

    face = host.module("omnisync_core.mouth.detect").Face

    def middle(rgb, *_):
        height, width = rgb.shape[:2]
        return [face(0.5 * width, 0.62 * height, 0.2 * min(width, height), 0.0, 0.9, "finder")]

    monkeypatch.setattr(host.module("omnisync_core.mouth.tracking"), "find_mouths", middle)

    def run(video, audio=None, engine=None, mouth_track=None, speakers=None, **options):
        from comfy_api.latest import InputImpl

        video = InputImpl.VideoFromFile(str(video)) if isinstance(video, (str, Path)) else video
        given = [video, audio, engine or painter(host), mouth_track, speakers]
        names = ("video", "audio", "engine", "mouth_track", "speakers")
        linked = {name: ["given", place] for place, name in enumerate(names) if given[place] is not None}
        node = {"class_type": "OmniSyncLipSyncVideo", "inputs": {**linked, **OPTIONS, **options}}
        result, report = host.run({"given": host.give(*given), "sync": node})["sync"]
        return result.get_stream_source(), report

    return run


@pytest.fixture
def left(host):
    """What jobs left behind in the host's folders: working folders and unfinished windows."""

    def names():
        import folder_paths

        temp, unfinished = Path(folder_paths.get_temp_directory()), host.output / "omnisync_unfinished"
        kept = [path.name for path in temp.iterdir() if path.is_dir()] if temp.exists() else []
        return kept, sorted(unfinished.iterdir()) if unfinished.exists() else []

    return names
