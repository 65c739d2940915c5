"""What ends a GRE packet before a tunnel is looked up: its header, or no module for it."""
