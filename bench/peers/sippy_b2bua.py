"""sippy's B2BUA between a caller and a carrier: what its b2bua_simple does, and a 603 becomes a 404.

Two legs a call, as the gateway has. It keeps no log and no accounts: so it is at its fastest.

    python sippy_b2bua.py PORT CARRIER-PORT
"""

from __future__ import annotations

import sys
from typing import Any

from sippy.CCEvents import CCEventDisconnect, CCEventFail, CCEventTry
from sippy.Core.EventDispatcher import ED2
from sippy.SipConf import SipConf
from sippy.SipTransactionManager import SipTransactionManager
from sippy.UA import UA

HOST = "127.0.0.1"


class NoLog:
    """A log that nobody keeps."""

    def write(self, *_: object, **__: object) -> None:
        """Forget a line."""


class Call:
    """Two user agents that hear one another's events."""

    def __init__(self, config: dict[str, Any]) -> None:
        self._config = config
        self.caller = UA(config, self.hear)
        self._callee: UA | None = None

    def hear(self, event: Any, agent: Any) -> None:
        """Pass an event on to the other leg."""
        if agent is not self.caller:
            if isinstance(event, CCEventFail) and event.getData()[0] == 603:
                event.data = (404, "Not Found")
            self.caller.recvEvent(event)
        elif self._callee is not None:
            self._callee.recvEvent(event)
        elif isinstance(event, CCEventTry):
            self._callee = UA(self._config, event_cb=self.hear, nh_address=self._config["carrier"])
            self._callee.recvEvent(event)
        else:
            self.caller.recvEvent(CCEventDisconnect())


def main() -> None:
    """Serve until the process is ended."""
    SipConf.my_uaname = "sippy"
    config: dict[str, Any] = {
        "_sip_address": HOST,
        "_sip_port": int(sys.argv[1]),
        "_sip_logger": NoLog(),
        "carrier": (HOST, int(sys.argv[2])),
    }

    def receive(request: Any, transaction: Any) -> Any:
        if request.getHFBody("to").getTag() is not None:
            return request.genResponse(481, "Call Leg/Transaction Does Not Exist"), None, None
        if request.getMethod() == "INVITE":
            return Call(config).caller.recvRequest(request, transaction)
        return request.genResponse(501, "Not Implemented"), None, None

    config["_sip_tm"] = SipTransactionManager(config, receive)
    ED2.loop()


if __name__ == "__main__":
    main()
