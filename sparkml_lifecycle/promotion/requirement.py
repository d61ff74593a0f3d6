"""What is required of a version, as text: ``metrics.mae <= champion.mae * 1.01``; sqlglot reads it, and little of SQL is taken."""

import math
import operator
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

from sparkml_lifecycle.errors import InvalidInput

Value = float | str | None
_LONGEST = 500
_EXAMPLE = "metrics.mae <= champion.mae * 1.01"


@dataclass(frozen=True)
class Name:
    """A value by its name: ``champion.mae`` is ``Name("champion", "mae")``."""

    source: str
    key: str


class Absent(Exception):
    """A value that a requirement names and that is not there; ``holds`` says what follows."""

    def __init__(self, said: str, holds: bool) -> None:
        super().__init__(said)
        self.holds = holds


class Requirement:
    """One requirement.

    Parameters
    ----------
    text : str
        Comparisons of numbers, texts and names with ``+ - * /``, AND, OR, NOT and parentheses. Odd keys stand in backticks.

    Raises
    ------
    InvalidInput
        If it cannot be read or has something else in it.
    """

    def __init__(self, text: str) -> None:
        import sqlglot
        from sqlglot.errors import SqlglotError

        if not isinstance(text, str) or not text.strip():
            raise InvalidInput(f"A requirement is a text such as {_EXAMPLE!r}, found {text!r}.")
        self.text = text.strip()
        try:
            self._tree = sqlglot.parse_one(self.text, read="spark")
        except SqlglotError:
            raise InvalidInput(f"The requirement {self.text!r} cannot be read. An example: {_EXAMPLE!r}.") from None
        except RecursionError:
            raise InvalidInput("The requirement is nested too deep: give several.") from None
        self._check(self._tree)

    def names(self) -> Iterator[Name]:
        """The values it needs."""
        from sqlglot import exp

        for column in self._tree.find_all(exp.Column):
            yield _name(column)

    def holds(self, value: Callable[[Name], Value]) -> tuple[bool, str]:
        """Whether it holds, and what was found, as a person reads it; ``value`` gives what a name means or raises :class:`Absent`.

        A comparison with a place that nobody holds is neither true nor false: alone it holds, and beside others those decide.
        """
        try:
            return self._truth(self._tree, value) is not False, self._shown(value)
        except Absent as missing:
            return False, str(missing)
        except (TypeError, ZeroDivisionError) as error:
            return False, f"{self._shown(value)}: {error}"

    def _truth(self, node: Any, value: Callable[[Name], Value]) -> bool | None:
        """True, False or None for unknown, as in SQL (Kleene)."""
        from sqlglot import exp

        if isinstance(node, exp.Paren):
            return self._truth(node.this, value)
        if isinstance(node, exp.Not):
            found = self._truth(node.this, value)
            return None if found is None else not found
        if isinstance(node, exp.And | exp.Or):
            parts = [self._truth(part, value) for part in (node.this, node.expression)]
            decisive = isinstance(node, exp.Or)
            if decisive in parts:
                return decisive
            return None if None in parts else not decisive
        try:
            left, right = _alike(self._of(node.this, value), self._of(node.expression, value))
            return bool(_comparisons()[type(node)](left, right))
        except Absent as missing:
            if missing.holds:
                return None
            raise

    def _of(self, node: Any, value: Callable[[Name], Value]) -> Any:
        from sqlglot import exp

        if isinstance(node, exp.Column):
            return value(_name(node))
        if isinstance(node, exp.Literal):
            return node.this if node.is_string else float(node.this)
        if isinstance(node, exp.Paren):
            return self._of(node.this, value)
        if isinstance(node, exp.Neg):
            return -_as_number(self._of(node.this, value))
        parts = [_as_number(self._of(part, value)) for part in (node.this, node.expression)]
        return _arithmetic()[type(node)](*parts)

    def _shown(self, value: Callable[[Name], Value]) -> str:
        found: dict[str, None] = {}
        for name in self.names():
            try:
                found[f"{name.source}.{name.key} = {shown(value(name))}"] = None
            except Absent as missing:
                found[str(missing)] = None
        return ", ".join(found)

    def _check(self, node: Any) -> None:
        """Comparisons joined by AND, OR and NOT; whatever reads otherwise than it counts is refused."""
        from sqlglot import exp

        if any(one.comments for one in node.walk()):
            raise InvalidInput(
                f"The requirement {self.text!r} holds a comment, which nobody would check: leave it out."
            )
        if sum(1 for _ in node.walk()) > _LONGEST:
            raise InvalidInput(f"The requirement has more than {_LONGEST} parts: give several.")
        waiting = [node]
        while waiting:
            one = waiting.pop()
            if isinstance(one, exp.And | exp.Or):
                waiting += [one.this, one.expression]
            elif isinstance(one, exp.Not | exp.Paren):
                waiting.append(one.this)
            elif type(one) in _comparisons():
                self._check_value(one.this)
                self._check_value(one.expression)
            else:
                raise InvalidInput(
                    f"The requirement {self.text!r} compares nothing in {one.sql()!r}. An example: {_EXAMPLE!r}."
                )

    def _check_value(self, node: Any) -> None:
        from sqlglot import exp

        for one in node.walk():
            if type(one) in _comparisons():
                raise InvalidInput(
                    f"The requirement {self.text!r} compares a comparison, {one.sql()!r}: write 'a <= b AND b <= c'."
                )
            if not isinstance(one, (*_arithmetic(), exp.Column, exp.Identifier, exp.Literal, exp.Paren, exp.Neg)):
                raise InvalidInput(
                    f"The requirement {self.text!r} holds {one.sql()!r}. Allowed: names such as metrics.mae, params.depth, tags.team, "
                    f"champion.mae, numbers, 'texts', comparisons, + - * /, AND, OR, NOT and parentheses."
                )
            if isinstance(one, exp.Column) and len(one.parts) < 2:
                raise InvalidInput(
                    f"The requirement {self.text!r} names {one.sql()!r}: say what it is of, such as metrics.{one.name} or champion.{one.name}."
                )


def shown(value: Value) -> str:
    """A value in six digits."""
    if isinstance(value, float):
        return "NaN" if math.isnan(value) else f"{value:.6g}"
    return "nothing" if value is None else repr(value)


def _name(column: Any) -> Name:
    source, *key = (part.name for part in column.parts)
    return Name(source, ".".join(key))


def _alike(left: Any, right: Any) -> tuple[Any, Any]:
    """Two numbers or two texts; a param or tag is a number where it is compared with one."""
    if isinstance(left, str) and isinstance(right, str):
        return left, right
    return _as_number(left), _as_number(right)


def _as_number(value: Any) -> float:
    try:
        number = float(value)
    except ValueError:
        raise TypeError(f"{value!r} is no number") from None
    if math.isnan(number):
        raise TypeError("NaN is neither more nor less than anything")
    return number


@cache
def _comparisons() -> dict[Any, Callable[[Any, Any], Any]]:
    from sqlglot import exp

    return {
        exp.EQ: operator.eq, exp.NEQ: operator.ne, exp.LT: operator.lt, exp.LTE: operator.le, exp.GT: operator.gt,
        exp.GTE: operator.ge,
    }  # fmt: skip


@cache
def _arithmetic() -> dict[Any, Callable[[Any, Any], Any]]:
    from sqlglot import exp

    return {exp.Add: operator.add, exp.Sub: operator.sub, exp.Mul: operator.mul, exp.Div: operator.truediv}
