"""JAX: how a jaxpr's equations are read, named and run.

`bevel.frontends.from_jax` is the entry.
"""
