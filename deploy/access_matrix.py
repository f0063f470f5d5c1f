"""Write docs/access_matrix.md: which scope each operation takes, from the OpenAPI documents; --check only compares."""

import argparse
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from intima.contracts.access import IMPLIED, SCOPES
from services.api.app import create_app
from services.api.rules import CALL_RULES
from services.api.settings import Settings
from services.stats.app import create_app as create_stats
from services.stats.rules import CALL_RULES as STATS_CALL_RULES
from services.stats.settings import Settings as StatsSettings

PAGE = Path(__file__).resolve().parents[1] / "docs" / "access_matrix.md"
_HEAD = """# Access matrix

Which token may do what, where INTIMA_AUTH=tokens. Made by `python deploy/access_matrix.py` from the OpenAPI documents
of the services and the rules of their gRPC doors; `make test` fails where it is out of date, and asks every operation
with every kind of token. A token of another scope is refused with 403, none, an unknown, an expired or a revoked one
with 401, before the body is read. "public" takes no token.
"""


def main() -> int:
    """Write the page, or say whether it is out of date."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    page = _page()
    if not parser.parse_args().check:
        PAGE.write_text(page, encoding="utf-8")
        return 0
    if PAGE.read_text(encoding="utf-8") == page:
        return 0
    sys.stderr.write(f"{PAGE.name} is out of date: python deploy/access_matrix.py\n")
    return 1


def _page() -> str:
    with tempfile.TemporaryDirectory() as folder:
        api = create_app(Settings(data=Path(folder))).openapi()
        stats = create_stats(StatsSettings(data=Path(folder))).openapi()
    parts = [_HEAD]
    for name, document in (("api", api), ("stats", stats)):
        parts.append(_table(f"{name} (REST)", _operations(document)))
    calls = CALL_RULES | STATS_CALL_RULES
    parts.append(_table("gRPC", [(method, set(rule.scopes)) for method, rule in calls.items()]))
    return "\n".join(parts)


def _operations(document: dict[str, Any]) -> Iterator[tuple[str, set[str]]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            named = {scope for way in operation.get("security", []) for scope in way["token"]}
            yield f"{method.upper()} {path}", named


def _table(title: str, rows: Any) -> str:
    lines = [f"## {title}\n", f"| operation | {' | '.join(SCOPES)} |", f"|---|{'---|' * len(SCOPES)}"]
    for name, named in rows:
        cells = ["yes" if IMPLIED[held] & named else "" for held in SCOPES] if named else ["public"] * len(SCOPES)
        lines.append(f"| `{name}` | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
