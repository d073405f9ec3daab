"""What training leaves behind goes back to the system."""

from __future__ import annotations

import subprocess
import sys

import pytest

SCRIPT = """
import numpy as np
from pretrieve.core.memory import give_back_freed_memory, keep_freed_memory

def held():
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("VmRSS")) // 1024

keep_freed_memory()
before = held()
pieces = [np.ones(1 << 20) for _ in range(50)]
last = np.ones(1 << 20)
del pieces
kept = held() - before
give_back_freed_memory()
print(kept, held() - before)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc alone is told")
def test_freed_memory_is_kept_and_given_back() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True)
    kept, left = map(int, done.stdout.split())
    assert kept > 350, "kept for the next batch"
    assert left < 100
