"""Write the viewer's TypeScript types from the OpenAPI documents of both services; ``--check`` says if they are."""

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from services.api.app import create_app as create_api
from services.api.settings import Settings as ApiSettings
from services.stats.app import create_app as create_stats
from services.stats.settings import Settings as StatsSettings

_ROOT = Path(__file__).parent.parent
_INTO = _ROOT / "web" / "src" / "api" / "generated"
_NODE = Path(sys.executable).with_name("node")
_TOOL = _ROOT / "web" / "node_modules" / "openapi-typescript" / "bin" / "cli.js"


def main() -> int:
    """Write the types, or say which differ."""
    check = sys.argv[1:] == ["--check"]
    with tempfile.TemporaryDirectory() as scratch:
        made = {name: _types(document, Path(scratch), name) for name, document in _documents().items()}
    stale = [name for name, text in made.items() if _read(_INTO / name) != text]
    if check and stale:
        sys.stderr.write(f"{', '.join(stale)}: not what the services say now. Run make web-types.\n")
        return 1
    for name in stale:
        (_INTO / name).write_text(made[name], encoding="utf-8")
    return 0


def _documents() -> dict[str, dict[str, Any]]:
    return {"api.d.ts": create_api(ApiSettings()).openapi(), "stats.d.ts": create_stats(StatsSettings()).openapi()}


def _types(document: dict[str, Any], scratch: Path, name: str) -> str:
    source, made = scratch / "openapi.json", scratch / name
    source.write_text(json.dumps(document), encoding="utf-8")
    subprocess.run([str(_NODE), str(_TOOL), str(source), "-o", str(made)], check=True, capture_output=True, cwd=scratch)
    return made.read_text(encoding="utf-8")


def _read(file: Path) -> str:
    return file.read_text(encoding="utf-8") if file.is_file() else ""


if __name__ == "__main__":
    sys.exit(main())
