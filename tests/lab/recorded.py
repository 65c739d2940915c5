# SPDX-License-Identifier: GPL-2.0-only
"""What `--read` says of a capture that was recorded while a fault was explained live.

All of it happens in this process: a socket for each wire of the host records, and the tunnels
that were there go through a file as they do with `--tunnels`.
"""

import json
import socket
import tempfile
from contextlib import ExitStack, contextmanager
from pathlib import Path

from gretrace import library
from gretrace.host.namespaces import entered
from gretrace.kernel import receive
from gretrace.render.listing import Listed, to_record
from tests.captures import SLL, pcap, sll

ETH_P_ALL = 3
IP = {0x0800, 0x86DD}
LARGEST = 1 << 16
# They end on the tunnels' way, but by what neither packets nor tunnels tell: what is loaded,
# which addresses are this host's, and what tunnels other namespaces have.
OF_THE_HOST = {"no-gre-module", "multicast-loop", "wrong-netns"}


class Recording:
    """The packets of a host's wires, and what is said of them."""

    def __init__(self, host, sockets):
        self._host, self._sockets, self._frames = host, sockets, []

    def agrees_with(self, told):
        """Hold reports made live, of faults that a capture shows, against what this one tells.

        Call it while the fault is there: the tunnels are taken as they are now.
        """
        shown = {_identity(r): r for r in told if _is_shown(r)}
        assert shown, told
        read = self._read()
        for identity, live in shown.items():
            assert identity in read, (identity, read)
            captured = read[identity]
            assert captured["count"] == live["count"], (captured, live)
            assert captured["kernel"]["function"].strip("_") == (
                live["kernel"]["function"].strip("_")
            ), (captured, live)
            # The drop program keeps the first bytes of a packet, so a capture may know more.
            if captured["confidence"] == live["confidence"]:
                for key in ("tunnel", "summary"):
                    assert captured[key] == live[key], (captured, live)
        live = {_of(report) for report in told}
        assert not [r for r in read.values() if _of(r) not in live], (read, told)

    def _read(self):
        tunnels = library.live_tunnels(self._host.name)
        with tempfile.TemporaryDirectory() as name:
            capture, table = Path(name, "recorded.pcap"), Path(name, "tunnels.json")
            capture.write_bytes(pcap(*self._recorded(), link=SLL))
            lines = (json.dumps(to_record(Listed(t, {}, None))) + "\n" for t in tunnels)
            table.write_text("".join(lines))
            reports = library.explain_capture(capture, library.read_tunnels(table))
            return {_identity(r): r for r in map(library.to_dict, reports)}

    def _recorded(self):
        for one in self._sockets:
            while True:
                try:
                    data, (_, protocol, kind, *_) = one.recvfrom(LARGEST)
                except BlockingIOError:
                    break
                if protocol in IP:
                    self._frames.append(sll(data, kind))
        # A millisecond apart; when they came changes nothing but for keepalives.
        return [(number * 10**6, frame) for number, frame in enumerate(self._frames)]


def _is_shown(report):
    return report["kernel"]["function"] in receive.FUNCTIONS and report["cause"] not in OF_THE_HOST


def _of(report):
    return report["remote"], report["local"], report["key"]


def _identity(report):
    return report["cause"], *_of(report), tuple(report["flags"]), report["protocol"]


@contextmanager
def recorded(host):
    """Record what comes and goes on the wires of a host until the block ends."""
    with ExitStack() as stack:
        sockets = []
        for device in host.wires:
            with entered(host.namespace):
                one = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, 0)
            stack.enter_context(one)
            one.setblocking(False)
            one.bind((device, ETH_P_ALL))
            sockets.append(one)
        yield Recording(host, sockets)
