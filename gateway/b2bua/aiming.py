"""Dialogs whose next hop is a host name: where their requests go (RFC 3263 4, RFC 3261 12.2.1.1).

A peer may name itself in Contact or Record-Route. What the name stands for may have to be asked for, and
what goes out meanwhile goes where the peer was last heard from. A dialog that talks to one of the name's
addresses already stays with it: a draw among equals would take it to another server in the middle of a call.
The name's other addresses are for where that one fails (``elsewhere.py``).
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from gateway.addresses import parse_ip
from gateway.routing.locate import Address, default_port, target_of_uri
from gateway.sip.dialog import Dialog
from gateway.sip.uri import Uri

if TYPE_CHECKING:
    from .core import B2bua


class Aiming:
    """Looks the next hops of dialogs up."""

    def __init__(self, core: B2bua) -> None:
        self._core = core

    def aim(self, dialog: Dialog, uri: Uri, transport: str) -> None:
        """Point ``dialog`` at the host that ``uri`` names, now or as soon as its addresses are known."""
        target = target_of_uri(uri)
        if parse_ip(target.host) is not None:
            return  # an address that no listening point of ours reaches
        port = uri.port or default_port(transport)
        target = replace(target, transport=transport, port=port, naptr=False)  # the transport is settled
        waiter = _Waiter(self._core, dialog)
        now = self._core.endpoint.now
        addresses = self._core.locator.locate(target, waiter, now)
        if addresses is not None:
            waiter.on_located(addresses, now)


class _Waiter:
    """A dialog that waits for the addresses of its next hop."""

    __slots__ = ("_core", "_dialog", "_hop")

    def __init__(self, core: B2bua, dialog: Dialog) -> None:
        self._core = core
        self._dialog = dialog
        self._hop = dialog.first_hop()

    def on_located(self, addresses: tuple[Address, ...], _now: float) -> None:
        """Take the addresses in the order of trying; none leaves the dialog's flow as it is."""
        dialog, core = self._dialog, self._core
        if dialog.first_hop() != self._hop:
            return  # it has gone on to another target meanwhile
        flow = dialog.flow
        found = [
            there
            for address in sorted(addresses, key=core.health.is_resting)
            if (there := core.endpoint.flows.towards(*address, flow.trunk, flow.local)) is not None
        ]
        if not found:
            return
        if Address(flow.peer[0], flow.peer[1], flow.local.transport) not in addresses:
            flow = dialog.flow = found[0]
        # The Contact of a request under way names its listening point, so what comes after keeps to that.
        dialog.others = tuple(
            other for other in found if other.peer != flow.peer and other.local is flow.local
        )
