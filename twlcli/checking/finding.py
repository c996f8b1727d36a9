"""What a check of labelled images found."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

Severity = Literal["error", "warning", "note"]

SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")  # the worst first


@dataclass(frozen=True)
class Item:
    """One case of a finding.

    Attributes:
        text: for people.
        fields: the same for programs, as plain values.
    """

    text: str
    fields: Mapping[str, Any]


@dataclass(frozen=True)
class Finding:
    """One kind of thing that was found.

    Attributes:
        kind: a name that stays the same, such as `missing-images`.
        severity: `error` for what makes scores or a training wrong, `warning` for what may, `note`
            for what is good to know.
        message: what was found, with its number.
        items: every case.
        hint: what can be done about it; or empty.
    """

    kind: str
    severity: Severity
    message: str
    items: tuple[Item, ...] = ()
    hint: str = ""

    @property
    def count(self) -> int:
        """How many cases there are."""
        return len(self.items)

    def to_dict(self) -> dict[str, Any]:
        """The finding as plain values for JSON."""
        return {
            "kind": self.kind,
            "severity": self.severity,
            "message": self.message,
            "hint": self.hint,
            "count": self.count,
            "items": [dict(item.fields) for item in self.items],
        }


def worst_first(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Errors, then warnings, then notes; otherwise in the order given."""
    return tuple(sorted(findings, key=lambda finding: SEVERITIES.index(finding.severity)))
