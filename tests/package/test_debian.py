# SPDX-License-Identifier: GPL-2.0-only
"""The Debian package: how it is built, and what it does to a bare system."""

import shutil
import time

import pytest

SECONDS, MEGABYTES = 60, 60


def test_it_builds_twice_to_the_same_bytes_and_passes_its_own_tests(built):
    assert " passed" in built.log
    assert built.deb.read_bytes() == built.again.read_bytes()


def test_lintian_has_nothing_to_say(built):
    found = [line for line in built.lintian.splitlines() if line[:2] in ("E:", "W:", "I:")]
    assert not found, built.lintian


@pytest.fixture(scope="module")
def installed(built, bare):
    """A bare system with the package, and what there was before."""
    before = bare.files(), bare.megabytes()
    shutil.copy(built.deb, bare.path / "root/gretrace.deb")
    start = time.monotonic()
    bare.install("/root/gretrace.deb")
    bare.run("gretrace", "check", code=None)
    return bare, before, time.monotonic() - start


def test_from_one_line_to_check_is_quick_and_small(installed):
    bare, (_, megabytes), seconds = installed
    grown = bare.megabytes() - megabytes
    print(f"{seconds:.0f} s, {grown:.0f} MB")
    assert seconds < SECONDS
    assert grown < MEGABYTES


def test_the_smoke_test_passes(installed):
    bare, *_ = installed
    shutil.copy("debian/tests/smoke", bare.path / "root/smoke")
    assert "gre1 takes it" in bare.run("/root/smoke")


def test_a_stranger_cannot_put_a_module_of_theirs_before_ours(installed):
    bare, *_ = installed
    evil = bare.path / "root/evil"
    evil.mkdir()
    (evil / "click.py").write_text("raise SystemExit('not ours')")
    said = bare.shell("cd /root/evil && gretrace --version", PYTHONPATH="/root/evil")
    assert said.startswith("gretrace ")


def test_pages_completions_and_units_are_there(installed):
    bare, *_ = installed
    for path in (
        "share/man/man8/gretrace-explain-drop.8.gz",
        "share/fish/vendor_completions.d/gretrace.fish",
        "share/zsh/vendor-completions/_gretrace",
    ):
        # minbase leaves nothing out.
        assert (bare.path / "usr" / path).is_file(), path
    units = list(bare.path.glob("*/systemd/system/gretrace*")) + list(
        bare.path.glob("usr/lib/systemd/system/gretrace*")
    )
    assert {unit.name for unit in units} == {"gretrace.service", "gretrace-respond@.service"}
    assert not list(bare.path.glob("etc/systemd/system/**/gretrace*"))


def test_serve_says_what_it_needs_and_then_reads_its_file(installed):
    bare, *_ = installed
    serve = ("gretrace", "serve", "--config", "/etc/gretrace/gretrace.toml")
    told = ("--duration", "0", "--listen", "127.0.0.1:0")  # whoever else listens here
    assert "install python3-prometheus-client" in bare.run(*serve, *told, code=4)
    bare.install("python3-prometheus-client")
    assert "gretrace: ready" in bare.run(*serve, *told)
    bare.run("apt-get", "-qq", "-y", "purge", "python3-prometheus-client")


def test_bash_completes_the_name_of_a_namespace(installed):
    bare, *_ = installed
    offered = bare.shell(
        "mkdir -p /run/netns && touch /run/netns/r1\n"
        "source /usr/share/bash-completion/completions/gretrace\n"
        "COMP_WORDS=(gretrace check --netns '') COMP_CWORD=3\n"
        "_gretrace_completion gretrace\n"
        "echo ${COMPREPLY[*]}; rm -r /run/netns"
    )
    assert offered == "r1\n"


def test_upgraded_and_purged_it_leaves_nothing(installed):
    bare, (before, _), _ = installed
    bare.shell(
        "cd /root && dpkg-deb -R gretrace.deb new && sed -i 's/^Version: /&1:/' new/DEBIAN/control"
        " && dpkg-deb -b new new.deb && rm -r new"
    )
    bare.install("/root/new.deb")
    assert "gretrace 0" in bare.run("gretrace", "--version")
    (bare.path / "var/cache/gretrace").mkdir()
    bare.run("apt-get", "-qq", "-y", "remove", "gretrace")
    assert (bare.path / "var/cache/gretrace").exists()
    bare.run("apt-get", "-qq", "-y", "purge", "gretrace")
    bare.run("apt-get", "-qq", "-y", "autoremove", "--purge")
    assert bare.files() - before == set()
