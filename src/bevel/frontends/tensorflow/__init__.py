"""TensorFlow: the names of its operations, and what runs them.

`bevel.frontends.from_tensorflow` is the entry.
"""
