"""What a host would have done with captured packets, from the table of its tunnels alone.

The kernel's way of a received GRE packet (gre_rcv() of net/ipv4/gre_demux.c, net/ipv4/ip_gre.c
and net/ipv6/ip6_gre.c, ip_tunnel_rcv(), __ip6_tnl_rcv()), step by step, up to where the tunnel
has taken it; and which keepalives nobody answered.
"""

from gretrace.replay.host import ReplayedHost

__all__ = ["ReplayedHost"]
