# SPDX-License-Identifier: GPL-2.0-only
"""The image: built on a bare Debian, small, without a compiler, and script/container runs it."""

import json
import os
import shutil

import pytest

from tests.package.roots import CACHE, PROJECT

MEGABYTES = 150
BUILDER = ("buildah", "podman", "runc", "iproute2")
# Without a daemon, without a kernel's overlays, and of no registry; runc takes cgroups of either
# version and of both.
ENVIRONMENT = {
    "BUILDAH_ISOLATION": "chroot",
    "STORAGE_DRIVER": "vfs",
    "CONTAINERS_CONF": "/root/containers.conf",
    "GRETRACE_IMAGE": "localhost/gretrace",
    "PODMAN_IGNORE_CGROUPSV1_WARNING": "1",
}
# A limit of this machine's own cannot be raised: Debian 13's buildah asks for 1048576 files.
CONFIGURATION = (
    '[containers]\ndefault_ulimits = ["nofile=1024:1024", "nproc=4096:4096"]\n'
    '[engine]\nruntime = "runc"\ncgroup_manager = "cgroupfs"\nevents_logger = "none"\n'
)
# What the images of Debian that are called slim leave out, too. What dpkg then installs need not
# be safe on the disk.
SLIM = (
    "rm -rf /var/cache/apt/* /var/lib/apt/lists/* /var/log/* /usr/share/locale/* /usr/share/man/*"
    " /usr/share/info/*; find /usr/share/doc -type f ! -name copyright -delete;"
    " printf '%s\\n' 'path-exclude /usr/share/[ml][ao][nc]*/*' force-unsafe-io"
    " > /etc/dpkg/dpkg.cfg.d/slim"
)
BUILD = f"""
made=$(buildah from scratch)
buildah add -q $made /root/base.tar /
buildah run $made -- sh -c {SLIM!r}
buildah commit -q --squash $made localhost/base
buildah rm $made
buildah build --pull-never --build-arg BASE=localhost/base -t $GRETRACE_IMAGE /root/image
"""
# A GRE packet to this namespace's own loopback, which nothing here takes.
DROP = """
ip netns add gt-blue
trap 'ip netns del gt-blue' EXIT
ip -n gt-blue link set lo up
send='import socket; s = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
s.sendto(bytes.fromhex("4500000000000000402f00007f0000017f00000100000800") + bytes(20),
         ("127.0.0.1", 0))'
(until [[ -e ready ]]; do sleep 0.1; done; ip netns exec gt-blue python3 -c "$send") &
/root/container explain-drop --netns gt-blue --count 1 --duration 60 --ready-file ready -o json
"""


@pytest.fixture(scope="module")
def builder(built):
    """The system that the package was built in, with what builds and runs images."""
    root = built.root
    root.install(*BUILDER)
    (root.path / "root/containers.conf").write_text(CONFIGURATION)
    (root.path / "root/image/dist").mkdir(parents=True)
    shutil.copy(PROJECT / "Containerfile", root.path / "root/image")
    shutil.copy(PROJECT / "script/container", root.path / "root")
    shutil.copy(built.deb, root.path / "root/image/dist")
    os.link(CACHE / f"{root.release}.tar", root.path / "root/base.tar")
    root.shell(BUILD, **ENVIRONMENT)
    return root


def container(builder, *words, code=0):
    return builder.run("/root/container", *words, code=code, **ENVIRONMENT)


def test_the_image_is_small_and_has_no_compiler(builder):
    said = builder.run("buildah", "images", "--json", "localhost/gretrace", **ENVIRONMENT)
    size = float(json.loads(said)[0]["size"].removesuffix(" MB"))
    print(f"{size} MB")
    assert size < MEGABYTES
    tools = "command -v clang gcc cc make || echo none"
    line = f"podman run --rm --network none --entrypoint sh $GRETRACE_IMAGE -c '{tools}'"
    assert builder.shell(line, **ENVIRONMENT) == "none\n"


def test_it_sees_the_kernel_of_the_host(builder):
    assert f"Linux {os.uname().release}" in container(builder, "--version")
    # 4 where the kernel has no GRE.
    checked = container(builder, "check", "-o", "json", code=None)
    states = {row["check"]: row["state"] for row in map(json.loads, checked.splitlines())}
    assert states["privileges"] == states["BTF"] == states["explain-drop"] == "ok"


def test_it_explains_a_drop_in_a_namespace_of_the_host(builder):
    said = builder.shell(f"cd $(mktemp -d)\n{DROP}", code=3, **ENVIRONMENT)
    reports = [json.loads(line) for line in said.splitlines() if line.startswith("{")]
    assert {(report["remote"], report["local"]) for report in reports} == {("127.0.0.1",) * 2}
    assert {report["count"] for report in reports} == {1}
    assert {report["cause"] for report in reports} <= {"no-gre-module", "no-tunnel"}


def test_it_reads_a_file_of_the_present_directory(builder):
    line = "cd $(mktemp -d); echo no > x.pcap; /root/container explain-drop --read x.pcap"
    assert "x.pcap is no capture" in builder.shell(line, code=1, **ENVIRONMENT)
