from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio
from aiohttp.test_utils import TestClient

from tests.server.scripted import start


@pytest_asyncio.fixture
async def client(tmp_path: Path) -> AsyncIterator[TestClient]:
    """A running server with a scripted performer."""
    client = await start(tmp_path)
    yield client
    await client.close()
