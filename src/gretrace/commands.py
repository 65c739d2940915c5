# SPDX-License-Identifier: GPL-2.0-only
"""Commands for a person to paste: words until they are shown, and quoted in one place.

A word can be the name that a stranger gave to a device, a namespace or a chain. Whatever it
holds, the shell must take it as that one word, and the program that gets it as that name. What
cannot be said so is no command but an obstacle, which is told in its place.
"""

import re
import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from ipaddress import IPv4Address, IPv6Address
from typing import TypeAlias

from gretrace.plain import plain


class Shell(Enum):
    """What the shell that the command is pasted into is to put in."""

    PID = "$$"  # of a process in the user's own namespace: the shell itself


Word: TypeAlias = str | int | IPv4Address | IPv6Address | Shell


@dataclass(frozen=True, slots=True)
class Netns:
    """A network namespace, and the way to it from where the user stands."""

    name: str | None = None  # of its file in /run/netns
    path: str | None = None  # of its file elsewhere

    def __str__(self) -> str:
        return self.name or self.path or "the caller's own"


HERE = Netns()


@dataclass(frozen=True, slots=True)
class Command:
    """Programs with their arguments, each run when the one before has succeeded."""

    steps: tuple[tuple[str | Shell, ...], ...]
    refusal: str | None = None  # why a program would not take a word as what it is

    @property
    def obstacle(self) -> str | None:
        """Why the command cannot be given; None where it can."""
        if self.refusal:
            return self.refusal
        # A terminal, or what is copied from it, may make another name of such a one.
        odd = (w for step in self.steps for w in step if isinstance(w, str) and not w.isprintable())
        word = next(odd, None)
        return word and f"{plain(word)} holds characters that cannot be pasted safely"

    @property
    def text(self) -> str | None:
        """The command as it is typed; None where there is an obstacle."""
        if self.obstacle:
            return None
        return " && ".join(" ".join(_quote(word) for word in step) for step in self.steps)

    def __str__(self) -> str:
        return self.text or f"(no command: {self.obstacle})"

    def __add__(self, other: "Command") -> "Command":
        """Run the other one after this."""
        return Command(self.steps + other.steps, self.refusal or other.refusal)


def run(netns: Netns, *words: Word) -> Command:
    """Build the command that acts in a namespace."""
    told = tuple(word if isinstance(word, Shell) else str(word) for word in words)
    if netns.name is not None:
        if told[0] == "ip":
            return Command((("ip", "-n", netns.name, *told[1:]),))
        return Command((("ip", "netns", "exec", netns.name, *told),))
    if netns.path is not None:
        return Command((("nsenter", f"--net={netns.path}", *told),))
    return Command((told,))


def ip_link(netns: Netns, action: str, device: str, *words: Word) -> Command:
    """Build the command that acts on a device, which may be called `up` or `type` as well."""
    return run(netns, "ip", "link", action, "dev", device, *words)


def sysctl(netns: Netns, settings: Mapping[str, int]) -> Command:
    """Build the one command that makes settings, each by its dotted name."""
    command = run(netns, "sysctl", "-w", *(f"{name}={value}" for name, value in settings.items()))
    # The first = ends a name, and some sysctl(8) expand patterns as sysctl.d(5) has them.
    return _unless(command, settings, lambda name: bool(set("=*?[") & set(name)), "sysctl")


def respond(netns: Netns, device: str) -> Command:
    """Build the command that answers the keepalives on a device."""
    there = netns.name or netns.path
    where = ("--netns", there) if there else ()
    # What begins with a dash is an option, unless options have ended.
    end = ("--",) if device.startswith("-") else ()
    return run(HERE, "gretrace", "respond", *where, *end, device)


class Identifier(str):
    """The name of a table or chain of nft."""

    __slots__ = ()


class Quoted(str):
    """A name that nft takes in quotes, as that of a device."""

    __slots__ = ()


def nft(netns: Netns, *statements: Sequence[Word]) -> Command:
    """Build the command that has nft do several things, or none of them."""
    told = "; ".join(" ".join(map(_nft_word, statement)) for statement in statements)
    names = [word for statement in statements for word in statement if isinstance(word, str)]
    return _unless(run(netns, "nft", told), names, _is_beyond_nft, "nft")


def iptables(netns: Netns, tool: str, *words: Word, device: str | None = None) -> Command:
    """Build a command of iptables; `device` is the word that is the name of one."""
    devices = () if device is None else (device,)
    # A + at the end is any device that begins so, a lone ! negates (iptables(8)).
    return _unless(
        run(netns, tool, *words), devices, lambda d: d.endswith("+") or d == "!", "iptables"
    )


# What nft's scanner takes for a name of a table or chain; it knows no quotes there.
_IDENTIFIER = re.compile(r"[A-Za-z_.][A-Za-z0-9_./-]*")
# What it takes for a word of its own wherever it stands, in any release from 0.9.8 (Debian 11) to
# 1.1.6. Who makes tables by netlink, or by nft's JSON, may call them so; to insert a rule, a table
# and a chain can be told by their names only.
_WORDS_OF_NFT = """
8021ad 8021q accept ackseq add addr ah all and arp auto-merge avgpkt bridge burst bypass bytes
cfi cgroup chain chains checksum classid code comment comp constant continue count counter
counters cpi cpu create ct daddr day dccp define delete describe destroy device devices
direction dnat doff dport drop dscp dst dup dynamic echo ecn element elements eol eq esp ether
event exists expectation expiration expires export exthdr fanout fib flags flow flowlabel
flowtable flowtables flush frag frag-off fully-random fwd gateway gc-interval ge geneve get
goto gre gretap group gt handle hbh hdrlength helper helpers hlen hook hoplimit hour htype
ibriport ibrname icmp icmpv6 icmpx id igmp iif iifgroup iifname iiftype import in inc include
index inet insert interval ip ip6 ipsec jhash json jump kind l3proto label last last-entry le
left length level limit limits list ll log lshift lsrr lt map maps mark masquerade max-delay
maxseg memory meta meter meters mh microsecond millisecond minute missing mod mode monitor
more-fragments mrt mss mtu name nanosecond ne netdev nexthdr nexthop nftrace nh noop nop not
notrack num numgen obriport obrname offload offset oif oifgroup oifname oiftype operation
option options or original osf out over packets param-problem pcp performance persistent
pkttype plen policy port position prefix priority proto-dst proto-src protocol ptr ptype queue
queue-threshold quota quotas ra random rate redefine redirect reject rename replace reply
reqid reserved reserved2 reset return right rr rshift rt rt0 rt2 rtclassid rule rules ruleset
sack sack-perm sack-permitted sack0 sack1 sack2 sack3 saddr sctp secmark secmarks second seed
seg-left sequence set sets sid size skgid skuid snaplen snat socket spi spnum sport srh ssrr
state status symhash synproxy synproxys table tables tag tcp th time timeout timestamp to
tproxy trace transparent transport tsecr tsval ttl tunnel type typeof udp udplite undefine
until update urgptr used value version vlan vm vmap vni vtag vxlan week wildcard window with
wscale xml xor xt zone
"""
NFT_WORDS = frozenset(_WORDS_OF_NFT.split())


def _is_beyond_nft(word: str) -> bool:
    if isinstance(word, Identifier):
        return not _IDENTIFIER.fullmatch(word) or word in NFT_WORDS
    # In quotes * is still a wildcard and \ takes that from it; nothing stands for a quote.
    return isinstance(word, Quoted) and bool(set('"*\\') & set(word))


def _nft_word(word: Word) -> str:
    return f'"{word}"' if isinstance(word, Quoted) else str(word)


def _unless(
    command: Command, names: Iterable[str], is_beyond: Callable[[str], bool], program: str
) -> Command:
    """Refuse a command of which a program would take a name for something else."""
    beyond = next(filter(is_beyond, names), None)
    if beyond is None:
        return command
    return replace(command, refusal=f"{program} would not take {plain(beyond)} as a name")


def _quote(word: str | Shell) -> str:
    if isinstance(word, Shell):
        return word.value
    # To zsh =ls is the path of ls (EQUALS), so that shlex alone would not do.
    return f"'{word}'" if re.fullmatch(r"=[\w@%+=:,./-]*", word, re.ASCII) else shlex.quote(word)
