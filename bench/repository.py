"""Imported for its effect: makes the repository's `tests` known to a script that is run from `bench/`."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))
