"""Generate services/wire/v1 from proto/v1, or check that what is committed is what proto/ says.

Run by ``make proto`` and ``make stub-drift``.
"""

import argparse
import filecmp
import sys
import tempfile
from importlib.resources import files
from pathlib import Path

from grpc_tools import protoc

ROOT = Path(__file__).resolve().parents[1]
PROTO = ROOT / "proto"
STUBS = ROOT / "services" / "wire" / "v1"
PLUGINS = ("protoc-gen-mypy", "protoc-gen-mypy_grpc")
"""Found beside this Python, so that the environment need not be activated."""


def generate(out: Path) -> None:
    """Write the stubs of every proto file below ``out``, under the package services.wire.v1."""
    sources = sorted(PROTO.glob("v1/*.proto"))
    well_known = str(files("grpc_tools") / "_proto")
    arguments = [
        "protoc",
        *(f"--plugin={name}={Path(sys.executable).parent / name}" for name in PLUGINS),
        f"--proto_path=services/wire={PROTO}",
        f"--proto_path={well_known}",
        f"--python_out={out}",
        f"--grpc_python_out={out}",
        f"--mypy_out=quiet:{out}",
        f"--mypy_grpc_out=quiet:{out}",
        *(f"services/wire/v1/{source.name}" for source in sources),
    ]
    if protoc.main(arguments) != 0:
        raise SystemExit("protoc failed")


def main() -> int:
    """Generate, or compare."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    if not parser.parse_args().check:
        generate(ROOT)
        return 0
    with tempfile.TemporaryDirectory() as folder:
        generate(Path(folder))
        fresh = Path(folder) / "services" / "wire" / "v1"
        names = sorted(p.name for p in fresh.iterdir())
        _, different, missing = filecmp.cmpfiles(fresh, STUBS, names, shallow=False)
    for name in different + missing:
        sys.stderr.write(f"services/wire/v1/{name} is not what proto/ says; run: make proto\n")
    return 1 if different or missing else 0


if __name__ == "__main__":
    sys.exit(main())
