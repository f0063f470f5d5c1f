"""``make audit``: known vulnerabilities of what is installed, by pip-audit; what was not looked up fails too."""

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

OURS = {"intima"}


def main() -> int:
    """Return 0 where every package was looked up and none has a known vulnerability."""
    command = [Path(sys.executable).parent / "pip-audit", "--format", "json", "--progress-spinner", "off"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if not done.stdout:
        sys.stderr.write(done.stderr)
        return 2
    lines = findings(json.loads(done.stdout)["dependencies"])
    sys.stdout.write("".join(f"{line}\n" for line in lines) or "Every package was looked up; nothing is known.\n")
    return 1 if lines else 0


def findings(packages: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return one line for each vulnerable package and one for all that could not be looked up."""
    found = [
        f"{p['name']} {p['version']}: {v['id']}, fixed in {', '.join(v['fix_versions']) or 'no release'}"
        for p in packages
        for v in p.get("vulns", ())
    ]
    skipped = [p["name"] for p in packages if "skip_reason" in p and p["name"] not in OURS]
    if skipped:
        found.append(f"{len(skipped)} of {len(packages)} packages could not be looked up, so nothing is known of them.")
    return found


if __name__ == "__main__":
    sys.exit(main())
