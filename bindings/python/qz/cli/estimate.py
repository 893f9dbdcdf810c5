"""qz estimate: does it fit? Memory by item from config.json alone, the largest that fits, and which devices it fits."""
from __future__ import annotations

import json
import os
import pathlib
import re
from dataclasses import asdict, replace
from typing import Any, Optional

import click
from rich.console import Console, JustifyMethod
from rich.table import Table

from ..estimates import GOALS, OFFLOADS, OPTIMIZERS, MemoryQuery, deepspeed_config
from ..estimates import estimate as estimate_memory
from ..estimates import fit
from ..model import Model
from .common import Common, with_common
from .words import Size

_GIB = 1 << 30


@click.command(short_help="Does it fit? Memory by item, from config.json alone.")
@click.argument("model", type=click.Path())
@click.option("--for", "goal", type=click.Choice(list(GOALS)), default="infer", show_default=True, help="What the memory is for.")
@click.option("--weights", multiple=True, metavar="bf16|[FORMAT:]SCHEME",
              help="How they are stored: bf16, w4g128, gptq:w4g128, nf4-dq, q4_k. Repeatable: a line each.  [default: as the model is]")
@click.option("--context", type=click.IntRange(1), multiple=True, help="Tokens of a sequence. Repeatable.  [default: 2048]")
@click.option("--batch", type=click.IntRange(1), help="Sequences at a time.  [default: 1]")
@click.option("--prefill", type=click.IntRange(1), help="Tokens of a prompt that are run at once.  [default: 2048]")
@click.option("--kv", type=click.Choice(["bf16", "fp8", "i8"]), help="Type of keys and values.  [default: bf16]")
@click.option("--tool", help="What vllm, transformers or llama.cpp add; or the formulas of accelerate, deepspeed, deepspeed-docs, "
                             "gguf-parser.")
@click.option("--optimizer", type=click.Choice(list(OPTIMIZERS)), default="adam", show_default=True)
@click.option("--rank", type=click.IntRange(1), help="Of LoRA's adapters.  [default: 16]")
@click.option("--zero", type=click.IntRange(0, 3), default=0, help="ZeRO stage.")
@click.option("--offload", type=click.Choice(list(OFFLOADS)), default="none", show_default=True)
@click.option("--keep-activations", is_flag=True, help="No checkpoints: all activations are kept for the backward pass.")
@click.option("--devices", type=click.IntRange(1), help="Tensor-parallel degree, or ranks of training.  [default: 1]")
@click.option("--device", help="The device that it must fit: part of a GPU's name (`qz devices --known`), or a size such as 16GiB.")
@click.option("--which", is_flag=True, help="All GPUs that `qz devices --known` lists, with what fits on each.")
@click.option("--deepspeed", "deepspeed_file", type=click.Path(), help="Write a DeepSpeed configuration that does this.")
@click.option("--plot", "plot_file", type=click.Path(), help="Memory over the context, .svg, .png or .html (pip install 'qz[plot]'); of "
                                                             "quantize over the tokens of a calibration sequence.")
@click.option("--measured", multiple=True, metavar="TOKENS:SIZE|DIR", help="A point in the plot: what a run took, 4096:7.1GiB, or, of quantize, "
                                                                         "the directory that it wrote. Repeatable.")
@with_common
def estimate(common: Common, model: str, goal: str, weights: tuple[str, ...], context: tuple[int, ...], batch: Optional[int],
             prefill: Optional[int], kv: Optional[str], tool: Optional[str], optimizer: str, rank: Optional[int], zero: int, offload: str,
             keep_activations: bool, devices: Optional[int], device: Optional[str], which: bool, deepspeed_file: Optional[str],
             plot_file: Optional[str], measured: tuple[str, ...]) -> None:
    """Says what MODEL, a directory or a config.json, will take in memory. Nothing is loaded: the weights need not be there."""
    opened = open_shapes(model, common)
    base = MemoryQuery(goal=goal, batch=batch or 0, prefill=prefill or 0, kv_cache="i8" if kv == "fp8" else kv, tool=tool, optimizer=optimizer,
                       lora_rank=rank or 0, zero_stage=zero, offload=offload, keep_activations=keep_activations, devices=devices or 0)
    queries = [replace(base, weights=w, seq_len=c) for w in (weights or (None,)) for c in (context or (0,))]
    room = device_memory(device, common) if device else None
    if measured and not plot_file:
        raise click.UsageError("--measured is a point of --plot, which is missing")
    rows = []
    for query in queries:
        result = estimate_memory(opened, query)
        row: dict[str, Any] = {"weights": query.weights or "as stored", "context": query.seq_len or min(2048, opened.info.max_seq),
                               "device": result.device, "host": result.host, "disk": result.disk, "notes": result.notes,
                               "items": [asdict(item) for item in result.items]}
        if room and goal != "quantize":
            row["fits"] = result.device <= room[1]
            row["largest"] = {ask: asdict(fit(opened, room[1], ask, query)) for ask in ("context", "batch")}
        rows.append(row)
    document: dict[str, Any] = {"command": "estimate", "model": model, "goal": goal, "positions": opened.info.max_seq, "estimates": rows}
    if room:
        document["device"] = {"name": room[0], "memory": room[1]}
        if goal == "infer":
            document["most_bits"] = asdict(fit(opened, room[1], "bits", replace(base, seq_len=queries[0].seq_len)))
    if which and goal != "quantize":
        document["which"] = _which(common, opened, queries)
    if deepspeed_file:
        pathlib.Path(deepspeed_file).write_text(json.dumps(deepspeed_config(queries[0]), indent=2) + "\n")
    if plot_file:
        from .plot import plot_context
        plot_context(plot_file, model, opened, queries, room, [_measured_point(words, common) for words in measured])
    common.emit(document, lambda console: _show(console, document))


def open_shapes(path: str, common: Common) -> Model:
    """A directory, with real headers if they are there; a GGUF file; or a config.json."""
    file = pathlib.Path(path)
    directory = file.parent if file.name == "config.json" else file
    has_weights = file.suffix == ".gguf" or (directory.is_dir() and any(entry.name.endswith((".safetensors", ".gguf"))
                                                                        for entry in os.scandir(directory)))
    return Model.open(directory, context=common.context, config_only=file.name == "config.json" or not has_weights)


def _measured_point(words: str, common: Common) -> tuple[str, int, int]:
    """(name, tokens, bytes) of a point for the plot: words, or what the report of a quantized directory says."""
    if found := re.match(r"^(\d+):(.+)$", words):
        return found[2], int(found[1]), Size().convert(found[2], None, None)
    report = Model.open(words, context=common.context).report_json()
    size, calibration = (report.get("memory") or {}).get("measured"), report.get("calibration") or {}
    if not size or not calibration.get("sequences"):
        raise click.UsageError(f"--measured {words!r}: its report has no measured peak of a calibrated run")
    return words, calibration["tokens"] // calibration["sequences"], size


def device_memory(words: str, common: Common) -> tuple[str, int]:
    """(name, bytes) of a size, of a GPU that is here, or of one that the table knows."""
    if re.match(r"^\d", words):
        return words, Size().convert(words, None, None)
    report = common.context.device_report()
    for found in report["devices"]:
        if words.lower() in found["name"].lower() or words == f"{found['kind']}:{found['index']}":
            return found["name"], found["memory_free"]
    for known in report["known_gpus"]:
        if words.lower() in known["name"].lower():
            return known["name"], known["memory_total"]
    raise click.UsageError(f"--device {words!r} is neither a size nor one of {', '.join(gpu['name'] for gpu in report['known_gpus'])}")


def _which(common: Common, model: Model, queries: list[MemoryQuery]) -> list[dict[str, Any]]:
    out = []
    for gpu in common.context.device_report()["known_gpus"]:
        for query in queries:
            need = estimate_memory(model, query).device
            context = fit(model, gpu["memory_total"], "context", query).value
            out.append({"name": gpu["name"], "memory": gpu["memory_total"], "weights": query.weights or "as stored", "needed": need,
                        "fits": need <= gpu["memory_total"], "largest_context": context})
    return out


def gib(size: float) -> str:
    return f"{size / _GIB:.2f}"


def items_table(result: list[dict[str, Any]], where: str) -> Table:
    table = Table(box=None, pad_edge=False)
    columns: list[tuple[str, JustifyMethod]] = [(where, "left"), ("GiB", "right"), ("from", "right"), ("to", "right"), ("how", "left"),
                                                ("source", "left")]
    for title, justify in columns:
        table.add_column(title, justify=justify, no_wrap=title not in {"how", "source"})
    chosen = [item for item in result if item["where"] == where]
    for item in chosen:
        ranged = item["low"] != item["high"]
        table.add_row(item["what"], gib(item["bytes"]), gib(item["low"]) if ranged else "", gib(item["high"]) if ranged else "",
                      item["formula"], item["source"])
    if len(chosen) > 1:
        table.add_row("sum", *(gib(sum(item[key] for item in chosen)) for key in ("bytes", "low", "high")), "", "")
    return table


def _show(console: Console, document: dict[str, Any]) -> None:
    rows = document["estimates"]
    for number, row in enumerate(rows):
        if number:
            console.print()
        console.print(f"{document['model']}, for {document['goal']}, weights {row['weights']}, context {row['context']}")
        for where in ("device", "host", "disk"):
            if any(item["where"] == where for item in row["items"]):
                console.print(items_table(row["items"], where))
        for note in row["notes"]:
            console.print(f"note: {note}")
        if "fits" in row:
            name, room, largest = document["device"]["name"], document["device"]["memory"], row["largest"]
            longest, positions = largest["context"]["value"], document["positions"]
            console.print(f"{'fits' if row['fits'] else 'does NOT fit'} {name} ({gib(room)} GiB): {gib(row['device'])} GiB; the longest context "
                          f"is {longest}{f', more than the {positions} positions of the model' if longest > positions else ''}, "
                          f"the largest batch {largest['batch']['value']}")
    if "most_bits" in document:
        best = document["most_bits"]
        console.print(f"most bits that fit: {best['weights'] or 'none'}" + (f" ({gib(best['needed'])} GiB)" if best["value"] else ""))
    if "which" in document:
        console.print()
        table = Table(box=None, pad_edge=False)
        for title in ("GPU", "GiB", "weights", "needed", "fits", "longest context"):
            table.add_column(title, justify="left" if title in {"GPU", "weights", "fits"} else "right")
        for row in document["which"]:
            table.add_row(row["name"], gib(row["memory"]), row["weights"], gib(row["needed"]), "yes" if row["fits"] else "no",
                          str(row["largest_context"]))
        console.print(table)
