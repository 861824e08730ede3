"""`python -m server` is `onesocket`."""

from server.cli import main

raise SystemExit(main())
