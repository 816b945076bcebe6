"""Switches that libraries read from the environment when they are imported: quiet, and off the network.

Light on purpose: the command line sets them before anything else is loaded.
"""

from __future__ import annotations

# Read by the hub client, datasets and transformers when they are imported.
OFFLINE = {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "HF_EVALUATE_OFFLINE": "1"}
QUIET = {  # no telemetry, in any run
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "DISABLE_TELEMETRY": "1",
    "DO_NOT_TRACK": "1",
    "VLLM_NO_USAGE_STATS": "1",
    "WANDB_MODE": "disabled",
}
