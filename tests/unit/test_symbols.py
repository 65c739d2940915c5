# SPDX-License-Identifier: GPL-2.0-only
"""Places of drops that the kernel's program could not name."""

from gretrace.engine.decode import parse_place
from gretrace.engine.symbols import Symbols
from gretrace.model import Place

KALLSYMS = """\
ffffffff81000000 T _stext
ffffffff81000100 t ip_rcv_finish_core.isra.0
ffffffff81000200 D some_data
ffffffffc0aa0000 t gre_rcv\t[gre]
ffffffffc0bb0000 t gre_rcv\t[ip_gre]
ffffffffc0bb0500 b rubbish\t[ip_gre]
ffffffffc0a00000 t earlier\t[other]
"""


def places(tmp_path, *locations):
    path = tmp_path / "kallsyms"
    path.write_text(KALLSYMS)
    named = Symbols(path).names(locations)
    return [parse_place(named[location], 0) for location in locations]


def test_functions_of_one_name_are_told_apart(tmp_path):
    assert places(
        tmp_path,
        0xFFFFFFFFC0AA0041,
        0xFFFFFFFFC0BB0560,
        0xFFFFFFFF81000280,
    ) == [Place("gre_rcv", "gre"), Place("gre_rcv", "ip_gre"), Place("ip_rcv_finish_core")]


def test_a_return_address_behind_the_function_is_of_the_function(tmp_path):
    assert places(tmp_path, 0xFFFFFFFFC0BB0000 + 0) == [Place("gre_rcv", "gre")]


def test_a_list_that_hides_its_addresses_is_told(tmp_path):
    path = tmp_path / "kallsyms"
    path.write_text("".join("0" * 16 + line[16:] + "\n" for line in KALLSYMS.splitlines()))
    symbols = Symbols(path)
    assert symbols.names([0xFFFFFFFFC0AA0041]) == {0xFFFFFFFFC0AA0041: b""}
    assert symbols.hidden
