# SPDX-License-Identifier: GPL-2.0-only
import pytest

from gretrace.errors import PrerequisiteError
from gretrace.host import features


@pytest.fixture
def nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(features, "PROC_MODULES", tmp_path / "modules")
    monkeypatch.setattr(features, "MODULES", tmp_path)
    monkeypatch.setattr("gretrace.engine.btf.kernel_has_function", lambda _name: False)
    monkeypatch.setattr("gretrace.engine.symbols.KALLSYMS", tmp_path / "kallsyms")
    (tmp_path / "kallsyms").write_text("0000000000000000 T ip_rcv\n")
    release = tmp_path / features.os.uname().release
    release.mkdir()
    return tmp_path, release


def test_a_kernel_without_gre(nothing):
    (nothing[0] / "modules").write_text("ip6_gre 1 0 - Live\nveth 1 0 - Live\n")
    (nothing[1] / "modules.dep").write_text("kernel/net/ipv4/ip_gre_other.ko:\n")
    assert not features.has_gre()


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("modules", "veth 1 0 - Live\nip_gre 32768 0 - Live 0x0\n"),
        ("modules.builtin", "kernel/net/ipv4/ip_gre.ko\n"),
        ("modules.dep", "kernel/net/ipv4/ip_gre.ko.xz: kernel/net/ipv4/gre.ko.xz\n"),
    ],
)
def test_loaded_built_in_or_loadable(nothing, name, text):
    folder = nothing[0] if name == "modules" else nothing[1]
    (folder / name).write_text(text)
    assert features.has_gre()


def test_built_in_without_a_module_tree(nothing, monkeypatch):
    del nothing
    monkeypatch.setattr("gretrace.engine.btf.kernel_has_function", lambda name: "gre" in name)
    assert features.has_gre()


def test_built_in_without_a_module_tree_and_without_btf(nothing, monkeypatch):
    monkeypatch.setattr("gretrace.engine.btf.BTF_DIRECTORY", nothing[0])
    assert not features.has_gre()
    (nothing[0] / "kallsyms").write_text("0000000000000000 T gre_parse_header\n")
    assert features.has_gre()


@pytest.mark.parametrize(
    ("capabilities", "enough"),
    [
        ([], False),
        ([features.CAP_SYS_ADMIN, features.CAP_NET_ADMIN], True),
        ([features.CAP_BPF, features.CAP_PERFMON, features.CAP_NET_ADMIN], True),
        ([features.CAP_BPF, features.CAP_NET_ADMIN], False),
        ([features.CAP_SYS_ADMIN], False),
    ],
)
def test_exact_capabilities_are_enough(monkeypatch, capabilities, enough):
    held = sum(1 << capability for capability in capabilities)
    monkeypatch.setattr(features, "_effective_capabilities", lambda: held)
    if enough:
        features.require_privilege()
    else:
        with pytest.raises(PrerequisiteError, match="needs root"):
            features.require_privilege()
