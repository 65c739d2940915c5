# SPDX-License-Identifier: GPL-2.0-only
"""What `import gretrace` offers does not change unnoticed."""

import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest

import gretrace
from tests.captures import SECOND, pcap
from tests.frames import gre_packet
from tests.unit.cases import A, B, tunnel

DOCS = Path(__file__).parents[2] / "docs/library.md"
SIGNATURES = {
    "explain_capture": "(path: str | os.PathLike[str], tunnels: collections.abc.Sequence["
    "gretrace.model.tunnel.Tunnel]) -> collections.abc.Iterator[gretrace.model.report.Report]",
    "follow_drops": "(netns: str | None = None, *, remote: str | ipaddress.IPv4Address | "
    "ipaddress.IPv6Address | None = None, local: str | ipaddress.IPv4Address | "
    "ipaddress.IPv6Address | None = None, key: int | None = None, duration: float | None = None, "
    "capacity: int = 16384, engine: str = 'auto') -> "
    "collections.abc.Iterator[collections.abc.Iterator[gretrace.model.report.Report]]",
    "live_tunnels": "(netns: str | None = None) -> list[gretrace.model.tunnel.Tunnel]",
    "look_up": "(remote: str | ipaddress.IPv4Address | ipaddress.IPv6Address, local: str | "
    "ipaddress.IPv4Address | ipaddress.IPv6Address, tunnels: collections.abc.Sequence["
    "gretrace.model.tunnel.Tunnel], *, key: int | None = None, protocol: int = 2048, "
    "iif: str | None = None) -> gretrace.kernel.lookup.terms.Answer",
    "read_tunnels": "(path: str | os.PathLike[str]) -> list[gretrace.model.tunnel.Tunnel]",
    "to_dict": "(report: gretrace.model.report.Report | gretrace.kernel.lookup.terms.Answer) -> "
    "dict[str, typing.Any]",
}
# What a program may read of the values; more may come, none may go.
FIELDS = {
    "Tunnel": {"name", "ifindex", "netns", "kind", "local", "remote", "ikey", "okey", "up", "mtu"},
    "Report": {"verdict", "tuple", "count", "first_ns", "last_ns", "iif", "namespace"},
    "Answer": {"query", "tunnel", "fallback", "decided_by", "candidates", "iif", "netns"},
}
ERRORS = {"GretraceError", "PrerequisiteError", "UsageError"}


def test_the_names_are_these_and_no_others():
    assert set(gretrace.__all__) == set(SIGNATURES) | set(FIELDS) | ERRORS
    assert set(gretrace.__all__) <= set(dir(gretrace))


@pytest.mark.parametrize("name", SIGNATURES)
def test_the_signatures_stay(name):
    assert str(inspect.signature(getattr(gretrace, name))) == SIGNATURES[name]


@pytest.mark.parametrize("name", FIELDS)
def test_the_fields_stay(name):
    assert set(getattr(gretrace, name).__dataclass_fields__) >= FIELDS[name]


def test_each_name_is_described():
    text = DOCS.read_text()
    assert [name for name in gretrace.__all__ if f"{name}" not in text] == []


def test_nothing_is_imported_before_it_is_asked_for():
    code = "import gretrace, sys; print([m for m in sys.modules if m.startswith('gretrace.')])"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout == "[]\n"
    with pytest.raises(AttributeError, match="nothing"):
        gretrace.nothing  # noqa: B018


def test_a_capture_is_explained(tmp_path):
    capture = tmp_path / "gre.pcap"
    packets = [(n * SECOND, gre_packet(A, B, key=2)) for n in range(3)]
    capture.write_bytes(pcap(*packets)[:-2])
    reports = gretrace.explain_capture(capture, [tunnel(key=1)])
    first = next(reports)
    assert (first.verdict.cause, first.verdict.finding.tunnel, first.count) == (
        "key-mismatch", "gre1", 2,
    )  # fmt: skip
    assert gretrace.to_dict(first)["cause"] == "key-mismatch"
    with pytest.raises(gretrace.GretraceError, match="in the middle"):
        next(reports)
    with pytest.raises(gretrace.UsageError):
        next(gretrace.explain_capture(tmp_path / "none", []))


def test_a_packet_is_looked_up():
    tunnels = [tunnel(key=1), tunnel("gre2", key=2, ifindex=11)]
    assert gretrace.look_up(A, B, tunnels, key=2).tunnel == "gre2"
    missed = gretrace.look_up(A, B, tunnels)
    assert missed.tunnel is None
    assert missed.candidates[0].mismatches == ("key",)
    assert gretrace.to_dict(missed)["candidates"][0]["mismatches"] == ["key"]
    for remote, local in ((A, "fd00::1"), ("nonsense", B)):
        with pytest.raises(gretrace.UsageError):
            gretrace.look_up(remote, local, tunnels)


def test_the_tunnels_of_the_host_are_read():
    assert isinstance(gretrace.live_tunnels(), list)
    with pytest.raises(gretrace.UsageError):
        gretrace.live_tunnels("/nowhere")


def test_the_code_in_the_docs_is_python():
    for block in re.findall(r"```python\n(.*?)```", DOCS.read_text(), re.DOTALL):
        compile(block, str(DOCS), "exec")
