"""What a worker does with what the others send it about calls; no I/O but their inboxes."""

from __future__ import annotations

from gateway.b2bua.core import B2bua
from gateway.sip.endpoint import Endpoint

from .endpoint import WorkerEndpoint
from .inquiries import Inquiries
from .mesh import Mesh
from .notes import FlowLost, HandedOver, Inquiry, Note, Rest, Undelivered


class Post:
    """The calls' part of one worker's post."""

    def __init__(self, mesh: Mesh, endpoint: WorkerEndpoint, b2bua: B2bua) -> None:
        self._endpoint = endpoint
        self._b2bua = b2bua
        self._inquiries = Inquiries(mesh, endpoint, b2bua)
        b2bua.health.on_rest = lambda address, until: mesh.tell_others(Rest(address, until))

    def heed(self, note: Note, now: float) -> bool:
        """Do what a note asks for; tell whether it was about calls."""
        endpoint = self._endpoint
        if isinstance(note, HandedOver):
            flow_of = endpoint.book.flow_of
            flows = [(flow_of(*name), messages) for name, messages in note.messages]
            endpoint.handle([(data, flow) for flow, messages in flows for data in messages], now)
        elif isinstance(note, Inquiry):
            self._inquiries.heed(note, now)
        elif isinstance(note, FlowLost):
            endpoint.far_flow_lost(note.flow, now, note.reached)
        elif isinstance(note, Undelivered):
            Endpoint.undelivered(endpoint, note.data, now)
        elif isinstance(note, Rest):
            self._b2bua.health.rest_until(note.address, note.until)
        else:
            return False
        return True
