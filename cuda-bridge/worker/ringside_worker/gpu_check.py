"""
Measures the worker on this machine's GPU in under ten minutes (bench.py) and writes one JSON document.

    python -m ringside_worker.gpu_check --out results.json [--quick]
"""

import argparse
import json
import sys
from pathlib import Path

from .bench import Bench
from .engine import Engine


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m ringside_worker.gpu_check",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--out", required=True, metavar="FILE", help="write the JSON document here")
    parser.add_argument("--quick", action="store_true", help="leave out 1M tokens")
    parser.add_argument("--budget", type=float, default=540, metavar="S", help="seconds (default %(default)g)")
    parser.add_argument("--device", choices=["cuda", "cpu"], help="default: cuda if available")
    options = parser.parse_args()
    engine = Engine.start(device=options.device)
    if engine.rank != 0:
        engine.serve()
        return 0
    try:
        document = Bench(
            engine,
            options.quick,
            options.budget,
            float("inf"),
            lambda done, total, note: print(f"{done}/{total} {note}", flush=True),
            lambda: False,
        ).run()
    finally:
        engine.close()
    Path(options.out).write_text(json.dumps(document, indent=1, allow_nan=False) + "\n")
    print(summary(document))
    return 0 if all(bar["passed"] is not False for bar in document["bars"]) else 1


def summary(document: dict) -> str:
    """The document in lines for people."""
    lines = [document["machine"]["devices"][0]["name"], *([document["note"]] if "note" in document else [])]
    if "ceilings" in document:
        c = document["ceilings"]
        lines.append(f"product {c['product']['rate'] / 1e12:.4g} TFLOP/s, copy {c['copy']['rate'] / 1e9:.4g} GB/s")
    for row in document["attention"]:
        single = row.get("single")
        lines.append(f"{row['tokens']} tokens: {one_call(single) if single else 'no single call'}")
        lines += [
            f"  N = {r['ranks']}: {r['deviceSeconds'] * 1e3:.4g} ms on the device"
            + (f", {r['ofSingle']:.4g} times one call" if "ofSingle" in r else "")
            + f", error {r['error']:.3g}"
            for r in row["rings"]
        ]
    lines += [
        f"layer of {row['tokens']} tokens over {row['ranks']}: {row['layerSeconds'] * 1e3:.4g} ms, "
        f"TTFT {row['ttft']:.4g} s" + (f" (paper {row['paper']:.4g} s)" if "paper" in row else "")
        for row in document.get("layer", [])
    ]
    for bar in document["bars"]:
        verdict = {True: "passed", False: "FAILED", None: "not judged"}[bar["passed"]]
        found = "-" if bar["found"] is None else format(bar["found"], ".4g")
        why = f" ({bar['why']})" if "why" in bar else ""
        lines.append(f"{verdict}: {bar['name']}: {found}, {bar['sense']} {bar['bar']}{why}")
    lines += [f"skipped: {s['what']}: {s['why']}" for s in document["skipped"]]
    return "\n".join(lines)


def one_call(single: dict) -> str:
    return (
        f"one call {single['seconds'] * 1e3:.4g} ms, {single['rate'] / 1e12:.4g} TFLOP/s, "
        f"error {single['error']:.3g} ({', '.join(single['kernel'])})"
    )


if __name__ == "__main__":
    sys.exit(main())
