"""Networks that come as programs: a file's own operations and weights, without Python code."""
