# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
# What the examples share; sourced, not run.
#
# Two hosts, A and B, are the network namespaces gt-a and gt-b; a router between
# them is gt-r. The names are fixed, so that a second run beside this one fails
# at once and does not mix with it. Everything is gone when the script ends.
#
#   direct_lab   A va 20.1.1.2/24 ---- 20.1.1.1/24 vb B
#   routed_lab   A va 30.1.1.2/24 ---- 30.1.1.1/24 ra R rb 20.1.1.2/24 ---- 20.1.1.1/24 vb B
#
# Inside the tunnel A is 10.10.10.2 and B is 10.10.10.1.
set -euo pipefail

EXAMPLE=$(basename "$0")
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
if [[ -z ${GRETRACE:-} && -x $HERE/../.venv/bin/gretrace ]]; then
	GRETRACE=$HERE/../.venv/bin/gretrace
fi
GRETRACE=${GRETRACE:-gretrace}

namespaces=() watcher='' scratch=''

run() { printf '$ %s\n' "$*"; "$@"; }
fail() { echo "$EXAMPLE: $*" >&2; exit 1; }
# As gretrace does where a prerequisite is missing.
refuse() { echo "$EXAMPLE: $*" >&2; exit 4; }

clean_up() {
	local name
	[[ -z $watcher ]] || { kill "$watcher" && wait "$watcher"; } 2>/dev/null || true
	for name in "${namespaces[@]}"; do ip netns del "$name"; done
	[[ -z $scratch ]] || rm -r "$scratch"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

# --- the network ------------------------------------------------------------------

make_hosts() { # NAME...
	local name
	[[ $EUID -eq 0 ]] || refuse "needs root, to make network namespaces and to trace the kernel"
	for name in ip ping sysctl "$GRETRACE"; do
		command -v "$name" >/dev/null || refuse "$name is missing; run script/setup"
	done
	modprobe -q ip_gre || [[ -d /sys/module/ip_gre ]] ||
		refuse "this kernel has no GRE; try script/vm 6.12 -- examples/$EXAMPLE"
	scratch=$(mktemp -d)
	for name; do
		ip netns add "gt-$name" || fail "cannot make gt-$name: if it is there already," \
			"another example runs, or one was killed (then: ip netns del gt-$name)"
		namespaces+=("gt-$name")
		# Router solicitations and the like would be drops of their own.
		ip netns exec "gt-$name" sysctl -qw net.ipv6.conf.{all,default}.disable_ipv6=1
		ip -n "gt-$name" link set lo up
	done
}

cable() { # HOST DEVICE ADDRESS  HOST DEVICE ADDRESS
	ip -n "gt-$1" link add "$2" type veth peer name "$5" netns "gt-$4"
	ip -n "gt-$1" addr add "$3" dev "$2"
	ip -n "gt-$4" addr add "$6" dev "$5"
	ip -n "gt-$1" link set "$2" up
	ip -n "gt-$4" link set "$5" up
}

direct_lab() {
	make_hosts a b
	cable a va 20.1.1.2/24 b vb 20.1.1.1/24
}

# The router hides A's network behind its own address. B has no route to A, as
# hosts on the far side of a source NAT have none.
routed_lab() {
	command -v nft >/dev/null || refuse "nft is missing; run script/setup"
	make_hosts a r b
	cable a va 30.1.1.2/24 r ra 30.1.1.1/24
	cable r rb 20.1.1.2/24 b vb 20.1.1.1/24
	run ip -n gt-a route add default via 30.1.1.1
	run ip netns exec gt-r sysctl -qw net.ipv4.ip_forward=1
	run ip netns exec gt-r nft add table ip nat
	run ip netns exec gt-r nft "add chain ip nat out { type nat hook postrouting priority 100; }"
	run ip netns exec gt-r nft add rule ip nat out oifname rb ip protocol gre snat to 20.1.1.2
}

tunnel() { # HOST OPTION...
	local host=$1
	shift
	run ip -n "gt-$host" tunnel add gre1 mode gre "$@" ttl 255
	use_tunnel "$host"
}

use_tunnel() { # HOST
	local own=10.10.10.1 peer=10.10.10.2
	[[ $1 == b ]] || { own=10.10.10.2 peer=10.10.10.1; }
	run ip -n "gt-$1" addr add "$own" dev gre1 peer "$peer"
	run ip -n "gt-$1" link set gre1 up
}

# --- traffic, and what explain-drop says of it --------------------------------------

ping_b() { run ip netns exec gt-a ping -q -c 3 -i 0.3 -W 2 10.10.10.1; }

# Watches B while A pings through the tunnel; leaves `report`, `code` and `answered`.
explain_ping() {
	# The time limit counts only if this script is killed and cannot end it.
	printf '$ %s\n' "gretrace explain-drop --netns gt-b &"
	"$GRETRACE" explain-drop --netns gt-b --duration 300 --ready-file "$scratch/ready" \
		>"$scratch/report" &
	watcher=$!
	until [[ -e $scratch/ready ]]; do
		[[ -d /proc/$watcher ]] || fail "explain-drop ended before it was ready"
		sleep 0.1
	done
	answered=no
	ping_b && answered=yes
	kill -INT "$watcher"
	code=0
	wait "$watcher" || code=$?
	watcher=''
	report=$(<"$scratch/report")
	printf '\n%s\n\n(exit code %s)\n\n' "$report" "$code"
}

expect_healthy() {
	[[ $answered == yes ]] || fail "the ping was not answered"
	[[ $code -eq 0 ]] || fail "explain-drop exited with $code, not 0"
}

expect_cause() { # CAUSE [TEXT...]
	local text causes
	[[ $answered == no ]] || fail "the ping was answered"
	[[ $code -eq 3 ]] || fail "explain-drop exited with $code, not 3"
	causes=$(sed -n 's/^DROP \([a-z-]*\).*/\1/p' <<<"$report" | sort -u | xargs)
	[[ $causes == "$1" ]] || fail "explain-drop named '$causes', not $1"
	for text in "${@:2}"; do
		[[ $report == *"$text"* ]] || fail "explain-drop did not mention $text"
	done
}

# The command stands alone in the line below the advice for "here".
apply_advice() {
	local advice
	advice=$(sed -n '/^  here /{n;s/^ \{10\}//p;q}' <<<"$report")
	[[ -n $advice ]] || fail "explain-drop gave no command to run here"
	printf '$ %s\n' "$advice"
	bash -c "$advice"
}

expect_ping() { ping_b || fail "the ping is still not answered"; }
