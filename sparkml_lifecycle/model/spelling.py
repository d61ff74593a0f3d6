"""What stands for a missing value, where pandas has several spellings; loads no library, because the flavor table needs it."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Spelling:
    """How a framework, or one model of it, spells what pandas has several spellings for.

    Attributes
    ----------
    text : {"nan", "none"}
        What stands for a missing value in a column of objects.
    none_in : frozenset of str
        The columns in which it is None although ``text`` is ``"nan"``.
    nullable_integers : bool
        Whether integers and booleans with a null become pandas' ``Int64`` and ``boolean``, which lose no digit.
    apart : bool
        Whether the model looks at columns one by one, so that a null in one must not change the type of another.
    unseen : {"missing", "kept", "refused"}
        What a category is that is not among the known levels: a missing value, a level more, or a row without an answer.
    """

    text: Literal["nan", "none"] = "none"
    none_in: frozenset[str] = frozenset()
    nullable_integers: bool = False
    apart: bool = False
    unseen: Literal["missing", "kept", "refused"] = "missing"
