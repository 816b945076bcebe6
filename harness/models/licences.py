"""What licences let you do: a table by the hub's or SPDX's identifier, and words that tell a LICENSE file.

Not legal advice: the reasons say what to read.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Commercial = Literal["yes", "conditional", "no", "unknown"]
SEVERITY: tuple[Commercial, ...] = ("yes", "conditional", "unknown", "no")  # later ones decide for a chain


@dataclass(frozen=True, slots=True)
class Terms:
    """What a licence lets you do. `osi`: approved by the Open Source Initiative; `content`: open for data and texts."""

    commercial: Commercial
    reason: str
    osi: bool = False
    content: bool = False


def _osi(reason: str = "OSI-approved") -> Terms:
    return Terms("yes", reason, osi=True)


def _content(reason: str) -> Terms:
    return Terms("yes", reason, content=True)


def _not(reason: str = "non-commercial use only") -> Terms:
    return Terms("no", reason)


def _terms_of(maker: str, reason: str) -> Terms:
    return Terms("conditional", f"{maker}: {reason}")


_LLAMA = _terms_of("Llama licence", "a licence of its own above 700 M monthly users, acceptable-use policy, naming")
_LLAMA_VISION = _terms_of(
    "Llama licence", "as Llama 3.1; its multimodal models are not licensed to those domiciled in the EU"
)
_RAIL = _terms_of("OpenRAIL", "uses listed in its attachment are forbidden, and the restriction is passed on")

# By the hub's or SPDX's identifier, in lower case.
LICENCES: Mapping[str, Terms] = {
    "apache-2.0": _osi("OSI-approved, with a grant of patents"),
    **{name: _osi() for name in ("mit", "mit-0", "bsd", "bsd-2-clause", "bsd-3-clause", "isc", "zlib", "unlicense")},
    **{name: _osi() for name in ("bsl-1.0", "postgresql", "ncsa", "afl-3.0", "ecl-2.0", "artistic-2.0", "0bsd")},
    **{
        name: _osi("OSI-approved; sources of changed files must be passed on")
        for name in ("mpl-2.0", "epl-1.0", "epl-2.0", "eupl-1.1", "eupl-1.2", "osl-3.0", "ms-pl", "cecill-2.1")
    },
    **{
        name: _osi("OSI-approved; what is derived must be passed on under the same licence")
        for name in ("gpl-2.0", "gpl-3.0", "lgpl-2.1", "lgpl-3.0", "agpl-3.0", "gpl", "lgpl")
    },
    "openmdw-1.0": _content("permissive, made for models and their data"),
    "openmdw-1.1": _content("permissive, made for models and their data"),
    "cc0-1.0": _content("public domain"),
    "pddl": _content("public domain, for data"),
    "cc-by-3.0": _content("free with attribution"),
    "cc-by-4.0": _content("free with attribution"),
    "cc-by-sa-3.0": _content("free with attribution; what is derived is passed on under the same licence"),
    "cc-by-sa-4.0": _content("free with attribution; what is derived is passed on under the same licence"),
    "cdla-permissive-1.0": _content("permissive, for data"),
    "cdla-permissive-2.0": _content("permissive, for data"),
    "cdla-sharing-1.0": _content("for data; what is derived is passed on under the same licence"),
    "odbl": _content("for data; what is derived is passed on under the same licence"),
    "odc-by": _content("for data, with attribution"),
    "cc-by-nd-4.0": Terms("conditional", "nothing changed may be passed on: no fine-tuned or quantised copies"),
    **{
        name: _not()
        for name in ("cc-by-nc-2.0", "cc-by-nc-3.0", "cc-by-nc-4.0", "cc-by-nc-sa-3.0", "cc-by-nc-sa-4.0",
                     "cc-by-nc-nd-3.0", "cc-by-nc-nd-4.0", "cc-by-nc-sa-2.0")
    },
    **{name: _LLAMA for name in ("llama2", "llama3", "llama3.1", "llama3.3")},
    **{name: _LLAMA_VISION for name in ("llama3.2", "llama4")},
    "gemma": _terms_of("Gemma terms", "a policy of prohibited uses, passed on; newer Gemmas may differ: read theirs"),
    **{name: _RAIL for name in ("openrail", "openrail++", "creativeml-openrail-m", "bigcode-openrail-m")},
    **{name: _RAIL for name in ("bigscience-openrail-m", "bigscience-bloom-rail-1.0")},
    "deepseek": _terms_of("DeepSeek licence", "forbidden uses are listed, and the restriction is passed on"),
    "qwen": _terms_of("Qwen licence", "a licence of its own above 100 M monthly users"),
    "tongyi-qianwen": _terms_of("Qwen licence", "a licence of its own above 100 M monthly users"),
    "qwen-research": _not("Qwen research licence: non-commercial"),
    "mrl": _not("Mistral research licence: non-commercial, outputs included"),
    "mnpl": _not("Mistral non-production licence: no production use"),
    "apple-amlr": _not("Apple research licence: research only"),
    "falcon-llm-license": _terms_of("Falcon licence", "an acceptable-use policy; hosting as a service needs leave"),
    "h-research": _not("research only"),
}  # fmt: skip

# Words of a LICENSE file that tell it, the first that is found; so that a card that says otherwise is noticed.
FINGERPRINTS: tuple[tuple[str, str], ...] = (
    (r"attribution-noncommercial|\bcc[- ]by[- ]nc", "cc-by-nc-4.0"),
    (r"mistral ai research license", "mrl"),
    (r"mistral ai non-production", "mnpl"),
    (r"qwen research license", "qwen-research"),
    (r"llama 4 community license", "llama4"),
    (r"llama 3\.3 community license", "llama3.3"),
    (r"llama 3\.2 community license", "llama3.2"),
    (r"llama 3\.1 community license", "llama3.1"),
    (r"meta llama 3 community license", "llama3"),
    (r"llama 2 community license", "llama2"),
    (r"gemma terms of use", "gemma"),
    (r"tongyi qianwen license", "tongyi-qianwen"),
    (r"gnu affero general public license\s+version 3", "agpl-3.0"),
    (r"gnu general public license\s+version 3", "gpl-3.0"),
    (r"apache license\s+version 2\.0", "apache-2.0"),
    (r"permission is hereby granted, free of charge, to any person obtaining a copy", "mit"),
)


def terms(licence: str | None) -> Terms:
    """Returns what a licence lets you do, by its identifier."""
    if licence is None:
        return Terms("unknown", "no licence is declared")
    found = LICENCES.get(re.sub(r"[\s_]+", "-", licence.strip().lower()))
    return found or Terms("unknown", f"'{licence}' is not in our table: read it")


def recognised(text: str) -> str | None:
    """Returns the identifier of a licence's text, or None if it is none we know."""
    plain = re.sub(r"\s+", " ", text).lower()
    return next((licence for words, licence in FINGERPRINTS if re.search(words, plain)), None)
