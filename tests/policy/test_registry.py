# SPDX-License-Identifier: GPL-2.0-only
"""Every cause is complete: named by the contract, tested alone, documented.

That each was broken in the lab of each kernel is tested at the end of script/test, by what the
lab recorded: tests/causes.py.
"""

from pathlib import Path

from gretrace.verdicts import CAUSES
from gretrace.verdicts.doubts import DOUBTS
from gretrace.verdicts.table import causes_page

ROOT = Path(__file__).parents[2]

# The names that users' scripts depend on.
CONTRACT = [
    "no-gre-module",
    "malformed-gre",
    "unsupported-version",
    "bad-checksum",
    "multicast-loop",
    "firewall-outer",
    "outer-corrupt",
    "fragment-lost",
    "local-address-missing",
    "encap-port-closed",
    "ipsec-policy",
    "conntrack-full",
    "rp-filter-outer",
    "key-mismatch",
    "key-missing",
    "key-unexpected",
    "nat-remote",
    "local-mismatch",
    "tunnel-down",
    "wrong-type",
    "wrong-netns",
    "no-tunnel",
    "fallback-taken",
    "checksum-policy",
    "sequence-policy",
    "sequence-old",
    "ecn",
    "truncated-inner",
    "rp-filter",
    "martian-source",
    "keepalive-unanswered",
    "health-check-unanswered",
    "no-handler",
    "mpls",
    "bridge-refused",
    "martian-destination",
    "forwarding-off",
    "ipv6-disabled",
    "no-route",
    "firewall",
    "tc-drop",
    "xdp-drop",
    "mtu",
    "no-neighbour",
    "tx-no-route",
    "tx-loop",
    "tx-ipsec",
    "tx-mtu",
    "tx-no-neighbour",
    "tx-no-metadata",
    "tx-no-nbma",
    "tx-link-down",
    "tx-remote-own",
    "tx-queue-full",
    "tx-needs-device",
    "tx-encap-limit",
    "tx-wireguard",
    "other",
]


def test_names_are_those_of_the_contract_and_unique():
    names = [cause.name for cause in CAUSES]
    assert sorted(names) == sorted(CONTRACT)


def test_every_cause_says_what_it_means():
    for cause in CAUSES:
        assert cause.meaning
        assert cause.recognise.__doc__


def test_every_cause_says_how_sure_it_is():
    assert DOUBTS.keys() == {cause.name for cause in CAUSES}


def test_the_page_of_causes_is_the_one_that_the_registry_makes():
    page = (ROOT / "docs" / "causes.md").read_text()
    assert page == causes_page(), "run python -m gretrace.verdicts.table > docs/causes.md"


def test_the_last_resort_is_the_last():
    assert [cause.last_resort for cause in CAUSES] == [False] * (len(CAUSES) - 1) + [True]
