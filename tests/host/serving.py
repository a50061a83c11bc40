"""A ComfyUI server in a process of its own, with this pack and a base directory of its own."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
import uuid
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
HOST = Path(os.environ.get("COMFYUI_PATH") or Path.home() / "comfy" / "ComfyUI").resolve()
START_SECONDS, JOB_SECONDS = 300, 900


class Server:
    """`python main.py` of the host on a free port; HTTP as a script would speak it."""

    def __init__(self, base: Path, python: str = sys.executable):
        self.base, self.python = base, python
        self.process: subprocess.Popen | None = None
        for folder in ("custom_nodes", "models", "input", "output", "temp", "user"):
            (base / folder).mkdir(parents=True, exist_ok=True)
        pack = base / "custom_nodes" / "omnisync"
        if not pack.exists():
            try:
                pack.symlink_to(ROOT, target_is_directory=True)
            except OSError:  # a Windows without the right to link
                shutil.copytree(ROOT, pack, ignore=shutil.ignore_patterns(".*", "tests", "__pycache__"))

    def start(self) -> "Server":
        self.port = _free_port()
        command = [
            self.python, str(HOST / "main.py"), "--cpu", "--disable-api-nodes", "--port", str(self.port),
            "--base-directory", str(self.base), "--database-url", "sqlite:///:memory:", "--disable-auto-launch",
        ]  # fmt: skip
        with (self.base / "server.log").open("ab") as log:
            self.process = subprocess.Popen(command, cwd=self.base, stdout=log, stderr=log)
        until = time.monotonic() + START_SECONDS
        while time.monotonic() < until:
            assert self.process.poll() is None, f"the server ended at its start:\n{self.log()}"
            try:
                assert "OmniSyncLipSyncVideo" in self.get("/object_info"), f"the pack did not load:\n{self.log()}"
                return self
            except OSError:
                time.sleep(0.5)
        raise AssertionError(f"the server did not start in {START_SECONDS} s:\n{self.log()}")

    def kill(self) -> None:
        """At once, as a crash or a power cut does."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(getattr(signal, "SIGKILL", signal.SIGTERM))
            self.process.wait(60)

    def log(self) -> str:
        return (self.base / "server.log").read_text(errors="replace")[-6000:]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def get(self, path: str) -> dict:
        with urllib.request.urlopen(f"{self.url}{path}", timeout=60) as answer:
            return json.load(answer)

    def post(self, path: str, body: dict) -> tuple[int, dict]:
        """The answer's status and its JSON."""
        data = json.dumps(body).encode()
        asked = urllib.request.Request(f"{self.url}{path}", data, {"Content-Type": "application/json"})
        try:
            with urllib.request.urlopen(asked, timeout=60) as answer:
                return answer.status, json.loads(answer.read() or b"{}")
        except urllib.error.HTTPError as refused:
            return refused.code, json.loads(refused.read() or b"{}")

    def queue(self, prompt: dict, client: str = "") -> str:
        """Post a prompt that the server should take; its job's id."""
        status, answer = self.post("/prompt", {"prompt": prompt, "client_id": client or uuid.uuid4().hex})
        assert status == 200, answer
        assert not answer["node_errors"], answer
        return answer["prompt_id"]

    def wait(self, job: str) -> dict:
        """The history of a job that has ended."""
        until = time.monotonic() + JOB_SECONDS
        while time.monotonic() < until:
            done = self.get(f"/history/{job}")
            if job in done:
                return done[job]
            time.sleep(0.2)
        raise AssertionError(f"the job did not end in {JOB_SECONDS} s:\n{self.log()}")


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]
