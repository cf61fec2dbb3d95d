"""The commands of `gateway`, one module each.

A command is a plain function with typed keyword parameters that prints for a person (or with `--json` for a
program) and returns its exit code; `gateway.cli` gives it its place on the command line.
"""
