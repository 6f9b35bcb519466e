"""`python -m privlab`, the same as the command `privlab`."""

import sys

from privlab.cli import main

sys.exit(main())
