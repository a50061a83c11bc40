"""A TOML file's tables against the dataclasses that they fill: names, kinds and numbers, before anything is built."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

from ..errors import InputError

KINDS = {int: "a whole number", float: "a finite number", str: "text", bool: "true or false", dict: "a table"}


def check_kinds(options: type, table: Mapping[str, Any], name: str) -> None:
    """InputError unless each of the table's values is of the kind that `options`, a dataclass, annotates.

    name: of the table, for the message. Names that the dataclass does not have are not looked at.
    """
    for key, kind in get_type_hints(options).items():
        if key in table and not _fits(table[key], kind):
            raise InputError(f"{name}.{key} must be {_in_words(kind)}, got {table[key]!r}")


def check_table(options: type, table: Any, name: str) -> None:
    """InputError unless `options(**table)` can be made of a table: names that it has, of their kinds, within bounds."""
    if not isinstance(table, dict):
        raise InputError(f"{name} must be a table, got {table!r}")
    known = {one.name for one in fields(options)}
    if unknown := sorted(table.keys() - known):
        raise InputError(f"{name} has unknown {', '.join(unknown)}; there are {', '.join(sorted(known))}")
    check_kinds(options, table, name)
    options(**table)


def check_number(name: str, value: Any, low: float, *, whole: bool = False, least: bool = True) -> None:
    """InputError unless a value is a number of at least (or, without `least`, above) `low`."""
    if not _fits(value, int if whole else float) or value < low or (value == low and not least):
        kind = "whole number" if whole else "number"
        raise InputError(f"{name} must be a {kind} {'from' if least else 'above'} {low:g}, got {value!r}")


def check_file(name: str, file: str) -> None:
    """InputError where a model's file is named and not there."""
    if file and not Path(file).is_file():
        raise InputError(f"{name}: no such model file: {file}; say where it is, or leave it out")


def _fits(value: Any, kind: Any) -> bool:
    if get_origin(kind) is tuple:
        parts = get_args(kind)
        return isinstance(value, (list, tuple)) and len(value) == len(parts) and all(map(_fits, value, parts))
    if get_origin(kind) is not None and issubclass(get_origin(kind), Mapping):
        return isinstance(value, dict)
    if kind is float:
        return type(value) in (int, float) and math.isfinite(value)
    if kind in KINDS:
        return type(value) is kind
    if kind is type(None):
        return value is None
    choices = get_args(kind)
    return any(_fits(value, one) for one in choices) if choices else isinstance(value, dict)


def _in_words(kind: Any) -> str:
    if get_origin(kind) is tuple:
        return f"a list of {len(get_args(kind))} numbers"
    known = [KINDS[one] for one in (kind, *get_args(kind)) if one in KINDS]
    return known[0] if known else "a table"
