"""Names of people in texts, found by Presidio (extra `privacy`) with the models of spaCy that are installed."""

from __future__ import annotations

import importlib
from collections.abc import Callable

MAX_CHARS = 2_000  # of a cell that are looked at
SURE = 0.6  # of 1: how sure Presidio is
PEOPLE_NEED = "pip install 'openweights-harness[privacy]', and a spaCy model (python -m spacy download en_core_web_sm)"


def people_finder() -> Callable[[str], bool] | None:
    """Returns what says whether a text names a person; None without Presidio, or without a model for it."""
    try:
        presidio = importlib.import_module("presidio_analyzer")
        engines = importlib.import_module("presidio_analyzer.nlp_engine")
        spacy = importlib.import_module("spacy")
    except ImportError:
        return None
    models = {name[:2]: name for name in sorted(spacy.util.get_installed_models())}
    if not models:
        return None
    named = [{"lang_code": language, "model_name": name} for language, name in models.items()]
    try:
        provider = engines.NlpEngineProvider(nlp_configuration={"nlp_engine_name": "spacy", "models": named})
        analyzer = presidio.AnalyzerEngine(nlp_engine=provider.create_engine(), supported_languages=list(models))
    except (OSError, ValueError):  # a model of another release of spaCy
        return None

    def found(text: str) -> bool:
        head = text[:MAX_CHARS]
        asked = {"entities": ["PERSON"], "score_threshold": SURE}
        return any(analyzer.analyze(text=head, language=language, **asked) for language in models)

    return found
