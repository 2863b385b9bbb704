"""``python -m waterwatch.cli``: the same as the command ``waterwatch``."""

from waterwatch.cli import main

main(prog_name="waterwatch")
