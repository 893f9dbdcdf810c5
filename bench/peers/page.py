#!/usr/bin/env python3
"""docs/performance.md from docs/performance/*.json: what is between its two markers is written anew, the rest stays.

    ./dev bench docs [--check]
"""
import argparse
import json
import pathlib
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs/performance.md"
BEGIN, END = "<!-- results: ./dev bench docs -->", "<!-- end of results -->"


def percent(share):
    return f"{100 * share:.0f} %"


def number(value):
    return f"{value:,.0f}" if abs(value) >= 10 else f"{value:.3g}"


def table(head, rows):
    lines = ["| " + " | ".join(head) + " |", "|" + "|".join(["---"] + ["--:"] * (len(head) - 1)) + "|"]
    return lines + ["| " + " | ".join(row) + " |" for row in rows]


def commands(rows):
    """Where the numbers come from: one line for each command, date and state of the code."""
    seen = dict.fromkeys((r["command"], r["date"], r["state"], r["threads"]) for r in rows)
    return [f"`{command}`, {date}, {threads} threads, commit {state}" for command, date, state, threads in seen]


def kind(peer):
    """"ggml Q4_0 amx" is a way of "ggml Q4_0"."""
    words = peer.split()
    return " ".join(words[:2]) if words[0] == "ggml" else peer


def products(rows, what):
    kinds = list(dict.fromkeys(kind(p) for r in rows for p in r["peers"]))
    body = []
    for r in sorted(rows, key=lambda r: (r["shape"], r["m"])):
        peers = {kind(p): (p, v) for p, v in r["peers"].items()}
        cells = []
        for k in kinds:
            if k not in peers:
                cells.append("not measured")
                continue
            name, v = peers[k]
            way = f" ({name.split()[-1]})" if name != k else ""
            cells.append(f"{number(v['us'])}{way} · **{v['ratio']:.2f}**")
        bound = f"{r['read'] / 1e9:.1f} GB/s" if r["bound"] == "memory" else r["bound"]
        body.append([r["shape"].replace("x", " × "), str(r["m"]), number(r["us"]), number(r["gflops"]), f"{percent(r['floor_share'])} of {bound}"] + cells)
    return table([what, "M", "libqz, µs", "GFLOP/s", "of its floor"] + kinds, body)


def speeds(rows):
    body = []
    for r in rows:
        for name, v in r["peers"].items():
            body.append([r["shape"], f"{r['tokens_s']:.1f}", name, f"{v['tokens_s']:.1f}", f"**{v['ratio']:.2f}**",
                         f"{r['bytes'] / 1e6:,.0f} / {v['bytes'] / 1e6:,.0f}"])
    return table(["tokens per second", "libqz", "peer", "peer", "ratio", "MB of the files"], body)


GROUPS = {
    "gemm": ("W4A16, group 128", "x and y bfloat16, µs a product. ggml rounds x to 8 bits, torch's int4 and oneDNN's dense product do not.",
             lambda rows: products(rows, "inputs × outputs")),
    "int8": ("W8A8", "libqz rounds x to int8 within the call; oneDNN gets integers that are ready.", lambda rows: products(rows, "inputs × outputs")),
    "xtx": ("XᵀX", "GFLOP/s count one triangle for every side; times are of what each computes (torch: the whole square).",
            lambda rows: products(rows, "tokens × columns")),
    "model": ("A model of 1.1 billion parameters", "Random weights in TinyLlama's shape. libqz: W4 at group 128, head W8. llama.cpp: Q4_0, head Q6_K. Decode: 32 "
              "tokens one by one after 128; prefill: 512 at once. libqz's inputs of layers are exact, or rounded as said; llama.cpp's are 8 bits.", speeds),
}


def section(kept):
    m = kept["machine"]
    peaks = ", ".join(f"{name} {flops / 1e9:,.0f}" for name, _, flops in m["peaks"])
    lines = [f"### {m['cpu']}: {', '.join(m['instruction_sets'])}", "",
             f"{m['threads']} threads; memory read {m['read'] / 1e9:.1f} GB/s; peaks in GFLOP/s: {peaks}. libqz: {m['libqz']}."]
    for group, (title, words, make) in GROUPS.items():
        rows = kept["groups"].get(group)
        if not rows:
            lines += ["", f"#### {title}", "", "Not measured on this machine."]
            continue
        lines += ["", f"#### {title}", "", words, "", *make(rows), ""]
        lines += [f"{line}  " for line in commands(rows)[:-1]] + commands(rows)[-1:]
    return lines


def main():
    parser = argparse.ArgumentParser(prog="./dev bench docs", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing, fail if the page is not what the files say")
    args = parser.parse_args()
    text = PAGE.read_text()
    before, rest = text.split(BEGIN)
    after = rest.split(END)[1]
    lines = []
    for file in sorted((ROOT / "docs/performance").glob("*.json")):
        lines += ["", *section(json.loads(file.read_text()))]
    made = before + BEGIN + "\n".join(["", *lines[1:], "", END]) + after
    if args.check and made != text:
        sys.exit("docs/performance.md is not what docs/performance/*.json say: ./dev bench docs")
    if not args.check:
        PAGE.write_text(made)


if __name__ == "__main__":
    main()
