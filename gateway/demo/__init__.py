"""Real calls through a real gateway on this machine: what `gateway demo` plays and checks.

`scenes` lists the calls and what must come of each, `phone` is the simulated telephone that plays either
side, `gateway_process` starts and ends the gateway between them, and `play` puts the three together.
"""
