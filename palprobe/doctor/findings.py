"""What an examination found: a verdict for each check, as values that the command line draws or writes as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

Verdict = Literal["ok", "warn", "fail"]
VERDICTS: tuple[Verdict, ...] = ("ok", "warn", "fail")  # from good to bad
NOT_EXAMINED = "not examined"  # how `found` begins where another check had failed before
Scalar = bool | int | float | str | None
Value = Scalar | list[Scalar]


@dataclass(frozen=True)
class Finding:
    """One check of an encoder."""

    name: str
    verdict: Verdict
    found: str
    expected: str  # and after a warn or fail what to do
    values: Mapping[str, Value]  # the numbers in `found`, for programs; finite; empty where nothing was measured


@dataclass(frozen=True)
class EncoderReport:
    """All that was examined of an encoder."""

    encoder: Mapping[str, Value]  # what it is called and what it declares
    findings: tuple[Finding, ...]

    @property
    def verdict(self) -> Verdict:
        """The worst one."""
        return max((finding.verdict for finding in self.findings), key=VERDICTS.index)

    def count(self, verdict: Verdict) -> int:
        return sum(finding.verdict == verdict for finding in self.findings)

    def as_json(self) -> dict[str, Any]:
        """`summary` (what it is, the worst verdict, a count of each) and `checks` in the order they were done in."""
        counts = {verdict: self.count(verdict) for verdict in VERDICTS}
        return {
            "summary": {**self.encoder, "verdict": self.verdict, **counts},
            "checks": [asdict(finding) for finding in self.findings],
        }


def digits(value: float) -> str:
    """Three significant digits, or all before the point: '0.0123', '12.5', '1500'."""
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def result(name: str, verdict: Verdict, found: str, expected: str, **values: Value) -> Finding:
    return Finding(name, verdict, found, expected, values)
