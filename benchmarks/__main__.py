"""Every race, in one table: `python benchmarks [--quick] [--json]`."""

import aggregation
import bins
import cosine
import dlg
import dp
import evasion
import extraction
import linkability
import membership
import ranks
import words
from races import main

if __name__ == "__main__":
    scripts = (dlg, cosine, extraction, membership, dp, linkability, evasion, aggregation, bins, words, ranks)
    main(__doc__, *(script.rows for script in scripts))
