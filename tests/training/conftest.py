"""Every test trains as in a process of its own."""

import pytest


@pytest.fixture(autouse=True)
def own_accelerator():
    """accelerate keeps one state a process, and two trainings may want another precision."""
    yield
    from accelerate.state import AcceleratorState

    AcceleratorState._reset_state(reset_partial_state=True)
