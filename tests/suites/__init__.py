"""What `script/test` runs: which tests in which kernel, two guests at once, and the report."""
