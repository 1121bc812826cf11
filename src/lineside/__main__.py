"""`python -m lineside` is the `lineside` command."""

from lineside.cli import main

main()
