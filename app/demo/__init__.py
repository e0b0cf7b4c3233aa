"""`bellwether demo`: scripted customers, the real pipeline, and an inbox that shows what a receiver gets."""

from __future__ import annotations

from app.demo.show import run

__all__ = ["run"]
