"""Places of drops that the kernel's program could not name."""

from gretrace.engine import Lost
from gretrace.engine.contract import DropKey, DropStats
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


def entry(location, place=b""):
    key, stats = DropKey(location=location), DropStats(count=3)
    stats.place[: len(place)] = place
    return bytes(key), bytes(stats)


def places(tmp_path, *entries):
    path = tmp_path / "kallsyms"
    path.write_text(KALLSYMS)
    symbols = Symbols(path)
    named = list(symbols.named(entries))
    path.unlink()
    assert list(symbols.named(entries)) == named, "what was found once is not looked up again"
    assert all(DropStats.from_buffer_copy(stats).count == 3 for _, stats in named)
    return [parse_place(bytes(DropStats.from_buffer_copy(s).place), 0) for _, s in named]


def test_functions_of_one_name_are_told_apart(tmp_path):
    assert places(
        tmp_path,
        entry(0xFFFFFFFFC0AA0041),
        entry(0xFFFFFFFFC0BB0560),
        entry(0xFFFFFFFF81000280),
    ) == [Place("gre_rcv", "gre"), Place("gre_rcv", "ip_gre"), Place("ip_rcv_finish_core")]


def test_a_return_address_behind_the_function_is_of_the_function(tmp_path):
    assert places(tmp_path, entry(0xFFFFFFFFC0BB0000 + 0)) == [Place("gre_rcv", "gre")]


def test_a_list_that_hides_its_addresses_is_told(tmp_path):
    path = tmp_path / "kallsyms"
    path.write_text("".join("0" * 16 + line[16:] + "\n" for line in KALLSYMS.splitlines()))
    symbols = Symbols(path)
    assert len(list(symbols.named([entry(0xFFFFFFFFC0AA0041)]))) == 1
    assert symbols.hidden
    assert "CAP_SYSLOG" in Lost(nameless=True).sentences()[0]


def test_what_the_kernel_named_stays(tmp_path):
    assert places(tmp_path, entry(1, b"nf_hook_slow+0x1/0x2")) == [Place("nf_hook_slow")]
