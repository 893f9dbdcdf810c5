"""qz arch: the families that are known, and what an unknown one needs."""
from __future__ import annotations

import json
from dataclasses import asdict

import click
from rich.console import Console
from rich.table import Table

from ..families import FamilyCheck, check_family, families, family
from . import exit_codes
from .common import Common, pairs, with_common


@click.group(short_help="Families of models: list, show, check.")
def arch() -> None:
    """Families of models. An unknown one can be described in JSON and given to --arch."""


@arch.command("list", short_help="The families that are known.")
@with_common
def list_families(common: Common) -> None:
    """Lists the families that have a table: name, class in config.json, model_type."""
    rows = families()
    table = Table(box=None, pad_edge=False)
    for heading in ("name", "class", "model_type"):
        table.add_column(heading)
    for row in rows:
        table.add_row(row["name"], row["hf_class"].replace("|", ", "), row["model_type"])
    common.emit({"command": "arch list", "families": rows}, lambda console: console.print(table))


@arch.command(short_help="The table of a family as JSON.")
@click.argument("name")
@with_common
def show(common: Common, name: str) -> None:
    """Prints the table of family NAME as a description that --arch takes."""
    table = family(name)
    common.emit({"command": "arch show", "family": table}, lambda console: console.print(json.dumps(table, indent=1)))


@arch.command(short_help="Does a directory open, and if not, what is missing?")
@click.argument("directory", type=click.Path())
@with_common
def check(common: Common, directory: str) -> int:
    """Says whether DIRECTORY opens; if not, which family is closest, what differs, and a JSON to start from. Exit status 1 then."""
    found = check_family(directory, common.context)
    common.emit({"command": "arch check", "directory": directory, **asdict(found)}, lambda console: _show(console, directory, found))
    return exit_codes.OK if found.known else exit_codes.FINDINGS


def _show(console: Console, directory: str, found: FamilyCheck) -> None:
    if found.known:
        console.print(f"{directory}: {found.known}, opens")
        return
    rows = [("problem", found.problem), ("closest family", found.closest), ("the file lacks", ", ".join(found.missing)),
            (f"{found.closest} lacks", ", ".join(found.unused)), ("config.json lacks", ", ".join(found.missing_keys))]
    console.print(pairs([row for row in rows if row[1]]))
    console.print("\nto start from, with --arch FILE.json:")
    console.print(json.dumps(found.arch_json, indent=1))
    console.print("names alone were compared: what the family computes must be checked against its own implementation")
    console.print(f"with it {'the directory opens' if not found.still else 'there is still: ' + found.still}")
