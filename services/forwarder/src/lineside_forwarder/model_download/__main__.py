"""Runs the command of this package."""

import sys

from lineside_forwarder.model_download.command import main

sys.exit(main(sys.argv[1:]))
