"""`python -m app.cli`: the command without an installed script."""

from __future__ import annotations

from app.cli import main

main()
