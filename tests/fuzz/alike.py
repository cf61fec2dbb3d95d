"""Read every file of a fuzzer's corpus natively and in pure Python, and insist that both see the same.

    python -m tests.fuzz.alike DIRECTORY

The corpus holds an input for each way through the native reader that the fuzzer has found (`make fuzz`).
"""

from __future__ import annotations

import sys
from pathlib import Path

from gateway import speedups
from tests.sip.test_native_equal import assert_alike


def main() -> int:
    """Compare; 0 when all are alike."""
    if speedups.WHY_PURE:
        print(speedups.WHY_PURE, file=sys.stderr)
        return 2
    files = sorted(Path(sys.argv[1]).iterdir())
    for file in files:
        assert_alike(file.read_bytes())
    print(f"{len(files)} inputs are read alike by both cores")
    return 0


if __name__ == "__main__":
    sys.exit(main())
