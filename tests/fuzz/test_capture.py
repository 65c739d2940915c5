# SPDX-License-Identifier: GPL-2.0-only
"""Whatever a file holds, reading it ends in frames or in one of the project's errors."""

from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gretrace.capture import Frame, read_capture
from gretrace.engine.wanted import Wanted
from gretrace.errors import GretraceError
from gretrace.explain.reading import Reader, Scene
from gretrace.kernel.lookup import Tables
from gretrace.render.record import to_record
from tests.captures import Pcapng, ethernet, pcap
from tests.frames import gre_packet
from tests.unit.cases import A, B, tunnel

PACKET = gre_packet(A, B, key=2, sequence=1, checksum=True)
WHOLE = [
    pcap((10**9, ethernet(PACKET)), (2 * 10**9, ethernet(PACKET)), link=1),
    pcap((10**9, PACKET), (2 * 10**9, PACKET), order=">", nano=True),
    Pcapng()
    .interface(name=b"eth0", resolution=b"\6")
    .packet(1, ethernet(PACKET), flags=b"\1")
    .data,
    Pcapng(">").interface(101).packet(1, PACKET).simple_packet(PACKET).data,
]
TUNNELS = [tunnel(key=2, iseq=True, icsum=True), tunnel(kind="gretap", ifindex=11)]


class Rendered:
    def show(self, _identity, report):
        assert to_record(report)["count"] == report.count

    def finish(self, _reports, _heard):
        pass


def explain(frames):
    reader = Reader(Scene(Tables(TUNNELS)), Wanted())
    with suppress(GretraceError):
        reader.read(frames, None)
    reader.finish(Rendered())
    assert list(reader.remarks()) is not None


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return tmp_path_factory.mktemp("captures") / "capture"


# The first file costs the import of dpkt.
ANY_FILE = settings(deadline=None)


@ANY_FILE
@given(start=st.sampled_from([b"", *(whole[:24] for whole in WHOLE)]), rest=st.binary(max_size=200))
def test_any_bytes_are_read(path, start, rest):
    path.write_bytes(start + rest)
    explain(read_capture(str(path)))


@ANY_FILE
@given(
    whole=st.sampled_from(WHOLE),
    place=st.integers(min_value=0, max_value=400),
    change=st.binary(min_size=1, max_size=8),
    end=st.integers(min_value=0, max_value=400),
)
def test_any_damage_is_survived(path, whole, place, change, end):
    damaged = whole[:place] + change + whole[place + len(change) :]
    path.write_bytes(damaged[:end])
    explain(read_capture(str(path)))


@given(
    packets=st.lists(
        st.tuples(
            st.sampled_from([PACKET[:20], b"\x45" + bytes(8) + b"\x2f" + bytes(10), b""]),
            st.binary(max_size=60),
            st.integers(min_value=0, max_value=70000),
        ),
        max_size=5,
    )
)
def test_any_packets_are_judged(packets):
    explain(
        Frame(number, start + rest, max(length, len(start + rest)))
        for number, (start, rest, length) in enumerate(packets)
    )
