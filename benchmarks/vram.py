"""The memory that each engine takes on your graphics card: python benchmarks/vram.py

A ComfyUI server with this pack runs on it (nothing else should). Every template over public weights whose files the
server has is run on the bundled clip with its own settings, and the card is asked four times a second how full it is.
The others are named with the files that they lack. Send the table.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import tempfile
import threading
import time
import urllib.request
from pathlib import Path

import common

from omnisync_core import queue
from omnisync_core.errors import InputError, JobError

CLIP = common.ROOT / "omnisync_core" / "assets" / "demo"
INPUTS = {"LoadVideo": ("file", CLIP / "source.mp4"), "LoadAudio": ("audio", CLIP / "target.wav")}
HEAD = ["engine", "sizes", "peak", "of it before", "seconds", ""]
GIGABYTE = 2**30


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--host", default="http://127.0.0.1:8188", metavar="URL", help="default %(default)s")
    parser.add_argument("--video", type=Path, help="another clip (default: the bundled one)")
    parser.add_argument("workflows", nargs="*", type=Path, help="in API form (default: all over public weights)")
    options = parser.parse_args()
    paths = options.workflows or sorted((common.ROOT / "workflows" / "api" / "public").glob("*.json"))
    server = Server(options.host)
    rows = []
    for path in paths:
        rows.append([path.stem.replace("_", " "), *_row(server, path, options.video)])
        print(" ".join(map(str, rows[-1])), flush=True)
    print(f"\n{server.describe()}\n\n{common.table(HEAD, rows)}")


class Server:
    """What a ComfyUI server says of itself."""

    def __init__(self, host: str):
        self.host = host.rstrip("/")

    def get(self, route: str) -> dict:
        with urllib.request.urlopen(f"{self.host}{route}", timeout=15) as answer:
            return json.load(answer)

    def device(self) -> dict:
        return self.get("/system_stats")["devices"][0]

    def used(self) -> int:
        """Bytes of the card that are taken, by whomever."""
        device = self.device()
        return device["vram_total"] - device["vram_free"]

    def describe(self) -> str:
        system, device = self.get("/system_stats")["system"], self.device()
        flags = [word for word in system.get("argv", ()) if word.startswith("--")]
        versions = f"ComfyUI {system.get('comfyui_version', '?')}, torch {system.get('pytorch_version', '?')}"
        card = f"{device['name']}, {device['vram_total'] / GIGABYTE:.1f} GB"
        return f"{card}; {versions}, {system['os']}; started with {' '.join(flags) or 'no flags'}"

    def choices(self, kind: str) -> dict[str, list]:
        """The files that the inputs of a node may name."""
        node = self.get(f"/object_info/{kind}").get(kind, {"input": {}})
        found = {}
        for inputs in node["input"].values():
            for name, spec in inputs.items() if isinstance(inputs, dict) else ():
                form, options = [*spec, {}][:2]
                listed = form if isinstance(form, list) else options.get("options")
                if listed is not None:
                    found[name] = listed
        return found

    def free(self) -> None:
        """Let go of every model, so that the next engine is measured alone."""
        body = json.dumps({"unload_models": True, "free_memory": True}).encode()
        request = urllib.request.Request(f"{self.host}/free", body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=15):
            time.sleep(3)


class Peak:
    """The fullest that the card was between `with` and its end."""

    def __init__(self, used, every: float = 0.25):
        self._used, self._every, self._ended = used, every, threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Peak:
        self.before = self.bytes = self._used()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._ended.wait(self._every):
            with contextlib.suppress(OSError):  # a busy server may not answer in time
                self.bytes = max(self.bytes, self._used())


def lacking(prompt: dict, choices) -> list[str]:
    """The files that a workflow names and the server does not have; `choices` as `Server.choices`."""
    missing = []
    for node in prompt.values():
        if node["class_type"] in INPUTS:
            continue
        known = choices(node["class_type"])
        missing += [
            value for name, value in node["inputs"].items()
            if isinstance(value, str) and "." in value and name in known and value not in known[name]
        ]  # fmt: skip
    return missing


def settings(prompt: dict, video: Path | None) -> list[str]:
    """`--set` of the clip and its sound, for every node that loads one."""
    given = dict(INPUTS) if video is None else {**INPUTS, "LoadVideo": ("file", video)}
    return [
        f"{key}.{given[node['class_type']][0]}={given[node['class_type']][1]}"
        for key, node in prompt.items() if node["class_type"] in given
    ]  # fmt: skip


def sizes(prompt: dict) -> str:
    """What of a workflow decides its memory."""
    names = ("resolution", "crop_size", "crop_scale", "window_frames", "max_frames", "weight_dtype")
    found = {name: node["inputs"][name] for node in prompt.values() for name in names if name in node["inputs"]}
    return ", ".join(f"{name} {value}" for name, value in found.items())


def _row(server: Server, path: Path, video: Path | None) -> list:
    prompt = queue.read_workflow(path)
    missing = lacking(prompt, server.choices)
    if missing:
        return [sizes(prompt), "", "", "", f"not there: {', '.join(missing)}"]
    server.free()
    began, failure = time.monotonic(), ""
    with tempfile.TemporaryDirectory() as folder, Peak(server.used) as peak:
        try:
            with contextlib.redirect_stderr(io.StringIO()):
                queue.queue(path, server.host, settings(prompt, video), Path(folder), say=lambda _: None)
        except (InputError, JobError) as error:
            failure = str(error)
    seconds = time.monotonic() - began
    return [
        sizes(prompt),
        *(f"{size / GIGABYTE:.1f} GB" for size in (peak.bytes, peak.before)),
        f"{seconds:.0f}",
        failure,
    ]


if __name__ == "__main__":
    main()
