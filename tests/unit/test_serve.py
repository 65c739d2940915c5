# SPDX-License-Identifier: GPL-2.0-only
"""What `serve` keeps and tells: exact sums, in room that no stranger fills, as sound metrics."""

import random
import re
import shutil
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from prometheus_client.parser import text_string_to_metric_families

from gretrace.cli import run
from gretrace.cli.config import read_config, values_now
from gretrace.cli.serve import read_listen, serve
from gretrace.engine import Lost
from gretrace.errors import UsageError
from gretrace.explain.tally import report_of
from gretrace.host import namespaces
from gretrace.host.census import Census, Counted
from gretrace.host.namespaces import NAMED, Namespace
from gretrace.model import Finding, Responder, Verdict
from gretrace.service import http, textfile
from gretrace.service import places as places_module
from gretrace.service.http import Server
from gretrace.service.ledger import NOWHERE, Ledger
from gretrace.service.metrics import Exposition, State
from gretrace.service.outlets import Outlets, Settings
from gretrace.service.page import FRESH, Page
from gretrace.service.places import Places, label_of
from gretrace.service.run import Service
from gretrace.service.systemd import Manager
from gretrace.service.textfile import Textfile
from tests.unit.cases import A, B, drop, tunnel
from tests.unit.test_explain import FakeTable, FakeTables

DEBIAN = Path(__file__).parents[2] / "debian"
ONE = ("", "gre1")


def add(ledger, cause, name=None, count=1, netns=1):
    verdict = Verdict(cause, Finding("", (), (), (), tunnel=name))
    seen = replace(drop(), netns=netns)
    return ledger.add(report_of(seen, verdict, None, None, None, count))


def here(_inode, name):
    return "", name


def sums(ledger):
    return {(t.cause, t.namespace, t.tunnel): t.count for t in ledger}


def everything(ledger):
    return sum(sums(ledger).values()) + sum(ledger.apart.values())


def test_what_packets_say_makes_no_entry():
    ledger = Ledger(here)
    assert add(ledger, "no-tunnel", count=3)[2]
    for _ in range(1000):
        assert not add(ledger, "no-tunnel")[2]
    assert sums(ledger) == {("no-tunnel", *NOWHERE): 1003}
    assert ledger.packets == 1003


def test_a_tunnel_that_is_gone_leaves_its_count_behind():
    ledger = Ledger(here)
    add(ledger, "key-mismatch", "gre1", 5)
    add(ledger, "key-mismatch", "gre2", 7)
    ledger.settle({ONE, ("", "gre2")})
    # A dump that was disturbed may leave it out once.
    ledger.settle({ONE})
    ledger.settle({ONE, ("", "gre2")})
    ledger.settle({ONE})
    assert sums(ledger)["key-mismatch", "", "gre2"] == 7
    ledger.settle({ONE})
    assert sums(ledger) == {("key-mismatch", *ONE): 5}
    assert ledger.apart == {"key-mismatch": 7}
    # Made anew, it begins anew.
    assert add(ledger, "key-mismatch", "gre2", 2)[2]
    assert everything(ledger) == ledger.packets == 14


def test_whatever_comes_and_goes_every_packet_is_in_one_sum():
    rng, expected = random.Random(7), Counter()
    ledger = Ledger(lambda inode, name: (str(inode), name), at_most=50)
    for _ in range(20_000):
        count, cause = rng.randrange(1, 9), f"cause-{rng.randrange(30)}"
        name = rng.choice([None, *(f"gre{n}" for n in range(100))])
        add(ledger, cause, name, count, netns=rng.randrange(20))
        expected[cause] += count
        if rng.random() < 0.01:
            ledger.settle({(str(rng.randrange(20)), f"gre{rng.randrange(100)}") for _ in range(9)})
        assert len(sums(ledger)) <= 50 + 30
    told = Counter(ledger.apart)
    for (cause, *_), count in sums(ledger).items():
        told[cause] += count
    assert told == expected
    assert ledger.packets == expected.total()


def counted(name, **counters):
    return Counted(tunnel(name), {"rx_packets": 1, **counters}, None)


def test_each_namespace_and_tunnel_has_a_label_of_its_own():
    named = Namespace(2, NAMED / "7", "7")
    process = Namespace(3, Path("/proc/7/ns/net"), "7")
    own = Namespace(1, Path("/proc/self/ns/net"))
    assert [label_of(each) for each in (own, named, process)] == ["", "7", "pid/7"]
    places = Places(FakeTables(FakeTable()))
    odd = "\udcff"
    census = Census(
        ((own, (counted("gre1"), counted(odd), counted(r"\xff"))), (named, (counted("gre1"),)))
    )
    found = places.take(census)
    assert list(found) == [("", "gre1"), ("", r"\xff"), ("7", "gre1")]
    assert found["", r"\xff"].tunnel.name == odd


def test_the_place_of_a_tunnel_that_is_elsewhere_is_nowhere():
    table = FakeTable(tunnel("gre1"), tunnel("gre0", fallback=True, up=False))
    places = Places(FakeTables(table))
    inode = table.namespace.inode
    assert places.of(inode, "gre1") == ("", "gre1")
    assert places.of(inode, "gre0") == NOWHERE
    assert places.of(inode, "gre2") == NOWHERE
    assert places.of(inode + 1, "gre1") == NOWHERE
    table.change(tunnel("gre2"))
    assert places.of(inode, "gre1") == NOWHERE
    assert places.of(inode, "gre2") == ("", "gre2")


def families(state):
    text = Exposition().text(state)
    found = {family.name: family for family in text_string_to_metric_families(text.decode())}
    samples = [
        (sample.name, *sorted(sample.labels.items()))
        for family in found.values()
        for sample in family.samples
    ]
    assert len(samples) == len(set(samples))
    return found


def values(family):
    return {tuple(sample.labels.values()): sample.value for sample in family.samples}


def state(**more):
    plain = {"build": {"version": "1"}, "drops": (), "apart": {}, "unkept": 0, "unseen": 0}
    return State(**{**plain, "tunnels": {}, "left_out": 0, **more})


def test_metrics_say_what_was_counted():
    ledger = Ledger(here)
    add(ledger, "key-mismatch", "gre1", 3)
    add(ledger, "no-tunnel", None, 4)
    responder = Responder("tc", 1, 9, {"limited": 2}, 5 * 10**8)
    told = families(
        state(
            drops=list(ledger),
            apart={"tunnel-down": 6},
            unkept=8,
            tunnels={ONE: counted("gre1", rx_packets=7, rx_crc_errors=2)},
            responders={ONE: responder},
            heard_ns={ONE: 1_500_000_000},
        )
    )
    # The names of labels come in alphabetical order: cause, namespace, tunnel.
    assert values(told["gretrace_drops"]) == {
        ("key-mismatch", "", "gre1"): 3,
        ("no-tunnel", "", ""): 4,
    }
    assert values(told["gretrace_other_tunnels_drops"]) == {("tunnel-down",): 6}
    assert values(told["gretrace_unexplained_drops"]) == {(): 8}
    assert values(told["gretrace_tunnel_receive_packets"]) == {ONE: 7}
    assert list(values(told["gretrace_tunnel_errors"]).values()) == [2]
    assert values(told["gretrace_keepalives_answered"]) == {ONE: 9}
    assert list(values(told["gretrace_keepalives_refused"]).values()) == [2]
    assert values(told["gretrace_tunnel_last_received_timestamp_seconds"]) == {ONE: 1.5}
    (info,) = told["gretrace_tunnel_info"].samples
    assert (info.labels["remote"], info.labels["local"], info.labels["ikey"]) == (A, B, "none")
    assert values(told["gretrace_tunnel_up"]) == {ONE: 1}
    assert "gretrace_process_resident_memory_bytes" in told


def test_every_counter_ends_as_counters_do_and_has_a_help():
    for family in families(state()).values():
        assert family.documentation, family
        assert (family.type == "counter") == (
            b"# TYPE %s_total counter" % family.name.encode() in Exposition().text(state())
        )


@pytest.fixture
def page():
    with closing(Page()) as made:
        yield made


def test_a_page_is_made_once_a_second_for_all_who_ask(page):
    got = []
    askers = [threading.Thread(target=lambda: got.append(page.read(5))) for _ in range(8)]
    for asker in askers:
        asker.start()
    while not page.is_wanted():
        time.sleep(0.01)
    time.sleep(0.1)
    page.publish(b"one")
    for asker in askers:
        asker.join()
    assert got == [b"one"] * 8
    # What they asked for is there, and whoever comes soon gets the same.
    assert not page.is_wanted()
    assert page.read(0) == b"one"


def test_a_page_that_nobody_makes_is_none(page):
    assert page.read(0.05) is None
    page.publish(b"old")
    page._made_at -= FRESH
    assert page.read(0.05) is None


@pytest.fixture
def serving(monkeypatch):
    monkeypatch.setattr(http, "SECONDS", 1.0)
    with closing(Server(("127.0.0.1", 0), lambda: b"x 1\n", "text/plain")) as server:
        yield server


def get(server, path="/metrics"):
    port = server.server_address[1]
    return urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10)


def test_the_page_is_served_and_nothing_else(serving):
    with get(serving) as answer:
        assert (answer.status, answer.read()) == (200, b"x 1\n")
    with pytest.raises(urllib.error.HTTPError) as refused:
        get(serving, "/../etc/passwd")
    assert refused.value.code == 404
    refused.value.close()
    with closing(socket.create_connection(serving.server_address)) as rude:
        rude.sendall(b"\xff\x00 nonsense\r\n\r\n")
        rude.settimeout(10)
        assert b"400" in rude.recv(1000)


def test_who_is_behind_says_so():
    with (
        closing(Server(("127.0.0.1", 0), lambda: None, "text/plain")) as server,
        pytest.raises(urllib.error.HTTPError) as refused,
    ):
        get(server)
    assert refused.value.code == 503
    refused.value.close()


def test_few_are_served_at_a_time_and_none_for_long(serving):
    address = serving.server_address
    slow = [socket.create_connection(address) for _ in range(http.AT_ONCE)]
    for each in slow:
        each.sendall(b"GET /met")
    # The next is turned away at once.
    with closing(socket.create_connection(address)) as late:
        late.settimeout(0.9)
        assert late.recv(100) == b""
    began = time.monotonic()
    for each in slow:
        each.settimeout(10)
        each.recv(1000)
        each.close()
    assert time.monotonic() - began < 5
    with get(serving) as answer:
        assert answer.status == 200


def test_an_address_that_is_taken_is_one_line(serving):
    with pytest.raises(UsageError, match="cannot listen on"):
        Server(serving.server_address, lambda: b"", "text/plain")


def test_addresses_to_listen_on():
    assert read_listen("127.0.0.1:9947") == ("127.0.0.1", 9947)
    assert read_listen("[::1]:80") == ("::1", 80)


@pytest.mark.parametrize(
    "text", ["9947", ":9947", "::1:80", "[1.2.3.4]:80", "1.2.3.4:65536", "x:1"]
)
def test_what_is_no_address_is_refused(text, capsys):
    assert run(["serve", "--listen", text]) == 2
    assert "is no address and port" in capsys.readouterr().err


def test_without_prometheus_client_one_line_says_what_to_install(monkeypatch, capsys):
    for name in ("prometheus_client", "gretrace.service.metrics", "gretrace.service.run"):
        monkeypatch.delitem(__import__("sys").modules, name, raising=False)
    monkeypatch.setitem(__import__("sys").modules, "prometheus_client", None)
    assert run(["serve"]) == 4
    assert "prometheus_client is missing" in capsys.readouterr().err


def test_the_page_of_metrics_has_them_all():
    documented = (Path(__file__).parents[2] / "docs/serve.md").read_text()
    for family in families(state()).values():
        if not family.name.startswith("gretrace_process_"):
            suffix = "_total" if family.type == "counter" else ""
            assert f"`{family.name}{suffix}`" in documented


def test_the_file_is_whole_at_any_time_and_gone_at_the_end(tmp_path):
    path = tmp_path / "gretrace.prom"
    now = 0.0
    file = Textfile(path, lambda: now)
    assert file.due == 0
    assert not list(tmp_path.iterdir())
    file.put(b"x 1\n")
    assert path.read_bytes() == b"x 1\n"
    assert path.stat().st_mode & 0o777 == 0o644
    assert file.due == textfile.PERIOD
    # Whoever reads it meanwhile has the old one to its end.
    with path.open("rb") as reader:
        file.put(b"x 2\n")
        assert reader.read() == b"x 1\n"
    assert list(tmp_path.iterdir()) == [path]
    file.close()
    assert not list(tmp_path.iterdir())


def test_a_link_that_lies_in_wait_is_not_followed(tmp_path):
    victim, path = tmp_path / "victim", tmp_path / "gretrace.prom"
    victim.write_text("kept")
    file = Textfile(path)
    file._fresh.symlink_to(victim)
    path.symlink_to(victim)
    file.put(b"x 1\n")
    assert victim.read_text() == "kept"
    assert not path.is_symlink()


def test_what_cannot_be_written_is_said_and_tried_again(tmp_path):
    folder = tmp_path / "there"
    folder.mkdir()
    file = Textfile(folder / "gretrace.prom")
    folder.rmdir()
    file.put(b"x 1\n")
    assert "cannot write" in file.trouble
    folder.mkdir()
    file.put(b"x 1\n")
    assert file.trouble is None


@pytest.mark.parametrize(("name", "words"), [("x.txt", ".prom"), ("no/x.prom", "cannot write")])
def test_a_file_that_cannot_serve_is_refused_at_once(tmp_path, name, words):
    with pytest.raises(UsageError, match=words):
        Textfile(tmp_path / name)


def test_what_is_opened_changes_while_it_goes_on_and_nothing_by_a_mistake(tmp_path):
    said, path = [], tmp_path / "gretrace.prom"
    with closing(Outlets(said.append, Manager({}))) as outlets:
        outlets.use(Settings(listen=("127.0.0.1", 0)))
        server = outlets._server
        outlets.use(Settings(listen=("127.0.0.1", 0), textfile=path, journal=True))
        assert outlets._server is server
        chronicle = outlets.chronicle
        outlets.textfile.put(b"x 1\n")
        outlets.reload(lambda: Settings(textfile=path, journal=True))
        assert said == ["reloaded"]
        assert outlets._server is None
        assert outlets.chronicle is chronicle
        assert path.exists()
        # Of what is wrong, all stays as it was.
        outlets.reload(lambda: Settings(textfile=tmp_path / "x", journal=False))
        assert said[-1].startswith("reload: node_exporter would not read")
        assert outlets.chronicle is chronicle
        assert path.exists()
    assert not path.exists()


GOOD = 'listen = "127.0.0.1:9999"\njournal = true\nnetns = "r1"\ncapacity = 4096\n'
BAD = {
    "port = 3": "'port' is no option; these are: all-netns, capacity,",
    "journal = 1": "journal cannot be 1; give true or false",
    "capacity = true": "capacity cannot be True; give a string or a number",
    "listen = [1]": "listen cannot be [1]",
    "config = 'x'": "'config' is no option",
    "ready-file = 'x'": "'ready-file' is no option",
    "x = ": "is no TOML",
    "x = 1 # " + "x" * (1 << 16): "is too long",
    "\x1b[31m = 1": "is no TOML",
    '"\\u001b[31m" = 1': "is no option",
}


def test_a_file_gives_what_the_command_line_does_not(tmp_path):
    path = tmp_path / "gretrace.toml"
    path.write_text(GOOD)
    with serve.make_context("serve", ["--config", str(path), "--capacity", "7"]) as context:
        assert context.params["listen"] == ("127.0.0.1", 9999)
        assert context.params["journal"] is True
        assert context.params["netns"] == "r1"
        assert context.params["capacity"] == 7
        told = read_config(path, serve, without=set())
        now = values_now(context, ("listen", "capacity", "textfile", "journal"), told)
        assert now == {
            "listen": ("127.0.0.1", 9999), "capacity": 7, "textfile": None, "journal": True,
        }  # fmt: skip
        now = values_now(context, ("listen", "journal"), {})
        assert now == {"listen": None, "journal": False}


@pytest.mark.parametrize("text", BAD)
def test_what_a_file_says_wrong_is_one_line(tmp_path, capsys, text):
    path = tmp_path / "gretrace.toml"
    path.write_text(text)
    assert run(["serve", "--config", str(path)]) == 2
    said = capsys.readouterr().err
    assert BAD[text] in said
    assert said.count("\n") == 1
    assert "\x1b" not in said


def test_a_file_that_is_not_there_is_one_line(tmp_path, capsys):
    assert run(["serve", "--config", str(tmp_path / "none")]) == 2
    assert "cannot read" in capsys.readouterr().err


def test_the_unit_starts_what_there_is_by_a_file_that_is_sound():
    unit = (DEBIAN / "gretrace.service").read_text()
    (line,) = re.findall(r"^ExecStart=/usr/sbin/gretrace serve (.*)$", unit, re.MULTILINE)
    assert line == "--config /etc/gretrace/gretrace.toml"
    told = read_config(DEBIAN / "gretrace.toml", serve, without=set())
    assert told == {"listen": "127.0.0.1:9947", "journal": True}
    # What is commented out is sound, too.
    for key in re.findall(r"^#([a-z-]+) = ", (DEBIAN / "gretrace.toml").read_text(), re.MULTILINE):
        assert f"--{key}" in {name for option in serve.params for name in option.opts}


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="needs systemd-analyze")
def test_the_unit_gives_away_little():
    told = subprocess.run(
        ["systemd-analyze", "security", "--offline=yes", "--threshold=29", "--no-pager",
         DEBIAN / "gretrace.service"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert told.returncode == 0, told.stdout + told.stderr


class Scanned:
    """An explainer in the midst of thousands of verdicts, while somebody asks."""

    def __init__(self, page):
        self.page, self.published = page, []

    def observe(self, **_how):
        for number in range(4):
            if number == 1:
                assert self.page.read(0) is None
            yield ("no-tunnel", *NOWHERE), None, False
            self.published.append(self.page._number)

    def swallowed(self):
        return ()

    def lost(self):
        return Lost()

    faults = ()


def test_whoever_scrapes_is_served_in_the_midst_of_a_scan():
    with closing(Outlets(lambda _said: None, Manager({}))) as outlets:
        scanned = Scanned(outlets.page)
        table = SimpleNamespace(in_table=3)
        service = Service(
            scanned, table, Ledger(here), Places(FakeTables(FakeTable())), list,
            build={}, capacity=1,
        )  # fmt: skip
        service._look(outlets, lambda: False)
        assert scanned.published == [0, 1, 1, 1]
        assert b"gretrace_kinds 3.0" in outlets.page.read(0)


def test_a_namespace_that_has_the_inode_of_another_has_a_label_of_its_own(tmp_path, monkeypatch):
    for module in (places_module, namespaces):
        monkeypatch.setattr(module, "NAMED", tmp_path)
    name = tmp_path / "blue"
    name.touch()
    inode = name.stat().st_ino
    table = FakeTable(tunnel("gre1"))
    table.namespace = Namespace(inode, Path("/proc/7/ns/net"), "7")
    tables = FakeTables(table)
    tables.of = lambda asked, _cookie: table if asked == inode else None
    places = Places(tables)
    assert places.of(inode, "gre1") == ("pid/7", "gre1")
    places.take(Census(((Namespace(inode, name, "blue"), ()),)))
    assert places.of(inode, "gre1") == ("blue", "gre1")
    name.unlink()
    assert places.of(inode, "gre1") == ("pid/7", "gre1")


def test_keepalives_are_answered_in_one_namespace(capsys):
    assert run(["serve", "--respond", "--all-netns"]) == 2
    assert "--respond answers in one namespace" in capsys.readouterr().err
