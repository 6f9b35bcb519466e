"""`python -m privlab`, the same as the command `privlab`."""

from privlab.cli import main

raise SystemExit(main())
