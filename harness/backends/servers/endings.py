"""Why an answer ended: one table of finish reasons, for all providers and servers.

ending("max_tokens")   ->  Ending.LENGTH
ending("of tomorrow")  ->  Ending.UNKNOWN: no answer, until somebody knows that it is one
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType


class Ending(StrEnum):
    """Why an answer ended."""

    STOP = "stop"  # the model ended it, or a stop string did
    LENGTH = "length"  # cut off by a number of tokens
    WITHHELD = "withheld"  # the provider keeps it, or the rest of it, to itself: its way to refuse
    BROKEN = "broken"  # the server gave it up
    UNKNOWN = "unknown"  # no table knows: it may be whole or not


_REASONS: Mapping[Ending, tuple[str, ...]] = {
    Ending.STOP: (
        *("stop", "tool_calls", "function_call"),  # the OpenAI interface
        *("eos", "eos_token", "stop_token", "stop_word", "word", "done", "end"),  # open servers
        *("end_turn", "stop_sequence", "tool_use", "pause_turn"),  # Anthropic
        *("malformed_function_call", "unexpected_tool_call", "too_many_tool_calls"),  # Google: no tools are offered
        *("complete", "tool_call"),  # Cohere
    ),
    Ending.LENGTH: (
        *("length", "model_length", "limit", "context_length", "max_length", "max_new_tokens"),
        *("max_tokens", "model_context_window_exceeded"),  # Anthropic, and Google in capitals
        *("max_output_tokens", "incomplete"),
        "error_limit",  # Cohere
    ),
    Ending.WITHHELD: (
        *("content_filter", "content_filtered", "guardrail_intervened", "sensitive", "moderation", "blocked"),
        "refusal",  # Anthropic
        *("safety", "recitation", "blocklist", "prohibited_content", "spii", "model_armor"),  # Google
        *("image_safety", "image_prohibited_content", "image_recitation"),
        "error_toxic",  # Cohere
    ),
    Ending.BROKEN: (
        *("abort", "aborted", "cancel", "cancelled", "canceled", "user_cancel", "error", "failed", "failure"),
        *("timeout", "time_limit", "not_finished", "insufficient_system_resource", "network_error", "server_error"),
        *("language", "other", "image_other", "no_image", "malformed_response", "missing_thought_signature"),  # Google
        *("finish_reason_unspecified", "block_reason_unspecified"),
    ),
}
ENDINGS: Mapping[str, Ending] = MappingProxyType(
    {reason: ending for ending, reasons in _REASONS.items() for reason in reasons}
)


def ending(reason: str) -> Ending:
    """Returns what a finish reason means, in whatever case and with whatever dashes a server spells it."""
    return ENDINGS.get(reason.strip().lower().replace("-", "_"), Ending.UNKNOWN)
