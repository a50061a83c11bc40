"""Puts the project root on the path while tests run (they import `omnisync_core`)."""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

collect_ignore = ["host"]
"""Run by the host's python: see test_host.py. Naming the folder or a file of it on the command line runs it."""
