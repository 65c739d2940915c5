# SPDX-License-Identifier: GPL-2.0-only
"""What is read of this machine: tunnels, settings, routes, namespaces, firewall."""
