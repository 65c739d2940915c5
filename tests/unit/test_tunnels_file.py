# SPDX-License-Identifier: GPL-2.0-only
"""What is read from files, and what is said of those that cannot be read."""

import io
import json
import os
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path

import pytest

from gretrace.cli import run
from gretrace.errors import UsageError
from gretrace.host.tunnels_file import parse_tunnels, read_tunnels
from gretrace.model import Encap, Tunnel
from gretrace.render.listing import Listed, to_lines

# `ip -d -j link show` of iproute2 6.1 on Linux 6.12, without the fields that do not matter.
SAMPLE = Path(__file__).with_name("ip_link.json")
LINKS = json.loads(SAMPLE.read_text())
HERE, THERE = ip_address("20.1.1.1"), ip_address("20.1.1.2")
HERE6, THERE6 = ip_address("2001:db8::1"), ip_address("2001:db8::2")


def of_sample(name):
    return next(t for t in read_tunnels(str(SAMPLE)) if t.name == name)


def link(name):
    return json.loads(json.dumps(next(entry for entry in LINKS if entry["ifname"] == name)))


def parse(*entries):
    return parse_tunnels(json.dumps(entries), "links.json")


def expected(name, ifindex, kind, **values):
    return Tunnel(name=name, ifindex=ifindex, netns=0, kind=kind, **{"up": False, **values})


@pytest.mark.parametrize(
    "tunnel",
    [
        expected("gre0", 2, "gre", fallback=True, pmtudisc=False, mtu=1476),
        expected("erspan0", 4, "erspan", fallback=True, pmtudisc=False, okey=0, mtu=1450),
        expected(
            *("ip6gre0", 6, "ip6gre"), fallback=True, pmtudisc=False, encap_limit=0, mtu=1448
        ),
        expected("g1", 8, "gre", local=HERE, remote=THERE, ttl=255, up=True, mtu=1476),
        expected(
            "g2", 9, "gre", local=HERE, remote=THERE, ikey=5, okey=5, ttl=64, tos=1, mtu=1472
        ),
        expected(
            *("g3", 10, "gre"), local=HERE, remote=ip_address("20.1.1.3"), ikey=1, okey=2,
            icsum=True, oseq=True, mtu=1468, moved=True,
        ),
        expected(
            *("g4", 11, "gre"), remote=ip_address("20.1.1.4"), link=7, link_name="und",
            ikey=0x0A0B0C0D, okey=0x0A0B0C0D, ttl=255, tos=0x10, mtu=1472,
        ),
        expected("g5", 12, "gre", external=True, mtu=1476),
        expected(
            *("g6", 13, "gre"), local=HERE, ikey=0, okey=0, icsum=True, ocsum=True, iseq=True,
            oseq=True, mtu=1464,
        ),
        expected(
            *("g7", 14, "gre"), remote=ip_address("20.1.1.7"), pmtudisc=False, ignore_df=True,
            mtu=1476,
        ),
        expected(
            *("t1", 15, "gretap"), local=HERE, remote=THERE, ikey=0xFFFFFFFF, okey=0xFFFFFFFF,
            icsum=True, ocsum=True, up=True, mtu=1454,
        ),
        expected(
            *("e1", 17, "erspan"), local=HERE, remote=THERE, ikey=100, okey=100, iseq=True,
            oseq=True, mtu=1450,
        ),
        expected(
            *("e2", 18, "erspan"), local=HERE, remote=ip_address("20.1.1.3"), ikey=101, okey=101,
            iseq=True, oseq=True, erspan_version=2, mtu=1446,
        ),
        expected(
            *("s1", 20, "ip6gre"), local=HERE6, remote=THERE6, ikey=9, okey=9, iseq=True,
            icsum=True, ocsum=True, ttl=64, pmtudisc=False, encap_limit=4, up=True, mtu=1440,
        ),
        expected(
            *("s2", 21, "ip6gre"), remote=ip_address("2001:db8::3"), link=7, link_name="und",
            ttl=77, pmtudisc=False, mtu=1456,
        ),
        expected("s3", 22, "ip6gre", external=True, pmtudisc=False, encap_limit=0, mtu=1448),
        expected(
            "s4", 23, "ip6gre", local=HERE6, ttl=64, pmtudisc=False, encap_limit=4, mtu=1448
        ),
        expected(
            *("st1", 24, "ip6gretap"), local=HERE6, remote=THERE6, okey=3, ttl=64,
            pmtudisc=False, encap_limit=4, mtu=1430,
        ),
        expected(
            *("se1", 25, "ip6erspan"), local=HERE6, remote=ip_address("2001:db8::4"), ikey=11,
            okey=11, iseq=True, oseq=True, ttl=64, pmtudisc=False, encap_limit=4, mtu=1422,
        ),
    ],
    ids=lambda tunnel: tunnel.name,
)  # fmt: skip
def test_what_ip_says_of_a_tunnel(tunnel):
    assert of_sample(tunnel.name) == tunnel


def test_all_tunnels_and_nothing_else_in_the_order_of_the_file():
    names = [entry["ifname"] for entry in LINKS]
    assert [t.name for t in read_tunnels(str(SAMPLE))] == [
        name for name in names if name not in ("lo", "und")
    ]


def test_statistics_and_whatever_else_do_not_matter():
    entry = link("g1") | {"stats64": {"rx": {"bytes": 0}}, "novelty": [1]}
    entry["linkinfo"]["info_data"]["novelty"] = True
    assert parse(entry) == parse(link("g1"))


def test_links_that_ip_left_out_do_not_matter():
    """iproute2 before 5.0 writes an empty object for each."""
    assert parse({}, link("g1"), {}) == parse(link("g1"))


@pytest.mark.parametrize("spelling", [5, "5", "0x5", "0.0.0.5"])
def test_keys_in_every_spelling(spelling):
    entry = link("g2")
    entry["linkinfo"]["info_data"]["ikey"] = spelling
    assert parse(entry)[0].ikey == 5


def test_words_for_numbers():
    entry = link("g2")
    entry["linkinfo"]["info_data"] |= {"ttl": "inherit", "tos": "inherit"}
    assert (parse(entry)[0].ttl, parse(entry)[0].tos) == (0, 1)


def test_links_that_are_not_in_the_file_get_indexes_that_no_link_has():
    here, other, same = link("g4"), link("s2"), link("g4")
    other["linkinfo"]["info_data"]["link"] = "eth0"
    tunnels = parse(here, other, same)
    assert [t.link_name for t in tunnels] == ["und", "eth0", "und"]
    assert [t.link for t in tunnels] == [-1, -2, -1]


MOVED = """
[{"ifindex":7,"ifname":"here","flags":["UP"],"mtu":1500,"promiscuity":0},
{"ifindex":8,"link_index":7,"ifname":"m1","flags":["POINTOPOINT","NOARP"],"mtu":1472,
"link_netnsid":0,"promiscuity":0,"linkinfo":{"info_kind":"gre","info_data":{"remote":"9.9.9.9",
"local":"any","link":"here","ttl":0,"pmtudisc":true,"ikey":"0.0.0.3","okey":"0.0.0.3"}}},
{"ifindex":9,"link":null,"ifname":"m2","flags":["BROADCAST","MULTICAST"],"mtu":1458,
"link_netnsid":0,"promiscuity":0,"linkinfo":{"info_kind":"gretap","info_data":
{"remote":"9.9.9.9","local":"any","ttl":0,"pmtudisc":true}}},
{"ifindex":10,"link":"if11","ifname":"o1","flags":["POINTOPOINT","NOARP"],"mtu":1476,
"promiscuity":0,"linkinfo":{"info_kind":"gre","info_data":{"remote":"9.9.9.8","local":"any",
"link":"if11","ttl":0,"tos":"0x1","pmtudisc":true}}}]
"""


def test_a_link_that_is_gone_or_in_another_namespace_has_no_name():
    tunnels = parse_tunnels(MOVED, "links.json")
    assert [(t.name, t.link, t.link_name, t.moved) for t in tunnels] == [
        ("m1", 7, None, True),
        ("m2", 0, None, True),
        ("o1", 11, None, False),
    ]


def test_a_link_that_is_called_as_if_it_were_gone():
    tunnels = parse_tunnels(MOVED.replace("here", "if11"), "links.json")
    assert (tunnels[2].link, tunnels[2].link_name) == (7, "if11")


def test_our_own_list_is_read_as_it_was(tmp_path):
    tunnels = read_tunnels(str(SAMPLE))
    more = {"netns": 4026532000, "stray_ikey": 9, "moved": True}
    listed = [replace(t, **more) if t.ikey is None else t for t in tunnels]
    path = tmp_path / "tunnels.json"
    path.write_text(to_lines([Listed(tunnel, {}, None) for tunnel in listed]))
    assert read_tunnels(str(path)) == listed


def test_what_is_around_a_tunnels_packets():
    """`ip -d -j link show` of a tunnel in GUE, and of one over IPv6 without RFC 2473's option."""
    entry, bare = link("g1"), link("s1")
    entry["linkinfo"]["info_data"]["encap"] = {
        "type": "gue",
        "sport": 0,
        "dport": 6080,
        "csum": True,
        "csum6": False,
        "remcsum": True,
    }
    del bare["linkinfo"]["info_data"]["encap_limit"]
    wrapped, unlimited = parse(entry, bare)
    assert wrapped.encap == Encap("gue", dport=6080, csum=True, remcsum=True)
    assert unlimited.encap_limit is None
    lines = to_lines([Listed(tunnel, {}, None) for tunnel in (wrapped, unlimited)])
    assert parse_tunnels(lines, "ours") == [wrapped, unlimited]


def older(name):
    """What a list without the fields that a reader can do without says of a tunnel."""
    record = json.loads(to_lines([Listed(of_sample(name), {}, None)]))
    optional = ("link_ifindex", "pmtudisc", "ignore_df", "stray_ikey", "moved")
    for field in (*optional, "erspan_ver", "encaplimit", "encap"):
        del record[field]
    return json.dumps(record)


def test_a_list_that_tells_less():
    (tunnel,) = parse_tunnels(older("g4"), "tunnels.json")
    assert (tunnel.link, tunnel.pmtudisc, tunnel.ignore_df, tunnel.stray_ikey) == (
        *(-1, True, False, 0),
    )


@pytest.mark.parametrize(
    ("name", "version", "limit"),
    [("g1", 1, None), ("e1", 1, None), ("erspan0", 0, None), ("s1", 1, 4), ("se1", 1, 4)],
)
def test_a_list_that_tells_nothing_of_erspan_or_the_limit(name, version, limit):
    (tunnel,) = parse_tunnels(older(name), "tunnels.json")
    assert (tunnel.erspan_version, tunnel.encap_limit, tunnel.encap) == (version, limit, None)


def test_a_tunnel_bound_to_one_of_the_list():
    lines = "\n".join(older(name) for name in ("g1", "g4"))
    _, bound = parse_tunnels(lines.replace('"und"', '"g1"'), "tunnels.json")
    assert (bound.link, bound.link_name) == (8, "g1")


def test_standard_input(monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO(SAMPLE.read_text()))
    assert read_tunnels("-") == read_tunnels(str(SAMPLE))


@pytest.mark.parametrize("text", ["", "\n", "[]", "[ ]\n"])
def test_no_tunnels(text):
    assert parse_tunnels(text, "empty") == []


def test_no_such_file(tmp_path):
    with pytest.raises(UsageError, match=r"cannot read .*nowhere \(No such file or directory\); "):
        read_tunnels(str(tmp_path / "nowhere"))


def test_a_directory(tmp_path):
    with pytest.raises(UsageError, match="Is a directory"):
        read_tunnels(str(tmp_path))


def test_no_text(tmp_path):
    (tmp_path / "capture").write_bytes(b"\xd4\xc3\xb2\xa1\n")
    with pytest.raises(UsageError, match=r"capture, line 1 is no JSON; give the output of `gretr"):
        read_tunnels(str(tmp_path / "capture"))


@pytest.mark.parametrize("name", [b"\xff", b"\x1b]0;mine\x07"])
def test_a_name_as_iproute2_writes_it(monkeypatch, tmp_path, name):
    data = json.dumps([link("g1")]).encode().replace(b'"g1"', b'"' + name + b'"')
    (tmp_path / "links").write_bytes(data)
    (told,) = read_tunnels(str(tmp_path / "links"))
    assert told.name == os.fsdecode(name)
    stdin = io.TextIOWrapper(io.BytesIO(data), encoding="utf-8")
    monkeypatch.setattr("sys.stdin", stdin)
    assert run(["lookup", "1.2.3.4", "1.2.3.5", "--tunnels", "-"]) == 0


def without(entry, *way):
    *outer, last = way
    inner = entry
    for name in outer:
        inner = inner[name]
    del inner[last]
    return entry


def changed(entry, value, *way):
    *outer, last = way
    inner = entry
    for name in outer:
        inner = inner[name]
    inner[last] = value
    return entry


DATA = ("linkinfo", "info_data")


@pytest.mark.parametrize(
    ("entry", "complaint"),
    [
        (1, "links.json, entry 1 is no JSON object"),
        ({"dst": "default", "dev": "eth0"}, "links.json, entry 1 lacks ifname"),
        (without(link("g1"), "ifindex"), "links.json, entry 1 lacks ifindex"),
        (without(link("g1"), "flags"), "links.json, entry 1 lacks flags"),
        (without(link("g1"), *DATA), "links.json, entry 1 lacks info_data"),
        (without(link("g1"), *DATA, "remote"), "links.json, entry 1 lacks remote"),
        (changed(link("g1"), "no", "ifindex"), 'ifindex is "no", not a number'),
        (changed(link("g1"), "a/b", "ifname"), 'ifname is "a/b", not a name'),
        (changed(link("g1"), "a b", "ifname"), 'ifname is "a b", not a name'),
        (changed(link("g1"), "a\n", "ifname"), r'ifname is "a\\n", not a name'),
        (changed(link("g1"), "", "ifname"), 'ifname is "", not a name'),
        (changed(link("g1"), "a" * 256, "ifname"), "not a name"),
        (changed(link("g1"), True, "ifindex"), "ifindex is true, not a number"),
        (changed(link("g1"), "UP", "flags"), 'flags is "UP", not a list of names'),
        (changed(link("g1"), [], "linkinfo"), r"linkinfo is \[\], not a JSON object"),
        (changed(link("g1"), 7, *DATA, "local"), "local is 7, not an IPv4 address"),
        (changed(link("g1"), "20.1.1", *DATA, "local"), 'local is "20.1.1", not an IPv4 address'),
        (changed(link("g1"), "::1", *DATA, "local"), "not an IPv4 address, which gre needs"),
        (changed(link("s1"), "1.2.3.4", *DATA, "remote"), "IPv6 address, which ip6gre needs"),
        (changed(link("g2"), "1.2.3.4.5", *DATA, "ikey"), 'ikey is "1.2.3.4.5", not a GRE key'),
        (changed(link("g2"), -1, *DATA, "okey"), "okey is -1, not a GRE key"),
        (changed(link("g2"), 1 << 32, *DATA, "okey"), "okey is 4294967296, not a GRE key"),
        (changed(link("g2"), "yes", *DATA, "icsum"), 'icsum is "yes", not true or false'),
        (changed(link("g2"), "much", *DATA, "ttl"), 'ttl is "much", not a number'),
        (changed(link("e1"), 3, *DATA, "erspan_ver"), "erspan_ver is 3, not a version of ERSPAN"),
        (changed(link("se1"), 0, *DATA, "erspan_ver"), "erspan_ver is 0, not a version of ERSP"),
        (changed(link("s1"), "x", *DATA, "encap_limit"), 'encap_limit is "x", not a number'),
        (changed(link("g1"), {"type": None}, *DATA, "encap"), "not one of type fou or gue"),
        (changed(link("g1"), {"type": "fou"}, *DATA, "encap"), "entry 1 lacks sport"),
    ],
)
def test_links_that_are_none(entry, complaint):
    with pytest.raises(UsageError, match=complaint) as caught:
        parse(entry)
    assert str(caught.value).endswith(
        "; give the output of `gretrace tunnels -o json` or `ip -d -j link show`"
    )


def test_links_without_details():
    """What `ip -j link show` says of a tunnel."""
    plain = without(without(link("g1"), "linkinfo"), "promiscuity")
    with pytest.raises(UsageError, match=r"no details of the links, so no tunnels; .*`ip -d -j`"):
        parse(without(link("lo"), "promiscuity"), plain)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("1: lo: <LOOPBACK,UP> mtu 65536", "tunnels.json, line 1 is no JSON; give the output"),
        ('[{"ifindex": 1', "tunnels.json is no JSON"),
        ("[" * 100_000, "tunnels.json is no JSON"),
        ('\n{"name": "gre1"', "tunnels.json, line 2 is no JSON"),
        ("7", "tunnels.json, line 1 is no JSON object"),
    ],
)
def test_what_is_no_json(text, complaint):
    with pytest.raises(UsageError, match=complaint):
        parse_tunnels(text, "tunnels.json")


RECORD = json.loads(to_lines([Listed(of_sample("g2"), {}, None)]))


@pytest.mark.parametrize(
    "field",
    ["name", "kind", "local", "remote", "ikey", "okey", "iflags", "oflags", "ifindex", "up"],
)
def test_a_record_must_tell(field):
    lines = json.dumps(RECORD) + "\n" + json.dumps(without(dict(RECORD), field))
    with pytest.raises(UsageError, match=f"tunnels.json, line 2 lacks {field}; give the output"):
        parse_tunnels(lines, "tunnels.json")


@pytest.mark.parametrize(
    ("field", "value", "complaint"),
    [
        ("kind", "vxlan", 'kind is "vxlan", not a kind of GRE tunnel: gre, .* or ip6erspan'),
        ("name", "", 'name is "", not a name'),
        ("local", "any old", 'local is "any old", not an IPv4 address'),
        ("ikey", 1.5, "ikey is 1.5, not a number"),
        ("up", None, "up is null, not true or false"),
        ("iflags", [1], r"iflags is \[1\], not a list of names"),
    ],
)
def test_a_record_that_is_wrong(field, value, complaint):
    with pytest.raises(UsageError, match=complaint):
        parse_tunnels(json.dumps(RECORD | {field: value}), "tunnels.json")
