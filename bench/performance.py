"""Every goal of speed and memory in one go: ``make bench`` (an hour on two cores).

P1 and P3 tiles, P4 and P13 slides, P5 dropout, P6 formats, P9 and P10 serving, P15 reads; each prints its own table.
"""

import subprocess
import sys

BENCHES: tuple[tuple[str, ...], ...] = (
    ("tiles",),
    ("dropout",),
    ("formats",),
    ("reads",),
    ("serving",),
    ("slide",),
)


def main() -> int:
    """Run all, one after the other. Returns how many missed a goal."""
    missed = 0
    for bench in BENCHES:
        print(f"\n## {' '.join(bench)}", flush=True)
        missed += subprocess.run([sys.executable, "-m", "bench", *bench], check=False).returncode != 0
    return missed


if __name__ == "__main__":
    sys.exit(main())
