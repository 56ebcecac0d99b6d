"""Runs files of tests on another backend, in a process of its own: Keras chooses one, once.

Files that are run alike share a process, since every start of one costs ten seconds.
"""

import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import pytest

from .gradients import BACKEND, installed

EVERY_DTYPE = "float16,bfloat16,float32,float64"


def passed(
    files: Path | Iterable[Path],
    backend: str,
    dtypes: str = EVERY_DTYPE,
    selected: str = "",
    *,
    float64: bool = True,
    marked: str = "",
) -> Counter[str]:
    """How many tests of each file pass on a backend, with JAX's float64 or without; all must."""
    if backend == BACKEND:
        pytest.skip("runs in this process")
    if not installed(backend):
        pytest.skip(f"{backend} is not installed")
    environment = {
        "KERAS_BACKEND": backend,
        "BEVEL_DTYPES": dtypes,
        "JAX_ENABLE_X64": str(int(float64)),
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "XLA_FLAGS": "--xla_backend_optimization_level=0",
        "OMP_NUM_THREADS": "1",  # two processes share two cores
    }
    options = [
        "-q",
        "-o",
        "addopts=",
        "-p",
        "no:cacheprovider",
        "-rp",
        "-k",
        selected,
        "-m",
        marked,
    ]
    paths = [files] if isinstance(files, Path) else files
    run = subprocess.run(
        [sys.executable, "-m", "pytest", *options, *map(str, paths)],
        cwd=Path(__file__).parents[2],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=1800,
    )
    assert run.returncode == 0, run.stdout[-6000:] + run.stderr[-2000:]
    return Counter(re.findall(r"^PASSED tests/(.+?\.py)::", run.stdout, re.MULTILINE))
