"""Last step of an image: what it is for can be imported, and what it shall not hold is not there.

SMOKE names modules to import, ABSENT modules that must not be found; both with spaces between.
"""

import importlib
import importlib.util
import os
import sys


def main() -> int:
    """Return 0 where everything is as it should be."""
    for name in os.environ["SMOKE"].split():
        importlib.import_module(name)
    found = [name for name in os.environ.get("ABSENT", "").split() if importlib.util.find_spec(name)]
    if found:
        sys.stderr.write(f"This image shall not hold {', '.join(found)}.\n")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
