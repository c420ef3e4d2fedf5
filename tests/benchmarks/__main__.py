"""``python tests/benchmarks [--short]``: take the figures and print them as one table.

Further arguments go to pytest, such as ``-k frames``, or ``--benchmark-json=FILE`` for every single measurement.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent

if __name__ == "__main__":
    files = map(str, sorted(HERE.glob("bench_*.py")))
    sys.exit(pytest.main(["-p", "figures", "--benchmark-quiet", "-q", *sys.argv[1:], *files]))
