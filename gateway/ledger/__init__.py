"""The ledger: one row a call, written off the loop, read by commands and console."""
