"""Files of others are as they were published."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

VENDOR = Path(__file__).resolve().parents[2] / "static" / "vendor"


def test_every_vendored_file_is_listed_with_its_hash() -> None:
    listed = (VENDOR / "README.md").read_text()
    files = [path for path in VENDOR.iterdir() if path.name != "README.md"]

    assert files
    for path in files:
        assert f"| {path.name} |" in listed
        assert sha256(path.read_bytes()).hexdigest() in listed
