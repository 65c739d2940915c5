# SPDX-License-Identifier: GPL-2.0-only
"""Debian's own promtool takes what serve tells, and the rules for it."""

import pytest


@pytest.fixture(scope="module")
def prometheus(built):
    """The system that the package was built in, with the package and Debian's prometheus."""
    deb = f"/build/one/{built.deb.name}"
    built.root.install("prometheus", "python3-prometheus-client", "iproute2", deb)
    return built.root


@pytest.mark.parametrize("what", ["check rules gretrace.rules.yml",
                                  "test rules gretrace.rules.test.yml"])  # fmt: skip
def test_the_rules_are_sound_and_do_what_they_are_for(prometheus, what):
    assert "SUCCESS" in prometheus.shell(f"cd /build/one/gretrace/prometheus && promtool {what}")


def test_the_metrics_are_as_the_conventions_have_them(prometheus):
    # Metrics of drops and of a tunnel, where this kernel has GRE, or of drops alone.
    said = prometheus.shell(
        """
        cd $(mktemp -d)
        ip netns add gt-prom
        trap 'ip netns del gt-prom' EXIT
        ip -n gt-prom link set lo up
        gretrace serve --netns gt-prom --textfile $PWD/x.prom --ready-file $PWD/ready 2>said &
        until [[ -e ready ]]; do sleep 0.1; done
        ip netns exec gt-prom python3 -c 'import socket
s = socket.socket(socket.AF_INET, socket.SOCK_RAW, 47)
s.sendto(bytes.fromhex("20000800") + bytes(30), ("127.0.0.1", 0))'
        ip -n gt-prom link add gre1 type gre local 20.1.1.1 remote 20.1.1.2 2>/dev/null || true
        until [[ -e x.prom ]]; do sleep 0.1; done
        promtool check metrics < x.prom && grep -c ^gretrace_ x.prom
        kill %1; wait %1
        """
    )
    assert int(said.splitlines()[-1]) > 10, said
