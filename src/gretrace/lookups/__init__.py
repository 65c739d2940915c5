"""`lookup` as a use case: what the kernel chooses, live, and what it would choose."""
