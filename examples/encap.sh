#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# A program on a router's device encapsulates what comes in, and forwards it by the routes.
#
# Broken:    as long as R has no neighbour entry for B the program must pass its packets up,
#            where IPv4 meets R's own address as the source of a packet from outside:
#            martian-source while accept_local is 0, and behind that rp-filter-outer while
#            rp_filter is 1. So nobody ever asks for B's address. XDP and tc are alike in it.
# You see:   nothing come out, and why; with IPv6 as the outer header, everything come out.
# Mended by: accept_local=1 with rp_filter=0 or 2 on the device with the program.
#
# usage: examples/encap.sh [xdp|tc] [4|6] [off|accept_local|on]
#
#   A va 30.1.1.2/24 ---- 30.1.1.1/24 ra R rb 20.1.1.1/24 ---- 20.1.1.2/24 vb B
#                                        program         fd00::1/64 ---- fd00::2/64
#
# off leaves both settings as they are, on changes both; without arguments some of all.
. "$(dirname "$0")/lab.sh"

if [[ $# -eq 0 ]]; then
	for variant in "xdp 4 off" "tc 4 accept_local" "tc 6 off"; do
		printf '\n-- %s\n\n' "$variant"
		read -ra arguments <<<"$variant"
		"$0" "${arguments[@]}"
	done
	exit
fi

hook=$1 family=${2:-4} settings=${3:-off}
[[ $hook =~ ^(xdp|tc)$ && $family =~ ^[46]$ && $settings =~ ^(off|accept_local|on)$ ]] ||
	{ echo "usage: examples/encap.sh [xdp|tc] [4|6] [off|accept_local|on]" >&2; exit 2; }
OBJECT=$HERE/../src/gretrace/objects/encap.bpf.o
[[ -e $OBJECT ]] || refuse "$OBJECT is missing; run make -C bpf"
for name in bpftool tc tcpdump; do
	command -v "$name" >/dev/null || refuse "$name is missing; run script/setup"
done

in_r() { ip netns exec gt-r "$@"; }

routed() {
	make_hosts a r b
	cable a va 30.1.1.2/24 r ra 30.1.1.1/24
	cable r rb 20.1.1.1/24 b vb 20.1.1.2/24
	ip -n gt-a route add default via 30.1.1.1
	in_r sysctl -qw net.ipv6.conf.{ra,rb}.disable_ipv6=0
	ip netns exec gt-b sysctl -qw net.ipv6.conf.vb.disable_ipv6=0
	ip -n gt-r addr add fd00::1/64 dev rb nodad
	ip -n gt-b addr add fd00::2/64 dev vb nodad
	run ip netns exec gt-r sysctl -w net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1 \
		net.ipv4.conf.ra.rp_filter=1 net.ipv4.conf.ra.accept_local=0
}

# The map holds both addresses in 16 bytes each, and the family (struct encap_config).
address() { # ADDRESS...; prints it as bytes
	local IFS=. zeros='0 0 0 0 0 0 0 0 0 0 0 0'
	case $1 in
	*.*) read -ra bytes <<<"$1"; printf '%s %s ' "${bytes[0]} ${bytes[1]} ${bytes[2]} ${bytes[3]}" "$zeros" ;;
	fd00::*) printf '253 0 0 %s %s ' "$zeros" "${1#fd00::}" ;;
	esac
}

attach() {
	local program map value
	if [[ $hook == tc ]]; then
		run tc -n gt-r qdisc add dev ra clsact
		run tc -n gt-r filter add dev ra ingress bpf direct-action object-file "$OBJECT" section tc
		program=$(tc -n gt-r filter show dev ra ingress | sed -n 's/.* id \([0-9]*\).*/\1/p')
	else
		# Generic, as a native program's redirect reaches a veth only if its peer has one too.
		run ip -n gt-r link set dev ra xdpgeneric object "$OBJECT" section xdp
		program=$(ip -n gt-r link show ra | sed -n 's/.*prog\/xdp id \([0-9]*\).*/\1/p')
	fi
	map=$(bpftool prog show id "$program" | sed -n 's/.*map_ids \([0-9]*\).*/\1/p')
	if [[ $family == 4 ]]; then
		value="$(address 20.1.1.1)$(address 20.1.1.2)4 0 0 0"
	else
		value="$(address fd00::1)$(address fd00::2)6 0 0 0"
	fi
	# shellcheck disable=SC2086  # each byte is a word
	run bpftool map update id "$map" key 0 0 0 0 value $value
}

set_up() { run ip netns exec gt-r sysctl -w "$@"; }

# Sends from A, watches R and what comes out at B; leaves `report`, `code` and `came_out`.
explain_sending() {
	local sniffer
	ip netns exec gt-b tcpdump -ln -i vb proto 47 or ip6 proto 47 \
		>"$scratch/wire" 2>"$scratch/sniffer" &
	sniffer=$!
	rm -f "$scratch/ready"
	printf '$ %s\n' "gretrace explain-drop --netns gt-r &"
	"$GRETRACE" explain-drop --netns gt-r --duration 300 --ready-file "$scratch/ready" \
		>"$scratch/report" &
	watcher=$!
	until [[ -e $scratch/ready ]] && grep -q listening "$scratch/sniffer"; do
		[[ -d /proc/$watcher && -d /proc/$sniffer ]] || fail "cannot watch"
		sleep 0.1
	done
	# Nobody is meant to answer.
	run ip netns exec gt-a ping -q -c 3 -i 0.3 -W 2 10.10.10.1 || true
	kill -INT "$watcher" "$sniffer"
	code=0
	wait "$watcher" || code=$?
	watcher=''
	wait "$sniffer" || true
	report=$(<"$scratch/report")
	came_out=$(grep -c GRE "$scratch/wire" || true)
	printf '\n%s came out:\n%s\n\n%s\n\n(exit code %s)\n\n' \
		"$came_out" "$(<"$scratch/wire")" "$report" "$code"
}

expect_all() {
	[[ $came_out -eq 3 ]] || fail "$came_out packets of 3 came out"
	[[ $code -eq 0 ]] || fail "explain-drop exited with $code, not 0"
}

routed
attach
case $settings in
off) ;;
accept_local) set_up net.ipv4.conf.ra.accept_local=1 ;;
on) set_up net.ipv4.conf.ra.accept_local=1 net.ipv4.conf.ra.rp_filter=2 ;;
esac

explain_sending
case $family$settings in
4off) answered=no expect_cause martian-source 20.1.1.1 accept_local ;;
4accept_local) answered=no expect_cause rp-filter-outer 20.1.1.1 rp_filter ;;
*) expect_all; exit ;;
esac
[[ $came_out -eq 0 ]] || fail "$came_out packets came out"
apply_advice
explain_sending
expect_all
