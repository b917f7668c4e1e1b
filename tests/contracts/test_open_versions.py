"""What server and sync agent must agree on: a version that a server has open is not collected."""

from __future__ import annotations

import json
from pathlib import Path

from kept_volumes import KeptVolume
from slipway_server.loading.directory_lock import DirectoryLockLoader
from small_exports import contents, tree


class Trusting:
    """Loads without looking."""

    def load(self, model: str, version: int, path: str) -> str:
        return f"{model} {version} {path}"

    def unload(self, content: str) -> None:
        pass


def test_the_agent_leaves_what_the_server_has_open_and_takes_it_afterwards(tmp_path: Path) -> None:
    world = KeptVolume(tmp_path)
    for version in (3, 4):
        world.upload(version, contents(seed=version))
        world.sync(version)
    keep = tmp_path / "keep.json"
    keep.write_text(json.dumps({"keep": [world.name(4)]}))
    world.now += 3600
    loader = DirectoryLockLoader(Trusting())
    loaded = loader.load("digits", 3, str(world.directory(3)))
    world.sync(4, keep=keep)
    assert tree(world.directory(3)).items() >= contents(seed=3).items()
    loader.unload(loaded)
    world.sync(4, keep=keep)
    assert not world.directory(3).exists()
