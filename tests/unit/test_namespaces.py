# SPDX-License-Identifier: GPL-2.0-only
import os
from pathlib import Path

import pytest

from gretrace.commands import HERE, Netns
from gretrace.errors import UsageError
from gretrace.host.namespaces import (
    Namespace,
    all_namespaces,
    entered,
    find_namespace,
    own_namespace,
)


def test_a_process_names_its_namespace():
    assert find_namespace(str(os.getpid())) == own_namespace()
    assert find_namespace("/proc/self/ns/net") == own_namespace()
    assert own_namespace().name is None


def test_what_does_not_exist_is_refused():
    for spec in ("nowhere", "999999999", "/nowhere", "", "."):
        with pytest.raises(UsageError, match="there is no network namespace"):
            find_namespace(spec)


def test_our_own_is_the_first_of_all():
    assert all_namespaces()[0] == own_namespace()


def test_commands_reach_each_namespace():
    assert own_namespace().reached == HERE
    assert Namespace(1, Path("/run/netns/blue"), "blue").reached == Netns("blue")
    assert Namespace(1, Path("/proc/7/ns/net"), "7").reached == Netns(path="/proc/7/ns/net")


def test_to_enter_our_own_is_nothing():
    with entered(own_namespace()):
        assert own_namespace() == find_namespace(str(os.getpid()))
