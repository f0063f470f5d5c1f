"""Run the api: ``python -m services.api``."""

import logging

import uvicorn

from services.api.app import create_app
from services.api.settings import Settings


def main() -> None:
    """Serve until stopped."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(levelname)s %(message)s")
    settings = Settings()
    uvicorn.run(
        create_app(settings), host=settings.host, port=settings.port, log_level="warning", timeout_graceful_shutdown=5
    )


if __name__ == "__main__":
    main()
