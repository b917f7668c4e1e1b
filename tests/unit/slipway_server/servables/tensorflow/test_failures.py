"""What a failed run is answered with: the client's fault in TensorFlow's words, the model's own without any place."""

from __future__ import annotations

import pytest

from slipway_server.errors import invalid_argument
from slipway_server.servables.tensorflow.failures import as_run_error

TRACE = 'Traceback (most recent call last):\n\n  File "/usr/lib/a.py", line 3, in f\n\n\t [[{{node PyFunc}}]]'
DEVICE = "\n\t [[{{node a/b/Find}}]] on /job:localhost/replica:0/task:0/device:CPU:0"

CASES = {
    "a traceback": (f"ValueError: no callback\n{TRACE}", "INTERNAL", "ValueError: no callback"),
    "a path of the server": (
        f"KeyError: 'x' in /opt/venv/lib/a.py\n{TRACE}",
        "INTERNAL",
        "KeyError: 'x' in (a path)",
    ),
    "nothing but a traceback": (TRACE, "INTERNAL", "The model failed"),
    "a device": (
        f"Table not initialized.{DEVICE}",
        "INTERNAL",
        f"Table not initialized.{DEVICE}",
    ),
    "a file of the version": (
        "/models/m/1/assets/a; No such file or directory",
        "INTERNAL",
        "assets/a; No such file or directory",
    ),
    "a file that the client named": ("/etc/a; No such file", "INVALID_ARGUMENT", None),
    "a size": ("Matrix size-incompatible: In[0]: [1,3], In[1]: [4,2]", "INVALID_ARGUMENT", None),
}


@pytest.mark.parametrize("what", CASES)
def test_a_run_that_fails_with(what: str) -> None:
    message, code, answer = CASES[what]
    error = as_run_error(invalid_argument(message), "/models/m/1")
    assert error is not None
    assert (error.code.name, error.message) == (code, message if answer is None else answer)
