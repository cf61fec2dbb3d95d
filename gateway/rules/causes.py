"""Q.850 causes: their names, and which SIP status stands for which (RFC 3398 7.2.4.1 and 8.2.6.1).

A peer such as FreeSWITCH or AudioCodes lets the Q.850 cause override the status, so whoever rewrites one must
rewrite the other. Carriers differ from the table; a trunk's `q850` setting overrides them for that trunk.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

NAMES: dict[int, str] = {
    1: "Unallocated (unassigned) number", 2: "No route to specified transit network",
    3: "No route to destination", 4: "Send special information tone", 5: "Misdialled trunk prefix",
    6: "Channel unacceptable", 7: "Call awarded and being delivered in an established channel",
    8: "Preemption", 9: "Preemption - circuit reserved for reuse", 14: "QoR: ported number",
    16: "Normal call clearing", 17: "User busy", 18: "No user responding",
    19: "No answer from user (user alerted)", 20: "Subscriber absent", 21: "Call rejected",
    22: "Number changed", 23: "Redirection to new destination",
    24: "Call rejected due to feature at the destination",
    25: "Exchange routing error", 26: "Non-selected user clearing", 27: "Destination out of order",
    28: "Invalid number format (address incomplete)", 29: "Facility rejected",
    30: "Response to STATUS ENQUIRY", 31: "Normal, unspecified", 34: "No circuit/channel available",
    38: "Network out of order", 39: "Permanent frame mode connection out of service",
    40: "Permanent frame mode connection operational", 41: "Temporary failure",
    42: "Switching equipment congestion", 43: "Access information discarded",
    44: "Requested circuit/channel not available", 46: "Precedence call blocked",
    47: "Resource unavailable, unspecified", 49: "Quality of service not available",
    50: "Requested facility not subscribed", 53: "Outgoing calls barred within CUG",
    55: "Incoming calls barred within CUG", 57: "Bearer capability not authorized",
    58: "Bearer capability not presently available",
    62: "Inconsistency in designated outgoing access information and subscriber class",
    63: "Service or option not available, unspecified", 65: "Bearer capability not implemented",
    66: "Channel type not implemented", 69: "Requested facility not implemented",
    70: "Only restricted digital information bearer capability is available",
    79: "Service or option not implemented, unspecified", 81: "Invalid call reference value",
    82: "Identified channel does not exist", 83: "A suspended call exists, but this call identity does not",
    84: "Call identity in use", 85: "No call suspended",
    86: "Call having the requested call identity has been cleared", 87: "User not member of CUG",
    88: "Incompatible destination", 90: "Non-existent CUG", 91: "Invalid transit network selection",
    95: "Invalid message, unspecified", 96: "Mandatory information element is missing",
    97: "Message type non-existent or not implemented",
    98: "Message not compatible with call state or message type non-existent or not implemented",
    99: "Information element/parameter non-existent or not implemented",
    100: "Invalid information element contents", 101: "Message not compatible with call state",
    102: "Recovery on timer expiry", 103: "Parameter non-existent or not implemented, passed on",
    110: "Message with unrecognized parameter, discarded", 111: "Protocol error, unspecified",
    127: "Interworking, unspecified",
}  # fmt: skip
"""The names that Q.850 gives its causes."""

SIP_TO_CAUSE: dict[int, int] = {
    400: 41, 401: 21, 402: 21, 403: 21, 404: 1, 405: 63, 406: 79, 407: 21, 408: 102, 410: 22,
    413: 127, 414: 127, 415: 79, 416: 127, 420: 127, 421: 127, 423: 127, 480: 18, 481: 41, 482: 25, 483: 25,
    484: 28, 485: 1, 486: 17, 500: 41, 501: 79, 502: 38, 503: 41, 504: 102, 505: 127, 513: 127,
    600: 17, 603: 21, 604: 1,
    607: 21, 608: 21,  # not in RFC 3398: by analogy with 603
}  # fmt: skip
"""The cause a status stands for. 487 has none, and 488 and 606 have one by their Warning only: those, and
statuses that no table knows, leave without a Q.850 value rather than with one that contradicts them."""

CAUSE_TO_STATUS: dict[int, int] = {
    1: 404, 2: 404, 3: 404, 17: 486, 18: 408, 19: 480, 20: 480, 21: 403, 22: 410, 23: 410, 26: 404, 27: 502,
    28: 484, 29: 501, 31: 480, 34: 503, 38: 503, 41: 503, 42: 503, 47: 503, 55: 403, 57: 403, 58: 503,
    65: 488, 70: 488, 79: 501, 87: 403, 88: 503, 102: 504, 111: 500, 127: 500,
}  # fmt: skip
"""The status a cause stands for. 16, a normal end, stands for none, nor does a cause that no table knows."""

PROTOCOL = frozenset((401, 407, 422, 423, 428, 436, 437, 438, 487, 491))
"""Answers that steer the protocol, and mean nothing about the call."""

LOCATIONS = ("U", "LPN", "LN", "TN", "RLN", "RPN", "INTL", "BI")
"""Where a Reason came from (RFC 8606 section 4), besides LOC-0 to LOC-15."""

_LOCATION = re.compile("|".join((*LOCATIONS, "LOC-(?:[0-9]|1[0-5])")).encode())


def is_location(location: bytes) -> bool:
    """Tell whether this is a location of RFC 8606, in upper case."""
    return _LOCATION.fullmatch(location) is not None


def cause_for(status: int, overrides: Mapping[int, int]) -> int:
    """Return the Q.850 cause that agrees with `status` towards a trunk with these overrides; 0 for none."""
    cause = overrides.get(status)
    return SIP_TO_CAUSE.get(status, 0) if cause is None else cause


def status_for(cause: int, by_user: bool, overrides: Mapping[int, int]) -> int:
    """Return the status that a cause from a trunk with these overrides stands for; 0 for none.

    `by_user` says that the location is the user: a user that rejects declines (603), a network forbids (403).
    """
    if not 0 < cause < 128:
        return 0
    status = overrides.get(cause, 0)
    if not status:
        status = 603 if cause == 21 and by_user else CAUSE_TO_STATUS.get(cause, 0)
    return 0 if status in PROTOCOL or status == 608 else status


def cause_name(cause: int) -> str:
    """Return the name of a cause, "" when it has none."""
    return NAMES.get(cause, "")
