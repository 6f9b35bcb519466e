"""Each table and figure of each paper as data: a grid, a function for one cell, reported numbers, claims."""

from privlab.studies.compare import Comparison, compare
from privlab.studies.registry import STUDIES, get
from privlab.studies.runner import code_version, run
from privlab.studies.store import Store
from privlab.studies.study import Claim, Reported, Study, Table

__all__ = [
    "STUDIES",
    "Claim",
    "Comparison",
    "Reported",
    "Store",
    "Study",
    "Table",
    "code_version",
    "compare",
    "get",
    "run",
]
