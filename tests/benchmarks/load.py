"""How good the load generator is, against a synthetic server in a process of its own.

    python -m tests.benchmarks.load                        # about three minutes on two cores
    python -m tests.benchmarks.load --guidellm PATH/TO/guidellm    # and compares with that program's numbers
    chrt -f 10 python -m tests.benchmarks.load rate        # on a computer that others use: as if it were our own

1. 200 requests a second on one core: how late requests are sent (p99 wanted under 5 ms).
2. 100,000 requests: resident memory after each tenth (wanted flat).
3. One stream over a server with a drawn-out token schedule: our medians of TTFT and TPOT beside the ones that vLLM's
   definition gives on the same requests, and beside guidellm's own on the same server (wanted within 2 %).
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from array import array
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]

from harness.measure.device_memory import used_memory  # noqa: E402
from harness.measure.load.drive import run_load  # noqa: E402
from harness.measure.load.scenario import Scenario  # noqa: E402
from harness.measure.load.summary import Tally  # noqa: E402
from harness.measure.load.timed import Timed  # noqa: E402
from harness.store.files import append_rows  # noqa: E402
from harness.values import GenerateRequest, Prompt  # noqa: E402
from tests.support.servers import Reply, SyntheticServer, stream_to  # noqa: E402

REQUESTS = [GenerateRequest(key=str(i), sample_id=str(i), prompt=Prompt("word " * 50)) for i in range(100)]
FAST = {"tokens": 30, "ttft_s": 0.05, "gap_s": 0.01}
SHOT = {"tokens": 2}
DRAWN = {"tokens": 40, "ttft_s": 0.08, "gap_s": 0.012}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("parts", nargs="*", default=["rate", "memory", "definitions"], help="which of the three")
    parser.add_argument("--guidellm", help="path of the program")
    parser.add_argument("--requests", type=int, default=100_000, help="of the second part")
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.serve:
        serve(json.loads(given.serve))
        return
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cores[0]})
    parts = {
        "rate": lambda: rate(cores[-1]),
        "memory": lambda: memory(cores[-1], given.requests),
        "definitions": lambda: definitions(cores[-1], given.guidellm),
    }
    print(json.dumps({part: parts[part]() for part in given.parts}, indent=2))


def rate(core: int, per_s: float = 200.0, seconds: float = 60.0) -> dict[str, Any]:
    late = array("d")
    failed = 0

    def sink(timed: Timed) -> None:
        nonlocal failed
        late.append(timed.t_send - timed.t_sched)
        failed += timed.error is not None

    with server(FAST, core) as url:
        scenario = Scenario("rate", level=per_s, requests=int(per_s * seconds), warmup=0)
        busy = time.process_time()
        began = time.monotonic()
        run = run_load(stream_to(url), REQUESTS, scenario, sink=sink)
        wall = time.monotonic() - began
        busy = time.process_time() - busy
    late = sorted(late)
    return {
        "wanted_per_s": per_s,
        "sent_per_s": run.issued / wall,
        "requests": run.issued,
        "failed": failed,
        "stopped": run.stopped,
        "late_p50_ms": 1e3 * late[len(late) // 2],
        "late_p99_ms": 1e3 * late[int(len(late) * 0.99)],
        "late_max_ms": 1e3 * late[-1],
        "core_share": busy / wall,
        "cpu_ms_a_request": 1e3 * busy / run.issued,
    }


def memory(core: int, n: int) -> dict[str, Any]:
    """Returns the resident memory after each tenth, of the generator alone and of what `harness bench` does with it."""
    return {
        "generator": _memory(core, n, keep=False),
        "with_numbers_kept_and_lines_written": _memory(core, n, keep=True),
    }


def _memory(core: int, n: int, *, keep: bool) -> dict[str, Any]:
    held: list[float] = []
    seen = 0

    def sink(timed: Timed) -> None:
        nonlocal seen
        seen += 1
        if keep:
            tally.add(timed)
            append_rows(lines, [asdict(timed)], sync=False)
        if seen % (n // 10) == 0:
            held.append(used_memory()["rss_bytes"] / 1e6)

    with server(SHOT, core) as url, tempfile.TemporaryDirectory() as folder:
        lines = Path(folder) / "lines.jsonl"
        scenario = Scenario("concurrency", level=16, requests=n, warmup=0, max_seconds=3600)
        tally = Tally(scenario)
        began = time.monotonic()
        run = run_load(stream_to(url), REQUESTS, scenario, sink=sink)
    return {"requests": run.issued, "per_s": n / (time.monotonic() - began), "rss_mb_after_each_tenth": held}


def definitions(core: int, guidellm: str | None) -> dict[str, Any]:
    with server(DRAWN, core) as url:
        scenario = Scenario("concurrency", requests=100, warmup=2)
        timed = [t for t in run_load(stream_to(url), REQUESTS, scenario).timed if t.index >= 2]
        ours = {
            "ttft_ms": 1e3 * statistics.median(t.ttft_s for t in timed),
            "tpot_ms": 1e3 * statistics.median(t.tpot_s for t in timed),
        }
        as_vllm = {  # (latency - ttft)/(tokens - 1)
            "ttft_ms": ours["ttft_ms"],
            "tpot_ms": 1e3 * statistics.median((t.service_s - t.ttft_s) / (t.streamed - 1) for t in timed),
        }
        found = {"ours": ours, "vllm_definition": as_vllm}
        if guidellm:
            found["guidellm"] = ask_guidellm(guidellm, url)
    return {
        **found,
        "differences": {
            name: {key: other[key] / ours[key] - 1.0 for key in ours} for name, other in found.items() if name != "ours"
        },
    }


def ask_guidellm(program: str, url: str) -> dict[str, Any]:
    """Returns that program's medians for one stream on the same server. Its "ITL" is our TPOT."""
    with tempfile.TemporaryDirectory() as folder:
        prompts = Path(folder) / "prompts.jsonl"
        prompts.write_text("".join(json.dumps({"prompt": "word " * 50}) + "\n" for _ in range(120)))
        report = Path(folder) / "report.json"
        command = [program, "run", "--disable-console", "--output", f"kind=json,path={report}"]
        command += ["--backend", f"kind=openai_http,target={url.removesuffix('/v1')},model=m"]
        command += ["--profile", "kind=synchronous", "--constraint", "kind=max_requests,count=100"]
        command += ["--data", f"kind=json_file,path={prompts}"]
        command += ["--tokenizer", f"kind=hf_auto,model={ROOT.parent / 'shared' / 'tokenizers' / 'gpt2'}"]
        done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "HF_HUB_OFFLINE": "1"})
        if not report.is_file():
            raise SystemExit(f"guidellm gave no report:\n{(done.stderr or done.stdout)[-1500:]}")
        metrics = json.loads(report.read_text())["benchmarks"][0]["metrics"]
    return {
        "ttft_ms": metrics["time_to_first_token_ms"]["successful"]["median"],
        "tpot_ms": metrics["inter_token_latency_ms"]["successful"]["median"],
    }


@contextmanager
def server(reply: dict[str, Any], core: int) -> Iterator[str]:
    """Runs the synthetic server in another process, on another core where there is one."""
    command = [sys.executable, "-m", "tests.benchmarks.load", "--serve", json.dumps({**reply, "core": core})]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    try:
        yield process.stdout.readline().strip()
    finally:
        process.stdin.close()
        process.wait(10)


def serve(settings: dict[str, Any]) -> None:
    os.sched_setaffinity(0, {settings.pop("core")})
    base = Reply(**settings)

    def reply(order: int, body: dict[str, Any]) -> Reply:
        """Spreads the delays over twenty steps, in the same order for every client."""
        step = order * 7 % 20 / 19 - 0.5
        return replace(base, ttft_s=base.ttft_s * (1 + 0.4 * step), gap_s=base.gap_s * (1 + 0.2 * step))

    with SyntheticServer(reply) as running:
        print(running.url, flush=True)
        running.forget()
        while sys.stdin.readline():
            pass


if __name__ == "__main__":
    main()
