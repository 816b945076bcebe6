"""The computer and the working folder that a run is planned on."""

from __future__ import annotations

import os
import platform
import subprocess

from harness.store.schema import GitState, Host


def host() -> Host:
    """Returns what this computer is: system, processor, cores this process may use, memory in bytes."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    try:
        memory: int | None = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError, AttributeError):
        memory = None
    return Host(system=platform.platform(), processor=_processor(), cores=cores, memory_bytes=memory)


def git_state() -> GitState | None:
    """Returns commit and cleanliness of the working folder, or None outside a repository. Never a remote."""
    try:
        commit = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, timeout=5, check=True)
        dirty = subprocess.run(["git", "status", "--porcelain"], capture_output=True, text=True, timeout=5, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return GitState(commit=commit.stdout.strip(), clean=not dirty.stdout.strip())


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:
            names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
            return next(names, platform.processor())
    except OSError:
        return platform.processor()
