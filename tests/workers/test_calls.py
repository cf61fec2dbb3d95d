"""Calls over several workers, on the virtual wire: the system gives each datagram to any of them."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest

from gateway.b2bua.core import B2bua
from gateway.sip.transaction import Timing
from gateway.sip.uri import unescape
from gateway.workers.endpoint import WorkerEndpoint
from gateway.workers.mesh import Inbox, Mesh
from gateway.workers.notes import Undelivered
from gateway.workers.ownership import OwnTokens, owner_of_call
from gateway.workers.post import Post
from tests.b2bua.watched import hidden, hide
from tests.helpers import CONFIG, GATEWAY, Address, Net, Setup, establish, hang_up, make_setup, text


class WorkersNet(Net):
    """A `Net` whose gateway is several workers. Each datagram goes to one by lot, always the same one."""

    def __init__(self, workers: int, inboxes: list[Inbox], setup: Setup | None = None) -> None:
        super().__init__()
        self.count = workers
        self.random = random.Random(workers)
        numbers = itertools.count(1)
        setup = setup or make_setup()
        self.meshes: list[Mesh] = []
        self.posts: list[Post] = []
        self.endpoints: list[WorkerEndpoint] = []
        self.cores: list[B2bua] = []
        for index in range(workers):
            mesh = Mesh(index, inboxes)
            draw = OwnTokens(lambda: b"%016x" % next(numbers), index, workers)
            endpoint = WorkerEndpoint(self.flows, draw, Timing(), None, mesh)
            core = B2bua(endpoint, setup, (self,))
            self.meshes.append(mesh)
            self.endpoints.append(endpoint)
            self.cores.append(core)
            self.posts.append(Post(mesh, endpoint, core))
            self.stations[GATEWAY if index == 0 else (GATEWAY[0], index)] = endpoint

    def _deliver(self, data: bytes, source: Address, destination: Address, transport: str) -> None:
        if destination[0] != GATEWAY[0]:
            super()._deliver(data, source, destination, transport)
            return
        endpoint = self.random.choice(self.endpoints)
        endpoint.receive([(data, self.flows.get(self.local, source))], self.now)
        self.exchange()

    def exchange(self) -> None:
        """Have all workers read their inboxes until these are empty."""
        busy = True
        while busy:
            busy = False
            for mesh, post in zip(self.meshes, self.posts, strict=True):
                for note in mesh.receive():
                    busy = True
                    assert post.heed(note, self.now)

    @property
    def dialogs(self) -> list[int]:
        """How many dialogs each worker has."""
        return [len(endpoint.dialogs) for endpoint in self.endpoints]


@contextmanager
def working(workers: int, config: str = CONFIG) -> Iterator[WorkersNet]:
    with ExitStack() as stack:
        inboxes = [Inbox.open() for _ in range(workers)]
        for inbox in inboxes:
            stack.callback(inbox.close)
        yield WorkersNet(workers, inboxes, make_setup(config))


@pytest.fixture(params=[2, 3, 4])
def net(request: pytest.FixtureRequest) -> Iterator[WorkersNet]:
    with working(request.param) as net:
        yield net


def owned_by(net: WorkersNet, worker: int) -> str:
    """A Call-ID of a caller's that this worker owns."""
    return next(
        f"{number}@pbx" for number in range(1_000) if owner_of_call(b"%d" % number, net.count) == worker
    )


def test_calls_go_their_way_whoever_receives_what(net: WorkersNet) -> None:
    for number in range(20):
        caller, callee = establish(net, call_id=f"call-{number}")
        ends = (caller, callee) if number % 2 else (callee, caller)
        hang_up(*ends)
    assert len(net.records) == 20
    assert {record.end_reason for record in net.records} == {"bye"}
    assert net.dialogs == [0] * net.count
    assert all(not endpoint.dropped for endpoint in net.endpoints)


def test_both_legs_of_a_call_are_at_the_owner_of_the_callers_call_id(net: WorkersNet) -> None:
    for worker in range(net.count):
        establish(net, call_id=owned_by(net, worker))
        assert net.dialogs[worker] == 2


def test_a_copy_of_a_request_meets_the_first_one(net: WorkersNet) -> None:
    """RFC 3261 8.2.2.2: whichever worker gets the copy, it is one too many."""
    invite = net.pbx.invite(call_id="forked", from_="<sip:a@b>;tag=x")
    net.pbx.invite(call_id="forked", from_="<sip:a@b>;tag=x")
    assert net.pbx.take(100)
    assert net.pbx.take_response(482)
    net.carrier.take_request("INVITE")
    net.pbx.cancel(invite)
    assert net.pbx.inbox


def test_an_invite_may_replace_a_dialog_of_another_worker(net: WorkersNet) -> None:
    """RFC 3891: it goes to the far end of that dialog, which knows it by the names of its own leg."""
    for worker in range(1, net.count):
        caller, callee = establish(net, call_id=owned_by(net, worker))
        replaces = f"{caller.call_id};to-tag={tag_of(caller.remote)};from-tag={tag_of(caller.local)}"
        net.pbx.invite(
            uri="sip:192.0.2.1", call_id=owned_by(net, 0) + str(worker), headers=f"Replaces: {replaces}"
        )
        got = net.carrier.take_request("INVITE")
        named = f"{callee.call_id};to-tag={tag_of(callee.local)};from-tag={tag_of(callee.remote)}"
        assert got.index[b"Replaces"].decode() == named
        net.pbx.inbox.clear()


def test_a_refer_may_name_a_dialog_of_another_worker(net: WorkersNet) -> None:
    """An attended transfer (RFC 5589): the Replaces in Refer-To is renamed for who is to follow it."""
    first, first_callee = establish(net, call_id=owned_by(net, 0))
    second, second_callee = establish(net, call_id=owned_by(net, 1))
    replaces = f"{second.call_id}%3Bto-tag%3D{tag_of(second.remote)}%3Bfrom-tag%3D{tag_of(second.local)}"
    first.request("REFER", headers=f"Refer-To: <sip:x@192.0.2.1?Replaces={replaces}>")
    got = net.carrier.take_request("REFER").index[b"Refer-To"].decode()
    assert second_callee.call_id.replace("@", "%40") in got
    assert tag_of(second_callee.local) in got
    del first_callee


def test_a_name_that_another_workers_dialog_has_passes_where_topology_is_hidden() -> None:
    with working(3, hidden("carrier")) as net:
        test_a_refer_may_name_a_dialog_of_another_worker(net)
        net.carrier.forget()
        test_an_invite_may_replace_a_dialog_of_another_worker(net)


def test_who_is_hidden_from_reaches_a_dialog_of_a_third_trunk_at_another_worker() -> None:
    """RFC 5589 7: what the Call-ID of a peer is called there leads to the worker that has the dialog."""
    config = hide(CONFIG, "carrier", "backup").replace(
        "[[route]]", '[[route]]\nfrom = ["pbx"]\ncalled.prefix = "2"\nto = ["backup"]\n[[route]]', 1
    )
    with working(3, config) as net:
        first, referee = establish(net, call_id=owned_by(net, 0))
        second, other = establish(net, call_id=owned_by(net, 1), callee=net.backup, uri="sip:2002@192.0.2.1")
        named = f"{second.call_id}%3Bto-tag%3D{tag_of(second.remote)}%3Bfrom-tag%3D{tag_of(second.local)}"
        first.request("REFER", headers=f"Refer-To: <sip:2002@192.0.2.1?Replaces={named}>")
        refer_to = net.carrier.take_request("REFER").index[b"Refer-To"]
        assert second.call_id.encode().replace(b"@", b"%40") not in refer_to
        replaces = unescape(refer_to.partition(b"Replaces=")[2].strip(b">")).decode()
        net.carrier.invite(
            uri="sip:2002@192.0.2.1", call_id=owned_by(net, 2), headers=f"Replaces: {replaces}"
        )
        got = net.backup.take_request("INVITE").index[b"Replaces"].decode()
        assert got == f"{other.call_id};to-tag={tag_of(other.local)};from-tag={tag_of(other.remote)}"
        del referee


def test_a_dialog_that_nobody_has_is_refused(net: WorkersNet) -> None:
    headers = "Replaces: nobody@pbx;to-tag=1;from-tag=2"
    for number in range(5):
        net.pbx.invite(uri="sip:192.0.2.1", call_id=f"call-{number}", headers=headers)
        net.pbx.take(100)
        assert net.pbx.take_response(481)


def test_a_call_to_a_contact_that_a_phone_registered_finds_it_from_every_worker(net: WorkersNet) -> None:
    """The first worker has all bindings; the others ask it where a call to one goes."""
    phone = net.peer(("192.0.2.77", 5066), "alice")
    headers = "Contact: <sip:alice@192.0.2.77:5066>\nExpires: 600\nPath: <sip:192.0.2.77:5066;lr>"
    net.pbx.request("REGISTER", uri="sip:192.0.2.1", contact=False, headers=headers)
    got = net.carrier.take_request("REGISTER")
    contact = text(got, b"Contact")
    assert "sip:alice@" not in contact
    net.carrier.reply(got, 200, contact=False, headers=f"Contact: {contact};expires=600")
    assert text(net.pbx.take_response(200), b"Contact").startswith("<sip:alice@192.0.2.77:5066>")
    assert [len(core.contacts) for core in net.cores] == [1] + [0] * (net.count - 1)
    for worker in range(net.count):
        net.carrier.invite(uri=contact[1:-1], call_id=owned_by(net, worker))
        net.carrier.take(100)
        offer = phone.take_request("INVITE")
        assert offer.uri == b"sip:alice@192.0.2.77:5066"
        assert text(offer, b"Route") == "<sip:192.0.2.77:5066;lr>"
        assert net.dialogs[worker] == 0  # it is not answered yet, but it is this worker's call
        assert len(net.cores[worker].calls) == 1
    assert sum(len(core.contacts) for core in net.cores) == 1, "what was asked is not kept"


def test_a_datagram_that_found_nobody_is_told_to_who_sent_it(net: WorkersNet) -> None:
    """ICMP comes to any socket of the address."""
    for worker in range(net.count):
        net.pbx.invite(call_id=owned_by(net, worker))
        net.pbx.take(100)
        sent = net.carrier.raw.pop()
        net.endpoints[(worker + 1) % net.count].undelivered(sent[:400], net.now)
        net.exchange()
        net.run()
        assert net.pbx.take_response(503)


def tag_of(value: str) -> str:
    return value.partition(";tag=")[2]


def test_notes_that_find_no_room_wait_and_are_dropped_beyond_a_bound() -> None:
    inboxes = [Inbox.open(), Inbox.open()]
    sender, receiver = Mesh(0, inboxes), Mesh(1, inboxes)
    note = Undelivered(b"x" * 100_000)
    for _ in range(400):
        sender.tell(1, note)
    assert sender.dropped > 0
    received = 0
    while True:
        sender.settle()
        notes = receiver.receive()
        if not notes:
            break
        received += len(notes)
    assert received + sender.dropped == 400
    for inbox in inboxes:
        inbox.close()
