"""A tunnel was found for the packet, and refuses it (ip_tunnel_rcv() of net/ipv4/ip_tunnel.c)."""
