# SPDX-License-Identifier: GPL-2.0-only
"""`gretrace check`: what is looked at, what is said of it, and how it ends."""

import json
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from gretrace.checks import State, kernel, registry, tunnels
from gretrace.checks.registry import Check, Machine, run_all
from gretrace.errors import PrerequisiteError
from gretrace.host import features
from gretrace.host.namespaces import Namespace
from gretrace.kernel.lookup import Tables
from gretrace.model import Route
from gretrace.render.checks import to_lines, to_text
from tests.unit.cases import NETNS, tunnel


class FakeHost:
    def __init__(self, settings=None, mtu=1500):
        self.settings, self.mtu = settings or {}, mtu

    def sysctl(self, name):
        return self.settings.get(name)

    def route(self, _remote):
        return Route(device=7, mtu=self.mtu) if self.mtu else Route()


def machine(*own, **host):
    table = SimpleNamespace(
        tables=Tables(own), namespace=Namespace(NETNS, Path("/run/netns/b"), "b")
    )
    return Machine(table, FakeHost(**host))


def found(look, *own, **host):
    return [
        (c.name, c.state.value, c.remedy and str(c.remedy)) for c in look(machine(*own, **host))
    ]


def test_a_check_that_cannot_be_made_says_so_and_the_others_follow(monkeypatch):
    def lacks(_machine):
        raise PrerequisiteError("no BTF", "boot another kernel")

    def breaks(_machine):
        raise OSError(13, "Permission denied")

    def goes(_machine):
        yield Check("c", State.OK, "fine")

    monkeypatch.setattr(registry, "CHECKS", [("a", lacks), ("b", breaks), ("c", goes)])
    made = list(run_all(machine()))
    assert made == [
        Check("a", State.MISSING, "no BTF", "boot another kernel"),
        Check("b", State.WARNING, "cannot be looked at (Permission denied)"),
        Check("c", State.OK, "fine"),
    ]
    assert to_text(made, color=False).splitlines()[1] == "            -> boot another kernel"
    assert json.loads(to_lines(made).splitlines()[2]) == {
        "check": "c",
        "state": "ok",
        "found": "fine",
        "remedy": None,
    }


def test_a_fallback_device_that_is_up():
    gre0 = tunnel("gre0", local=None, remote=None, fallback=True)
    look = tunnels.fallback_devices
    assert found(look, gre0) == [("gre0", "warning", "ip -n b link set dev gre0 down")]
    assert found(look, replace(gre0, up=False), tunnel()) == []


@pytest.mark.parametrize(
    ("more", "fits"),
    [
        ({}, 1476),
        ({"key": 1}, 1472),
        ({"key": 1, "ocsum": True, "oseq": True}, 1464),
        ({"kind": "gretap"}, 1462),
        ({"kind": "erspan", "key": 1}, 1450),
        ({"kind": "erspan", "key": 1, "erspan_version": 2}, 1446),
        ({"kind": "ip6gre", "local": "fd00::1", "remote": "fd00::2"}, 1448),
    ],
)
def test_the_mtu_that_fits(more, fits):
    assert found(tunnels.tunnel_devices, tunnel(mtu=fits, **more))[0][1] == "ok"
    ((name, state, remedy),) = found(tunnels.tunnel_devices, tunnel(mtu=fits + 1, **more))
    assert (name, state) == ("gre1", "warning")
    assert remedy == f"ip -n b link set dev gre1 mtu {fits}"


def test_a_tunnel_that_is_down_or_leads_nowhere():
    assert found(tunnels.tunnel_devices, tunnel(up=False))[0][1] == "warning"
    ((_, state, remedy),) = found(tunnels.tunnel_devices, tunnel(mtu=1476), mtu=None)
    assert (state, remedy) == ("warning", "ip -n b route get 20.1.1.2")


def test_a_tunnel_whose_keepalives_nobody_answers(monkeypatch):
    monkeypatch.setattr(tunnels, "entered", nullcontext)
    monkeypatch.setattr(tunnels.responder, "read", lambda _ifindex: None)
    settings = {"net.ipv4.conf.all.accept_local": "1", "net.ipv4.conf.gre1.forwarding": "1"}
    (check,) = tunnels.keepalives(machine(tunnel(), settings=settings))
    assert check.state is State.WARNING
    needed = "net.ipv4.conf.all.rp_filter=0, net.ipv4.conf.gre1.rp_filter=0"
    assert check.found == f"not answered; the kernel itself would need {needed}"
    settings |= dict(setting.split("=") for setting in needed.split(", "))
    (check,) = tunnels.keepalives(machine(tunnel(), settings=settings))
    assert (check.state, check.found) == (State.OK, "answered by the kernel itself")


@pytest.mark.parametrize(
    ("how", "states"),
    [
        ("loaded", ["ok", "ok"]),
        ("built in", ["ok", "ok"]),
        ("loadable", ["warning", "absent"]),
        (None, ["missing", "absent"]),
    ],
)
def test_gre_in_the_kernel(monkeypatch, how, states):
    monkeypatch.setattr(features, "module_state", lambda _module: how)
    assert [state for _, state, _ in found(kernel.gre_in_the_kernel)] == states


def test_missing_capabilities_are_named(monkeypatch):
    monkeypatch.setattr(features, "lacking_capabilities", lambda: ["CAP_BPF"])
    assert found(kernel.privileges) == [("privileges", "missing", "run with sudo, or give CAP_BPF")]


def test_conntrack_without_gre(monkeypatch):
    monkeypatch.setattr(features, "module_state", lambda _module: "loaded")
    assert found(kernel.connection_tracking)[0][1] == "warning"
    timeout = {"net.netfilter.nf_conntrack_gre_timeout": "30"}
    assert found(kernel.connection_tracking, settings=timeout)[0][1] == "ok"
    monkeypatch.setattr(features, "module_state", lambda _module: None)
    assert found(kernel.connection_tracking) == []
