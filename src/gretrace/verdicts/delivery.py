"""The packet left the tunnel, and the host would not route what it carried."""
