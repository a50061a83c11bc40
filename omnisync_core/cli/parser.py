"""A parser that says what is wrong in one line, and takes an option once."""

from __future__ import annotations

import argparse
from typing import Any, NoReturn


class Parser(argparse.ArgumentParser):
    """Says what is wrong in one line, without the usage."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.register("action", None, _Once)

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"error: {message} (see {self.prog} --help)\n")


class _Once(argparse.Action):
    """Stores a value; an option that is given twice is a mistake."""

    _is_given = False

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: Any,
        option_string: str | None = None,
    ) -> None:  # fmt: skip
        if self._is_given and option_string is not None:
            raise argparse.ArgumentError(self, "is given twice")
        self._is_given = True
        setattr(namespace, self.dest, values)
