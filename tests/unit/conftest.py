"""Lets the tests find what all of them share also where `ansible-test units` runs them.

It knows nothing of pyproject.toml, where pytest has this path from.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1]))
