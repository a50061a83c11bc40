"""The tests inside a real host (`tests/host`), run by the host's own python in a process of its own.

`COMFYUI_PATH` names the host (else ~/comfy/ComfyUI), `COMFYUI_PYTHON` its python (else the venv in or beside it, else
this one).
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
HOST = Path(os.environ.get("COMFYUI_PATH") or Path.home() / "comfy" / "ComfyUI")


def host_python() -> str:
    named = os.environ.get("COMFYUI_PYTHON")
    if named:
        return named
    for folder in (HOST / "venv", HOST / ".venv", HOST.parent / "venv"):
        for python in (folder / "bin" / "python", folder / "Scripts" / "python.exe"):
            if python.is_file():
                return str(python)
    return sys.executable


def test_in_the_host():
    if not (HOST / "main.py").is_file():
        pytest.skip(f"THE NODES ARE NOT TESTED: no ComfyUI at {HOST}; name its checkout in COMFYUI_PATH")
    command = [host_python(), "-m", "pytest", "tests/host", "-q", "-p", "no:cacheprovider"]
    environment = {**os.environ, "COMFYUI_PATH": str(HOST)}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, f"{done.stdout[-8000:]}\n{done.stderr[-2000:]}"
