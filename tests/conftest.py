"""Fixtures every test may use."""

import multiprocessing.util
import os
from multiprocessing import forkserver
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from intima.confined import preload

settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")

for _name in [name for name in os.environ if name.startswith("INTIMA_")]:
    del os.environ[_name]  # what the Makefile or a developer's shell says is not what is tested

pytest_plugins = ["store_fixtures"]
REPOSITORY = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session", autouse=True)
def fork_server() -> None:
    """Start the one server of this process that children are forked from with all that they import.

    Whoever asks for a child first starts it else, with what that one needs; the rest import it in every child.
    """
    multiprocessing.util.get_temp_dir()
    preload("intima.slides._child", "services.child", "services.runner", "intima.benchmark", "intima.segmentation")
    forkserver.ensure_running()


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of real data beside the checkout; skips where it is absent."""
    folder = REPOSITORY.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("no real data: the folder shared/data beside the checkout is absent")
    return folder
