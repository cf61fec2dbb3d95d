"""The ledger's schema, from version to version: one file in `versions` for each change, run by Alembic.

A migration states the tables as they were on its day and imports nothing of the gateway, so that it does the
same for ever. What all of them together make is what `schema.py` describes; a test compares the two. Whoever
changes `schema.py` adds a file here, and its number there as REVISION.
"""
