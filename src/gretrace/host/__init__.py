"""What is read of this machine: tunnels, settings, routes, namespaces, firewall."""
