"""Packets that a tunnel could not send (ip_tunnel_xmit() of net/ipv4/ip_tunnel.c)."""
