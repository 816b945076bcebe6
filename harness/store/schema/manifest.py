"""`manifest.json`: the size and digest of every file of a run, and by which version of the harness it was judged."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from harness.store.schema.codec import Codec
from harness.store.schema.plan import VERSION


@dataclass(frozen=True, slots=True)
class JudgedBy:
    """What made records, figures and tables of the responses: two that differ may come to other figures."""

    harness: str | None  # version of the package; None: it runs from its source
    code: str  # digest of its modules that judge, count and show
    libraries: Mapping[str, str | None] = field(default_factory=dict)  # versions; None: not installed


@dataclass(frozen=True, slots=True)
class FileDigest:
    """A file as it was when the manifest was written."""

    bytes: int
    sha256: str  # of its bytes
    content: str  # of what it says, however it is rendered; of a chain: its head


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """The content of `manifest.json`. `digest` is that of all else in it: noted elsewhere, it proves every file."""

    schema: int = VERSION
    files: Mapping[str, FileDigest]
    digest: str


MANIFESTS: Codec[Manifest] = Codec(Manifest, "manifest of a run")
