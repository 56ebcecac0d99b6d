"""PyTorch: a function read while it runs, step by step.

`bevel.frontends.from_torch` is the entry.
"""
