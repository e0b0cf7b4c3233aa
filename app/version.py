"""The version, once: what `bellwether version`, REST and outgoing requests say. pyproject.toml states the same."""

from __future__ import annotations

VERSION = "0.1.0"
