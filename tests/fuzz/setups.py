"""What the fuzzed gateways are set up with."""

from __future__ import annotations

import re

CONFIG = """
[[trunk]]
name = "pbx"
kind = "pbx"
source = ["192.0.2.2", "2001:db8::2"]
target = ["sip:192.0.2.2:5060"]
trusted = true
trace_context = true
supports = ["607"]
ring_timeout = "20s"
max_duration = "90s"
prack = "local"
dialog_ping = 10
[[trunk]]
name = "carrier"
kind = "carrier"
source = ["192.0.2.3"]
target = ["sip:192.0.2.3:5060", "sip:192.0.2.3:5080"]
ring_timeout = "20s"
max_duration = "60s"
x_cid = false
hide = ["User-Agent"]
set = { X-Own = "1" }
[[trunk]]
name = "backup"
kind = "carrier"
source = ["192.0.2.4"]
target = ["sip:192.0.2.4:5060"]
supports = ["608"]
prack = "local"
session_timer = "90s"
ring_timeout = "15s"
max_duration = "80s"
[[route]]
from = ["pbx"]
called.prefix = "9"
to = ["backup"]
[[route]]
from = ["pbx"]
to = ["carrier", "backup"]
[[route]]
from = ["kind:carrier"]
to = ["pbx"]
"""

RULES = r"""
version = 1
[[rule]]
name = "by-cause"
when.status = "400-699"
when.q850 = [1, 2, 3, 26]
then.status = 404
[[rule]]
name = "by-text"
when.reason_text = "(?i)unallocated|not in service"
when.location = ["LN", "RLN"]
then.status = 410
then.set = { X-Why = "text" }
[[rule]]
name = "by-sip-cause"
when.sip_cause = [486, 603]
when.phrase = "(?i)busy|decline"
then.status = 486
then.remove = ["Server"]
[[rule]]
name = "by-server"
when.server = "(?i)test"
when.method = ["INVITE", "MESSAGE", "OPTIONS", "SUBSCRIBE"]
then.status = 480
[[rule]]
name = "by-wait"
when.retry_after = ">10s"
when.header.Warning = "399"
then.status = 503
then.hunt = "continue"
[[rule]]
name = "by-time"
when.after = "<300ms"
when.rang = false
when.status = [600, 603]
then.status = 486
then.original = "reason"
[[rule]]
name = "by-number"
when.called.prefix = ["1", "+1"]
when.caller.regex = "^p"
when.status = "5xx"
mode = "shadow"
then.status = 404
[[rule]]
name = "by-request"
when.request_header.User-Agent = true
when.status = 607
then.status = 603
"""


EVERYTHING = (
    CONFIG.replace(
        "dialog_ping = 10\n",
        'dialog_ping = 10\nhide_topology = true\nnumbers = {region = "DE"}\nnat = true\n',
    )
    .replace(
        'hide = ["User-Agent"]\n',
        'hide = ["User-Agent"]\nhide_topology = true\nkeep = ["Server"]\nredirect = "follow"\n'
        "max_calls = 500\n"
        'username = "gw"\npassword_env = "X"\nregister = true\nregister_expires = "60s"\noptions_ping = 30\n'
        'weights = [1, 1]\nnumbers = {region = "DE", send = "national", caller_out = [["^", "8"]]}\n'
        'session_timer = "90s"\nadvance_on = ["4xx"]\nhunt_after_early_media = true\n',
    )
    .replace('to = ["carrier", "backup"]', 'to = ["carrier", "backup"]\nstrategy = "parallel"')
    .replace('name = "backup"\n', 'name = "backup"\nredirect = "follow"\n')
)
"""The same with every ability switched on somewhere."""


def over_tcp(config: str) -> str:
    """The configuration with every target on TCP."""
    return re.sub(r'"(sip:[^"]+)"', r'"\1;transport=tcp"', config)
