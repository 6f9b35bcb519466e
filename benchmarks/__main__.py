"""Every race, in one table: `python benchmarks [--quick] [--json]`."""

import cosine
import dlg
import dp
import evasion
import extraction
import linkability
import membership
from races import main

if __name__ == "__main__":
    main(__doc__, dlg.rows, cosine.rows, extraction.rows, membership.rows, dp.rows, linkability.rows, evasion.rows)
