"""Registered models, their versions and everything that ever happened to them, in one append-only table."""

from sparkml_lifecycle.registry.store import Registry

__all__ = ["Registry"]
