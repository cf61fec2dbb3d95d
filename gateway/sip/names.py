"""The header names that we know, in the spelling of their RFCs, and their compact forms (RFC 3261 7.3.3)."""

from __future__ import annotations

NAMES = (
    b"Accept Accept-Contact Accept-Encoding Accept-Language Accept-Resource-Priority Additional-Identity "
    b"Alert-Info Allow Allow-Events Answer-Mode Authentication-Info Authorization Call-ID Call-Info "
    b"Cellular-Network-Info Contact Content-Disposition Content-Encoding Content-ID Content-Language "
    b"Content-Length Content-Type CSeq Date Diversion Encryption Error-Info Event Expires Feature-Caps "
    b"Flow-Timer From Geolocation Geolocation-Error Geolocation-Routing Hide History-Info Identity "
    b"Identity-Info In-Reply-To Info-Package Join Max-Breadth Max-Forwards MIME-Version Min-Expires Min-SE "
    b"Organization Origination-Id P-Access-Network-Info P-Answer-State P-Asserted-Identity "
    b"P-Asserted-Service P-Associated-URI P-Called-Party-ID P-Charge-Info P-Charging-Function-Addresses "
    b"P-Charging-Vector P-DCS-Billing-Info P-Early-Media P-Media-Authorization P-Preferred-Identity "
    b"P-Preferred-Service P-Private-Network-Indication P-Profile-Key P-Refused-URI-List P-Served-User "
    b"P-User-Database P-Visited-Network-ID Path Permission-Missing Policy-Contact Policy-ID Priority "
    b"Priority-Share Priority-Verstat Priv-Answer-Mode Privacy Proxy-Authenticate Proxy-Authorization "
    b"Proxy-Require RAck Reason Reason-Phrase Record-Route Recv-Info Refer-Events-At Refer-Sub Refer-To "
    b"Referred-By Reject-Contact Relayed-Charge Remote-Party-ID Replaces Reply-To Request-Disposition "
    b"Require Resource-Priority Resource-Share Response-Key Response-Source Restoration-Info Retry-After "
    b"Route RSeq Security-Client Security-Server Security-Verify Server Service-Interact-Info "
    b"Service-Route Session-Expires Session-ID SIP-ETag SIP-If-Match Subject Subscription-State Supported "
    b"Suppress-If-Match Target-Dialog Timestamp To Trigger-Consent Unsupported User-Agent User-to-User "
    b"Via Warning WWW-Authenticate X-CID"
).split()
COMPACT = {
    b"a": b"Accept-Contact", b"b": b"Referred-By", b"c": b"Content-Type", b"d": b"Request-Disposition",
    b"e": b"Content-Encoding", b"f": b"From", b"i": b"Call-ID", b"j": b"Reject-Contact",
    b"k": b"Supported", b"l": b"Content-Length", b"m": b"Contact", b"n": b"Identity-Info",
    b"o": b"Event", b"r": b"Refer-To", b"s": b"Subject", b"t": b"To", b"u": b"Allow-Events",
    b"v": b"Via", b"x": b"Session-Expires", b"y": b"Identity",
}  # fmt: skip
BY_LOWER = {name.lower(): name for name in NAMES} | COMPACT
# Spellings met at once, without folding case: the RFC's, lower, upper and compact.
KEYS = (
    {name: name for name in NAMES}
    | BY_LOWER
    | {name.upper(): name for name in NAMES}
    | {short.upper(): name for short, name in COMPACT.items()}
)
