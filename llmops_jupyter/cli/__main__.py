"""`python -m llmops_jupyter.cli`."""

import sys

from llmops_jupyter.cli import main

sys.exit(main())
