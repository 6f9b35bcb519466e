"""Each table and figure of each paper as data: a grid, a function for one cell, reported numbers, sentences.

The id is the path: `curious/table-5` stands in `studies/curious/table_5.py`. What studies of one paper share stands
beside them in files that begin with `_`, what papers share one floor up; `bench` runs, stores and judges.
"""

from privlab.studies.bench.study import PAPER_DATA, Claim, Study, Table  # isort: skip
from privlab.studies.bench import board
from privlab.studies.bench.compare import Comparison, compare
from privlab.studies.bench.coverage import coverage, values
from privlab.studies.bench.missing import run_missing
from privlab.studies.bench.printed import Reported
from privlab.studies.bench.registry import STUDIES, get
from privlab.studies.bench.runner import code_version, run
from privlab.studies.bench.sentence import told
from privlab.studies.bench.show import legend
from privlab.studies.bench.store import Store
from privlab.studies.bench.takes import Takes

__all__ = [
    "PAPER_DATA",
    "STUDIES",
    "Claim",
    "Comparison",
    "Reported",
    "Store",
    "Study",
    "Table",
    "Takes",
    "board",
    "code_version",
    "compare",
    "coverage",
    "get",
    "legend",
    "run",
    "run_missing",
    "told",
    "values",
]
