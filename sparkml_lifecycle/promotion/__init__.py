"""Gates: a version comes to a stage or alias only if what is required of it holds, and the history says so."""

from sparkml_lifecycle.promotion.gate import Check, Verdict, promote

__all__ = ["Check", "Verdict", "promote"]
