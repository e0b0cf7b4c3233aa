"""The schema's history, shipped with the package: one Alembic revision per change, each going up and down."""
