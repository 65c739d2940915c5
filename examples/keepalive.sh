#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# The peer is a router that sends keepalives, and takes its tunnel down without answers.
#
# Broken:    nothing, but B's kernel answers no keepalive.
# You see:   A's keepalives lost at B; then a responder on B's tunnel, the keepalives
#            answered, and the count of them.
# Mended by: gretrace respond. The responder stays on the tunnel when the command ends.
. "$(dirname "$0")/lab.sh"

# A keepalive is the peer's answer to it, sent through the tunnel: an IP packet from B
# to A that carries GRE with nothing in it. It comes back as it was sent.
keepalives() { # COUNT; leaves `answered`
	printf '$ %s\n' "(A sends $1 keepalives)"
	answered=$(ip netns exec gt-a python3 - "$1" <<-'PYTHON'
		import socket, struct, sys, time

		answer = struct.pack("!BBHHHBBH4s4sHH", 0x45, 0, 24, 0, 0, 255, 47, 0,
		    socket.inet_aton("20.1.1.1"), socket.inet_aton("20.1.1.2"), 0, 0)
		total = sum(struct.unpack("!10H", answer[:20]))
		answer = answer[:10] + struct.pack("!H", ~(total + (total >> 16)) & 0xffff) + answer[12:]

		tunnel = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(0x0800))
		tunnel.bind(("gre1", 0x0800))
		answered = 0
		for _ in range(int(sys.argv[1])):
		    tunnel.sendto(answer, ("gre1", 0x0800))
		    end = time.monotonic() + 2
		    while (left := end - time.monotonic()) > 0:
		        tunnel.settimeout(left)
		        try:
		            if tunnel.recv(2048) == answer:
		                answered += 1
		                break
		        except TimeoutError:
		            break
		print(answered)
	PYTHON
	)
	printf '%s sent, %s answered\n\n' "$1" "$answered"
}

gretrace() { printf '$ gretrace %s\n' "$*"; "$GRETRACE" "$@"; }

command -v python3 >/dev/null || refuse "python3 is missing; run script/setup"
direct_lab
tunnel a remote 20.1.1.1 local 20.1.1.2 ikey 1 okey 1
tunnel b remote 20.1.1.2 local 20.1.1.1 ikey 1 okey 1

keepalives 3
[[ $answered -eq 0 ]] || fail "$answered keepalives were answered without a responder"

gretrace respond --netns gt-b gre1
echo
keepalives 3
[[ $answered -eq 3 ]] || fail "$answered keepalives of 3 were answered"

listing=$(gretrace tunnels --netns gt-b)
printf '%s\n\n' "$listing"
[[ $listing == *"3 answered"* ]] || fail "tunnels did not count 3 answers"
ping_b || fail "the tunnel does not carry a ping beside the responder"
