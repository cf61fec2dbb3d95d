"""SIP without I/O: messages, typed headers, transactions, dialogs, timers and the endpoint over them.

Nothing in this package opens a socket, reads a clock, or makes up a random number: bytes, flows, ``now``
and identifiers are passed in, bytes for flows come out.
"""
