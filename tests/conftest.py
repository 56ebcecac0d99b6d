"""What holds for all tests: a quiet CPU, TensorFlow by default, and the hypothesis profiles.

The environment is set before a framework is imported, and kept where the caller has set it. The
`quick` profile draws the same examples each time; `HYPOTHESIS_PROFILE=nightly` draws many new ones.
"""

import os

from hypothesis import HealthCheck, settings

# Data, not tests: the doctest collector would import them, and frameworks that may be absent.
collect_ignore_glob = ["wild/cases_*.py", "wild/descent_*.py"]

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("MPLBACKEND", "Agg")

_SLOW_DRAWS = [HealthCheck.too_slow, HealthCheck.data_too_large]
settings.register_profile(
    "quick", max_examples=30, deadline=None, derandomize=True, suppress_health_check=_SLOW_DRAWS
)
settings.register_profile(
    "nightly", max_examples=1000, deadline=None, suppress_health_check=_SLOW_DRAWS
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "quick"))
