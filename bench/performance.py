"""Every goal of speed and memory in one go: ``make bench`` (an hour on two cores).

P1 and P3 tiles, P2 toolbox, P4 and P13 slides, P5 dropout, P6 formats, P9 and P10 serving, P15 reads, and OpenVINO;
each prints its own table. What a bench needs and does not find is not measured, which is neither met nor missed.
"""

import subprocess
import sys

from bench._outcomes import NOT_MEASURED

BENCHES: tuple[tuple[str, ...], ...] = (
    ("tiles",),
    ("toolbox",),
    ("openvino",),
    ("dropout",),
    ("formats",),
    ("reads",),
    ("serving",),
    ("slide",),
)


def main() -> int:
    """Run all, one after the other. Returns how many missed a goal."""
    outcomes = {}
    for bench in BENCHES:
        name = " ".join(bench)
        print(f"\n## {name}", flush=True)
        outcomes[name] = subprocess.run([sys.executable, "-m", "bench", *bench], check=False).returncode
    missed = [name for name, code in outcomes.items() if code not in (0, NOT_MEASURED)]
    unmeasured = [name for name, code in outcomes.items() if code == NOT_MEASURED]
    print(f"\nmissed: {', '.join(missed) or 'none'}; not measured: {', '.join(unmeasured) or 'none'}")
    return len(missed)


if __name__ == "__main__":
    sys.exit(main())
