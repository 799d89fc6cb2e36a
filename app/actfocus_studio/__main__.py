"""``python -m actfocus_studio [RUN ...]``: the same as ``actfocus app``."""

import sys

from actfocus_core.cli import main

sys.argv[1:1] = ["app"]
main()
