"""Every real, unusual and damaged file through the confined child: what comes out, how long it takes, how much memory.

``python -m bench slide_files`` prints a markdown table with a line for each file of wsi, image-unusual and
image-damaged; ``--out docs/slide_files.md`` writes it. A file is inspected, then decoded whole. Needs ../shared/data
and Linux. Children import this module: it imports little.
"""

import argparse
import json
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from intima.confined import Limits, child, preload
from intima.slides._guard import MAX_DECODE_PIXELS

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
FOLDERS = ("wsi", "image-unusual", "image-damaged")
LIMITS = Limits()
HEAD = """# Slide files

What becomes of every file of the sets `wsi`, `image-unusual` and `image-damaged` (real slides, decoder test suites,
fuzzers' findings) in the confined child: inspected, then decoded whole. Printed by `python -m bench slide_files`; the
files are not in the repository. Time is wall time of both steps on a shared machine, memory the larger peak beyond a
resting child.
"""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one file."""

    folder: str
    file: str
    code: str
    """ "ok" or the code of the refusal."""
    text: str
    seconds: float
    peak_bytes: int | None
    """None where the child was killed."""


def files(folder: str) -> Iterator[Path]:
    """Yield the files of a set in the order of its manifest."""
    manifest = json.loads((DATA / folder / "manifest.json").read_text())
    for entry in manifest if isinstance(manifest, list) else manifest["files"]:
        yield DATA / folder / entry["file"]


def outcome(folder: str, path: Path) -> Outcome:
    """Inspect and decode one file."""
    start = time.monotonic()
    answer, peak = ask("inspect", path)
    text = describe(answer["info"]) if "info" in answer else ""
    if "error" not in answer:
        answer, second = ask("image", path)
        peak = None if peak is None or second is None else max(peak, second)
    error = answer.get("error")
    return Outcome(
        folder=folder,
        file=path.relative_to(DATA / folder).as_posix().removeprefix("files/"),
        code=error["code"] if error else "ok",
        text=error["message"] if error else text,
        seconds=time.monotonic() - start,
        peak_bytes=peak,
    )


def ask(task: str, path: Path) -> tuple[dict[str, Any], int | None]:
    """Give a task to a measured child; return its answer and its peak."""
    with tempfile.TemporaryDirectory() as scratch:
        peak = Path(scratch) / "peak"
        arguments = {"task": task, "path": str(path), "name": "", "scratch": scratch, "peak": str(peak)}
        arguments |= {"out": str(Path(scratch) / "pixels.npy"), "max_pixels": MAX_DECODE_PIXELS}
        with child("bench._measured", arguments, LIMITS, method="forkserver") as started:
            answer = started.answer(LIMITS.wall_s)
            started.process.join(5)
        stopped = {"error": {"code": "unreadable_image", "message": "The decoder was stopped."}}
        return answer or stopped, int(peak.read_text()) if peak.is_file() else None


def describe(info: dict[str, Any]) -> str:
    """Return format, size, levels and pixel size in a few words."""
    levels = f", {info['levels']} levels" if info["levels"] > 1 else ""
    mpp = "" if info["mpp"] is None else f", {info['mpp']:.4g} µm/px"
    more = f", {' + '.join(info['associated'])}" if info["associated"] else ""
    return f"{info['format']} {info['width']} x {info['height']}{levels}{mpp}{more}"


def lines(found: list[Outcome]) -> Iterator[str]:
    """Yield the document."""
    yield HEAD
    for folder in FOLDERS:
        part = [o for o in found if o.folder == folder]
        if not part:
            continue
        counts = Counter(o.code for o in part)
        most = max((o.peak_bytes or 0 for o in part), default=0) / 2**20
        yield f"## {folder}\n"
        yield f"{len(part)} files: " + ", ".join(f"{n} {code}" for code, n in counts.most_common()) + "."
        slowest = max(o.seconds for o in part)
        yield f"Slowest {slowest:.1f} s, peak {most:.0f} MiB of the {LIMITS.memory_bytes / 2**20:.0f} MiB allowed.\n"
        yield "| file | result | s | MiB |\n|---|---|---|---|"
        for o in part:
            result = o.text if o.code == "ok" else f"`{o.code}` {o.text}"
            memory = "killed" if o.peak_bytes is None else f"{o.peak_bytes / 2**20:.0f}"
            yield f"| {o.file} | {result.replace('|', '/')} | {o.seconds:.2f} | {memory} |"
        yield ""


def main() -> int:
    """Print or write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--folder", choices=FOLDERS, action="append")
    arguments = parser.parse_args()
    if not DATA.is_dir():
        sys.stderr.write("needs the folder ../shared/data\n")
        return 1
    preload("bench._measured")
    found = [outcome(folder, path) for folder in arguments.folder or FOLDERS for path in files(folder)]
    text = "\n".join(lines(found)).rstrip() + "\n"
    if arguments.out:
        arguments.out.write_text(text, encoding="utf-8")
    else:
        sys.stdout.write(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
