"""Twinkle, a softphone with attended transfer and redirection, as a process that a test steers."""

from __future__ import annotations

import time

import pytest

from tests.e2e.peers import Lab, Peer, need

_NO_SOUND = "pcm.!default { type null }\nctl.!default { type null }\npcm.null { type null }\n"
_SYSTEM = """\
sip_port={port}
rtp_port={rtp_port}
dev_ringtone=alsa:null
dev_speaker=alsa:null
dev_mic=alsa:null
validate_audio_dev=no
play_ringtone=no
play_ringback=no
log_show_sip=yes
"""
_USER = """\
user_name={name}
user_domain={gateway}
register_at_startup=no
pres_publish_startup=no
sip_transport=udp
ask_user_to_refer=no
ask_user_to_redirect=no
nat_public_ip={host}
"""
# A PUBLISH at its start would reach whoever plays the other phones, if that one is quick enough to be there.
# Without nat_public_ip it finds no address of its own to speak from on loopback.


class Twinkle(Peer):
    """One phone with one user, whose requests all go to the gateway."""

    def __init__(self, lab: Lab, name: str, port: int) -> None:
        need("twinkle-console")
        home = lab.folder / name
        (home / ".twinkle").mkdir(parents=True)
        (home / ".asoundrc").write_text(_NO_SOUND)
        rtp_port = 40_000 + len(lab.peers) * 20
        (home / ".twinkle" / "twinkle.sys").write_text(_SYSTEM.format(port=port, rtp_port=rtp_port))
        user = _USER.format(name=name, gateway=lab.at(lab.gateway_port), host=lab.host)
        (home / ".twinkle" / "phone.cfg").write_text(user)
        self._log = home / ".twinkle" / "twinkle.log"
        self._heard = 0
        super().__init__(
            name, ("env", f"HOME={home}", "twinkle-console", "phone.cfg"), lab.folder, steered=True
        )
        lab.peers.append(self)
        lab.wait_bound(self, port)

    def do(self, command: str) -> None:
        """Give it a command, as a person would type it."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{command}\n".encode())
        self.process.stdin.flush()

    def waits_for(self, words: str, limit: float = 15.0) -> None:
        """Read what it prints until these words; the test fails when they do not come."""
        deadline = time.monotonic() + limit
        while time.monotonic() < deadline:
            said = self.errors.read_bytes()
            at = said.find(words.encode(), self._heard)
            if at >= 0:
                self._heard = at + len(words)
                return
            time.sleep(0.05)
        pytest.fail(f"{self.name} did not say {words!r}\n{self.evidence()}")

    def stop(self) -> int:
        """End it."""
        if self.process.stdin is not None:
            self.process.stdin.close()
        return super().stop()
