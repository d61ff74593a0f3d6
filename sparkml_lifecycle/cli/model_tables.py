"""Registered models as tables for a person and as documents."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from sparkml_lifecycle import uris
from sparkml_lifecycle.cli import shown, terminal
from sparkml_lifecycle.entities import ModelChange, ModelVersion, RegisteredModel

if TYPE_CHECKING:
    from sparkml_lifecycle.promotion import Verdict


def titled(name: str, version: str | None) -> str:
    """A model or its version, as sentences name it."""
    return f"version {version} of {name!r}" if version else f"{name!r}"


def versions_table(title: str, versions: Sequence[ModelVersion]) -> Any:
    """Versions, a line each."""
    table = terminal.table(
        title, "name", "version", "stage", "aliases", "registered", "by", "run", numbers=("version",),
        whole=("registered", "run"), widest=40,
    )  # fmt: skip
    for one in versions:
        terminal.row(
            table, one.name, one.version, one.current_stage, ", ".join(f"@{alias}" for alias in one.aliases) or shown.NOTHING,
            shown.moment(one.creation_timestamp), one.user_id, one.run_id or shown.NOTHING,
        )  # fmt: skip
    return table


def rows_of(one: ModelVersion) -> list[tuple[str, Any]]:
    """What there is to say of one version: label and text."""
    return [
        ("stage", one.current_stage),
        ("aliases", ", ".join(f"@{alias}" for alias in one.aliases) or shown.NOTHING),
        ("description", shown.text(one.description or None)),
        ("registered", f"{shown.moment(one.creation_timestamp, seconds=True)} by {one.user_id}"),
        ("last change", shown.moment(one.last_updated_timestamp, seconds=True)),
        ("run", one.run_id or shown.NOTHING),
        ("source", one.source),
        *([("copied from", one.copied_from)] if one.copied_from else []),
        ("digest", one.digest),
        ("model digest", one.model_digest),
        *((f"tag {key}", shown.text(value)) for key, value in sorted(one.tags.items())),
    ]


def gate_table(verdict: "Verdict") -> Any:
    """What was required, and what was found."""
    table = terminal.table(f"Gate for {titled(verdict.name, verdict.version)}", "", "required", "found", widest=70)
    for one in verdict.checks:
        terminal.row(table, "✓" if one.passed else "✗", one.what, one.found, style=None if one.passed else "red")
    return table


def outside(one: ModelVersion, lake: str) -> str:
    """A warning where the files of a version lie outside of its lake; else nothing."""
    if uris.below(one.source, lake) is not None:
        return ""
    return f"\nIts files stay at {one.source}, outside of the lake: who moves or removes them breaks the version."


def why(one: ModelChange) -> str | None:
    """What a history says of the reason for a change."""
    if one.what == "version" and one.after is not None and not one.comment:
        came = one.details.get("copied_from")
        return f"from {came}" if came else None
    if not one.details.get("checks"):
        return one.comment or None
    missed = [check["what"] for check in one.details["checks"] if not check["passed"]]
    found = f"not: {', '.join(missed)}" if missed else shown.several(len(one.details["checks"]), "check")
    return "; ".join([*([one.comment] if one.comment else []), f"to {' and '.join(one.details['to'])}, {found}"])


def model_document(model: RegisteredModel) -> dict[str, Any]:
    """A model as a document."""
    return {
        **plain(dict(model)),
        "aliases": dict(model.aliases),
        "latest_versions": [version_document(one) for one in model.latest_versions],
    }


def version_document(one: ModelVersion) -> dict[str, Any]:
    """A version as a document."""
    return plain(dict(one))


def change_document(one: ModelChange) -> dict[str, Any]:
    """A change as a document."""
    return {**plain(dict(one)), "timestamp": shown.iso(one.timestamp)}


def plain(values: dict[str, Any]) -> dict[str, Any]:
    """With times as ISO 8601, as all documents of the command line have them."""
    return {
        key: shown.iso(value) if key.endswith("_timestamp") else shown.plain(value) for key, value in values.items()
    }
