"""Runs the demonstration from any folder: ``python tools/demo/run.py --output demo-output``."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from tools.demo.__main__ import main

if __name__ == "__main__":
    sys.exit(main())
