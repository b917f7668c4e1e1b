"""Hypothesis: short and always the same by default; long and random with HYPOTHESIS_PROFILE=thorough."""

import os
import signal

from hypothesis import HealthCheck, settings

_COMMON = settings(
    deadline=None,  # A shared machine may stop for a second.
    database=None,  # A failure is pinned as an example, not as a file.
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile("ci", _COMMON, max_examples=40, derandomize=True)
settings.register_profile(
    "thorough", _COMMON, max_examples=int(os.environ.get("HYPOTHESIS_EXAMPLES", "2000"))
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))

# `make test &` of a shell without job control starts with SIGINT ignored, and so would all that tests start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
