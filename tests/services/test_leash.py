"""Services of the local stack: how they are started."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from services.local import NICENESS, SERVICES


@pytest.mark.parametrize("niceness", [0, 5])
def test_a_service_gives_way_by_the_number_it_is_given(tmp_path: Path, niceness: int) -> None:
    (tmp_path / "polite.py").write_text("import os\ndef main():\n    print(os.nice(0))\n", encoding="utf-8")
    paths = os.pathsep.join([str(tmp_path), str(Path(__file__).parents[2])])
    done = subprocess.run(
        [sys.executable, "-m", "services.leash", "polite", str(niceness)],
        check=True,
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": paths},
    )
    assert int(done.stdout) == min(19, os.nice(0) + niceness)


def test_jobs_give_way_to_doors() -> None:
    assert set(NICENESS) <= set(SERVICES)
    assert NICENESS["runner"] > max(NICENESS.get("api", 0), NICENESS.get("stats", 0))
