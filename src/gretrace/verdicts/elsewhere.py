"""A tunnel that fits, but not here: in another namespace, or the kernel's own device."""
