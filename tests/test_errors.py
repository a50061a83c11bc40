"""An error's text is one line; what to do can be worded by whoever shows it."""

import pytest

from omnisync_core.errors import HINTS, CheckpointError, InputError, OutputError


def test_an_error_without_a_hint_is_its_text():
    error = InputError("steps must be at least 1, got 0")
    assert str(error) == "steps must be at least 1, got 0"
    assert error.hint == ""


@pytest.mark.parametrize("code", HINTS)
def test_a_hint_ends_the_line(code):
    error = CheckpointError("it does not fit", code)
    assert str(error) == f"it does not fit: {HINTS[code]}"
    assert (error.problem, error.hint) == ("it does not fit", code)
    assert "\n" not in str(error)


def test_unknown_codes_are_a_mistake_of_ours():
    with pytest.raises(KeyError):
        InputError("it does not fit", "nonsense")


def test_a_result_that_cannot_be_written_is_no_input_error():
    assert not issubclass(OutputError, InputError)
