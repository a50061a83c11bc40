"""The public interface: what `from omnisync_core import ...` gives, and the five lines of the README."""

import ast
import re
from pathlib import Path

import pytest

import omnisync_core
from omnisync_core.errors import InputError

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("name", omnisync_core.__all__)
def test_every_public_name_is_there(name):
    assert getattr(omnisync_core, name).__name__ == name


def test_all_is_what_is_imported_for_type_checkers():
    tree = ast.parse(Path(omnisync_core.__file__).read_text(encoding="utf-8"))
    (checked,) = (node for node in tree.body if isinstance(node, ast.If))
    assert sorted(alias.name for line in checked.body for alias in line.names) == sorted(omnisync_core.__all__)


def test_the_error_of_a_public_function_is_the_public_error():
    assert omnisync_core.InputError is InputError
    with pytest.raises(omnisync_core.InputError, match="steps must be at least 1"):
        omnisync_core.load_engine(steps=0)


def test_other_names_are_unknown():
    with pytest.raises(AttributeError, match="no attribute 'sync_videos'"):
        omnisync_core.sync_videos  # noqa: B018
    with pytest.raises(ImportError):
        from omnisync_core import sync_videos  # noqa: F401


def test_the_readme_s_lines_use_the_public_interface():
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    tree = ast.parse(code)
    imported = {alias.name for node in tree.body if isinstance(node, ast.ImportFrom) for alias in node.names}
    assert {"load_engine", "sync_video"} <= imported <= set(omnisync_core.__all__)
    used = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    assert imported <= used
