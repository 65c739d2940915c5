# SPDX-License-Identifier: GPL-2.0-only
"""`gretrace check` in kernels that have it all, and what it says when something is amiss."""

from tests.lab.hosts import pair, tunnel, tunnel_b
from tests.lab.session import gretrace


def checks(host):
    done = gretrace(host, "check", "-o", "json")
    return done, {record["check"]: record for record in done.records}


def test_everything_is_there_and_the_remedies_help():
    with pair() as (_, b):
        tunnel_b(b)
        b.ip("link set gre1 mtu 1500", "link set gre0 up")
        done, made = checks(b)
        assert done.exit_code == 0, done.stdout
        for name in ("privileges", "GRE over IPv4", "BTF", "explain-drop", "lookup --follow"):
            assert made[name]["state"] == "ok", made[name]
        wrong = [name for name, record in made.items() if record["state"] == "warning"]
        assert wrong == ["gre0", "gre1", "keepalives on gre1"]
        for name in wrong[:2]:
            b.shell(made[name]["remedy"].split(";")[0])
        assert gretrace(b, *made[wrong[2]]["remedy"].split()[1:]).exit_code == 0
        _, made = checks(b)
        assert "gre0" not in made
        assert made["gre1"]["found"] == "MTU 1476; TCP MSS 1436"
        assert made["keepalives on gre1"]["found"] == "answered by gretrace on tc"


def test_the_kernels_own_answer_is_seen():
    with pair() as (_, b):
        tunnel_b(b)
        _, made = checks(b)
        needed = made["keepalives on gre1"]["found"].partition("would need ")[2].split(", ")
        b.sysctl(*needed)
        _, made = checks(b)
        assert made["keepalives on gre1"]["found"] == "answered by the kernel itself"


def test_a_tunnel_to_nowhere():
    with pair() as (_, b):
        tunnel(b, "local 20.1.1.1 remote 99.9.9.9", name="lost")
        _, made = checks(b)
        assert made["lost"]["found"] == "there is no route to its remote 99.9.9.9"
