# SPDX-License-Identifier: GPL-2.0-only
"""What root writes, reads and runs is where only root could have put it."""

import os
import stat
from pathlib import Path

import pytest

from gretrace.cli.options import Voice, announce_ready, clear_ready
from gretrace.engine import layout
from gretrace.errors import UsageError
from gretrace.host.firewall import listing
from gretrace.host.namespaces import own_namespace

FIELDS = [("sk_buff", "dev"), ("sk_buff", "len")]
QUIET = Voice(verbose=False)


def test_a_ready_file_of_an_earlier_run_does_not_survive(tmp_path):
    ready = tmp_path / "ready"
    ready.touch()
    assert clear_ready(ready) == ready
    assert not ready.exists()
    clear_ready(ready)
    announce_ready(QUIET, ready)
    assert ready.read_bytes() == b""


def test_a_link_in_the_place_of_the_ready_file_is_taken_away_not_followed(tmp_path):
    precious = tmp_path / "precious"
    precious.write_text("kept")
    ready = tmp_path / "ready"
    ready.symlink_to(precious)
    clear_ready(ready)
    assert not ready.is_symlink()
    assert precious.read_text() == "kept"


@pytest.mark.parametrize("target", ["precious", "missing"])
def test_a_link_that_came_meanwhile_is_not_followed_either(tmp_path, target):
    (tmp_path / "precious").write_text("kept")
    (tmp_path / "ready").symlink_to(tmp_path / target)
    with pytest.raises(UsageError, match="cannot make the ready file"):
        announce_ready(QUIET, tmp_path / "ready")
    assert not (tmp_path / "missing").exists()
    assert (tmp_path / "precious").read_text() == "kept"


def test_a_file_with_something_in_it_is_no_ready_file(tmp_path):
    precious = tmp_path / "precious"
    precious.write_text("kept")
    with pytest.raises(UsageError, match="is not empty"):
        clear_ready(precious)
    assert precious.read_text() == "kept"


@pytest.fixture
def cache(monkeypatch, tmp_path):
    path = tmp_path / "cache"
    monkeypatch.setattr(layout, "CACHE", path)
    return path


def ask(fields):
    return dict.fromkeys(fields, 24)


def test_the_cache_is_made_for_its_owner_alone(cache):
    layout.cached(FIELDS, ask)
    assert stat.S_IMODE(cache.stat().st_mode) == 0o700
    assert layout.cached(FIELDS, None) == ask(FIELDS)


@pytest.mark.parametrize("told", ["[24, -1]", "[24, 65536]", '[24, "0; evil()"]', "[24, true]",
                                  "[24, 1.5]", "[24]", "{}", "24", "[[24], 24]"])  # fmt: skip
def test_what_the_cache_holds_is_offsets_or_nothing(cache, told):
    layout.cached(FIELDS, ask)
    (kept,) = cache.iterdir()
    kept.write_text(told)
    assert layout.cached(FIELDS, ask) == ask(FIELDS)


def test_a_cache_that_others_can_write_is_not_read_and_not_written(cache):
    layout.cached(FIELDS, ask)
    (kept,) = cache.iterdir()
    kept.write_text("[1, 2]")
    cache.chmod(0o777)
    assert layout.cached(FIELDS, ask) == ask(FIELDS)
    assert kept.read_text() == "[1, 2]"


def test_a_link_in_the_place_of_the_cache_is_not_followed(cache, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    cache.symlink_to(tmp_path / "elsewhere")
    assert layout.cached(FIELDS, ask) == ask(FIELDS)
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_a_tool_of_the_callers_path_is_not_run(monkeypatch, tmp_path):
    evil, mark = tmp_path / "nft", tmp_path / "mark"
    evil.write_text(f"#!/bin/sh\ntouch {mark}\n")
    evil.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    started = listing._start(own_namespace(), ["nft", "--version"])
    if started:
        started.communicate()
    assert not mark.exists()


def test_a_tool_gets_no_environment_of_the_callers(monkeypatch):
    monkeypatch.setenv("LD_PRELOAD_FOR_A_TEST", "1")
    started = listing._start(own_namespace(), ["env"])
    said = started.communicate()[0].decode()
    assert set(said.split()) <= {f"PATH={listing.TOOLS}", "LC_ALL=C"}


SECURITY = Path(__file__).parents[2] / "SECURITY.md"


def test_how_to_report_is_said():
    text = SECURITY.read_text()
    for word in ("stranger", "local user", "container", "Report"):
        assert word in text
