"""`train`: a model from a configuration."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any


def add(commands: Any) -> None:
    command = commands.add_parser("train", help="train a model")
    command.add_argument("config", type=Path, metavar="CONFIG.toml")
    command.set_defaults(command=run)


def run(options: argparse.Namespace) -> None:
    from ..training.loop import train

    print(f"the model is {train(options.config)}")
