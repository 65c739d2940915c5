# SPDX-License-Identifier: GPL-2.0-only
"""What the kernel makes of its settings."""

import pytest

from gretrace.kernel.settings import (
    accepts_own,
    assignments,
    forwards,
    missing_for_keepalives,
    reverse_path,
    setting_name,
    without_reverse_path,
)

NEEDED = {
    "net.ipv4.conf.gre1.forwarding": 1,
    "net.ipv4.conf.gre1.accept_local": 1,
    "net.ipv4.conf.all.rp_filter": 0,
    "net.ipv4.conf.gre1.rp_filter": 0,
}


def read(**settings):
    """A host with these settings of devices; `all_rp_filter` is net.ipv4.conf.all.rp_filter."""
    names = {name.partition("_")[::2]: value for name, value in settings.items()}
    return {setting_name(*name): str(value) for name, value in names.items()}.get


def answering(**changes):
    """A host whose kernel answers keepalives on gre1, but for some settings."""
    settings = {"gre1_forwarding": 1, "gre1_accept_local": 1, "all_rp_filter": 0}
    return read(**{**settings, "gre1_rp_filter": 0, **changes})


def test_all_that_the_kernel_needs_to_answer_keepalives_is_told_at_once():
    assert missing_for_keepalives({}.get, "gre1", 4) == NEEDED
    assert missing_for_keepalives(answering(), "gre1", 4) == {}
    assert missing_for_keepalives({}.get, "gre1", 6) == {"net.ipv6.conf.all.forwarding": 1}


@pytest.mark.parametrize(
    ("changes", "missing"),
    [
        # To accept own addresses is enough for all devices, or for one.
        ({"gre1_accept_local": 0, "all_accept_local": 1}, []),
        ({"gre1_accept_local": 0, "all_accept_local": 0}, ["net.ipv4.conf.gre1.accept_local"]),
        # net.ipv4.ip_forward is but the default of the devices' own.
        ({"gre1_forwarding": 0, "all_forwarding": 1}, ["net.ipv4.conf.gre1.forwarding"]),
        ({"all_forwarding": 0}, []),
        # The stricter of two counts.
        ({"all_rp_filter": 2}, ["net.ipv4.conf.all.rp_filter"]),
        ({"gre1_rp_filter": 1}, ["net.ipv4.conf.gre1.rp_filter"]),
    ],
)
def test_what_keeps_the_kernel_from_answering(changes, missing):
    assert list(missing_for_keepalives(answering(**changes), "gre1", 4)) == missing


def test_over_ipv6_the_device_must_have_ipv6():
    settings = {"net.ipv6.conf.all.forwarding": "1", "net.ipv6.conf.gre1.disable_ipv6": "1"}
    disabled = {"net.ipv6.conf.gre1.disable_ipv6": 0}
    assert missing_for_keepalives(settings.get, "gre1", 6) == disabled


def test_names_and_values_as_sysctl_takes_them():
    assert setting_name("gre1.5", "forwarding", 6) == "net.ipv6.conf.gre1/5.forwarding"
    assert assignments({"a.b": 1, "c": 0}) == ["a.b=1", "c=0"]


def test_the_greater_rp_filter_counts():
    assert reverse_path(read(all_rp_filter=2, gre1_rp_filter=1), "gre1") == 2
    assert reverse_path(read(gre1_rp_filter=1), "gre1") == 1
    assert reverse_path({}.get, "gre1") is None
    off = without_reverse_path(read(all_rp_filter=0, gre1_rp_filter=1), "gre1")
    assert off == {"net.ipv4.conf.gre1.rp_filter": 0}


def test_what_is_not_known():
    assert forwards({}.get, "gre1", 4) is None
    assert forwards(read(gre1_forwarding=0), "gre1", 4) is False
    assert forwards({"net.ipv6.conf.all.forwarding": "1"}.get, "gre1", 6) is True
    assert accepts_own({}.get, "gre1") is False
