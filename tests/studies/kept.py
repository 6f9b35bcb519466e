"""What studies keep between cells."""

import sys


def forget():
    """All of it: a cell is to be computed anew, and no test takes what another made for its own."""
    for name in [each for each in sys.modules if each.startswith("privlab.studies.")]:
        for kept in list(vars(sys.modules[name]).values()):
            if hasattr(kept, "cache_clear"):
                kept.cache_clear()
