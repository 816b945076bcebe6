"""The engine as a model of lm-evaluation-harness: its tasks and tables, our batches, prefix tree and cache.

    python -m harness.backends.lm_eval_model run --model harness --model_args pretrained=PATH --tasks arc_easy

is `lm_eval` with the model `harness` registered: 0.4.13 finds no models of other packages by itself. In Python, give it
one: `lm_eval.simple_evaluate(model=HarnessLM(pretrained=PATH), tasks=[...])`. `model_args` are the keys of a model in a
run file, with `pretrained` for `path`. Needs the extra `lm-eval`.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from lm_eval.api.instance import Instance
from lm_eval.api.model import LM
from lm_eval.api.registry import model_registry
from lm_eval.utils import simple_parse_args_string

from harness.backends.local.backend import TransformersBackend
from harness.config.base import validate
from harness.config.model import LocalModel
from harness.errors import BackendError, ConfigError, HarnessError
from harness.models.find import resolve_model
from harness.tasks.lm_eval_tasks import generation_of
from harness.values import GenerateRequest, LoglikelihoodRequest, Prompt, Response, Sampling


class HarnessLM(LM):  # type: ignore[misc]  # lm-eval has no types
    """A model folder or hub id, run by our engine."""

    def __init__(self, pretrained: str, seed: int = 0, **settings: Any) -> None:
        """Loads the model. Raises a HarnessError for settings that a run file would refuse too."""
        super().__init__()
        if settings.pop("backend", "transformers") not in ("transformers", "local"):
            fix = "lm-eval has models of its own for servers"
            raise ConfigError("only models in this process can be asked here", where="--model_args: backend", fix=fix)
        folder = resolve_model(pretrained, revision=settings.get("revision"))
        self.config = validate(LocalModel, {"name": "harness", **settings, "path": str(folder)}, "--model_args")
        self.seed = int(seed)
        self.backend = TransformersBackend(self.config)

    @classmethod
    def create_from_arg_obj(
        cls, arg_dict: dict[str, Any], additional_config: dict[str, Any] | None = None
    ) -> HarnessLM:
        """Returns the model of a command line; a device in `model_args` goes before `--device`."""
        device = (additional_config or {}).get("device")
        if device is not None and device.startswith("cuda") and not torch.cuda.is_available():
            device = "auto"  # lm-eval's default is cuda:0 everywhere
        return cls(**{**({} if device is None else {"device": device}), **arg_dict})

    @classmethod
    def create_from_arg_string(cls, arg_string: str, additional_config: dict[str, Any] | None = None) -> HarnessLM:
        """As `create_from_arg_obj`, of "key=value,key=value"."""
        return cls.create_from_arg_obj(simple_parse_args_string(arg_string), additional_config)

    def loglikelihood(self, requests: list[Instance], disable_tqdm: bool = False) -> list[tuple[float, bool]]:
        """Returns log-probability (nats) and greediness of each continuation after its context."""
        asked = [
            LoglikelihoodRequest(str(i), str(i), Prompt(one.args[0]), (one.args[1],)) for i, one in enumerate(requests)
        ]
        return self._scores(asked)

    def loglikelihood_rolling(self, requests: list[Instance], disable_tqdm: bool = False) -> list[float]:
        """Returns the log-probability (nats) of each whole text; the token that opens it is not judged."""
        asked = [
            LoglikelihoodRequest(str(i), str(i), Prompt(""), (one.args[0],), rolling=True)
            for i, one in enumerate(requests)
        ]
        return [logprob for logprob, _ in self._scores(asked)]

    def _scores(self, asked: Sequence[LoglikelihoodRequest]) -> list[tuple[float, bool]]:
        found = []
        for response in self._answers(self.backend.answer(asked), len(asked)):
            assert response.logprobs is not None and response.greedy is not None  # it has no error
            found.append((response.logprobs[0], response.greedy[0]))
        return found

    def generate_until(self, requests: list[Instance], disable_tqdm: bool = False) -> list[str]:
        """Returns the text written after each context, up to a stop string."""
        asked = [self._writing(i, *one.args[:2]) for i, one in enumerate(requests)]
        return [found.text or "" for found in self._answers(self.backend.answer(asked), len(asked))]

    def _writing(self, i: int, context: str, settings: dict[str, Any]) -> GenerateRequest:
        keys = generation_of(settings, "--gen_kwargs")
        sampling = Sampling(**keys["generation"], seed=self.seed)
        stop = tuple(keys["stop"])
        return GenerateRequest(str(i), str(i), Prompt(context), keys["max_tokens"], stop, sampling)

    def _answers(self, responses: Iterable[Response], n: int) -> Sequence[Response]:
        """Returns the responses in the order of the requests. Raises BackendError for one that has no answer."""
        found: dict[int, Response] = {}
        for response in responses:
            if response.error is not None:
                raise BackendError(response.error, where=f"request {response.key}", fix="lm-eval cannot go on without")
            found[int(response.key)] = response
        return [found[i] for i in range(n)]

    def apply_chat_template(self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True) -> str:
        """Returns the conversation as the model's own chat template writes it."""
        text: str = self.backend.loaded.tokenizer.apply_chat_template(
            chat_history,
            tokenize=False,
            add_generation_prompt=add_generation_prompt,
            continue_final_message=not add_generation_prompt,
        )
        return text

    @property
    def tokenizer_name(self) -> str:
        """Returns what lm-eval's cache of requests knows the tokenizer by."""
        return str(self.config.path).replace("/", "__")

    def chat_template(self, chat_template: bool | str = False) -> str | None:
        """Returns the model's chat template, if it is to be used."""
        return (self.backend.loaded.tokenizer.chat_template or None) if chat_template else None


def main() -> None:
    """Runs `lm_eval` with this model known to it; a HarnessError becomes three lines and exit code 2."""
    from lm_eval.__main__ import cli_evaluate

    model_registry.register("harness", target="harness.backends.lm_eval_model:HarnessLM")
    try:
        cli_evaluate()
    except HarnessError as error:
        print(error, file=sys.stderr)
        raise SystemExit(2) from None


if __name__ == "__main__":
    main()
