"""Families of models: what is known, how it is described, and what an unknown directory needs."""
from __future__ import annotations

import json
import os
from dataclasses import dataclass
from typing import Any, Optional

from ._call import c_string, text_of
from ._library import lib
from .context import Context, default_context


@dataclass(frozen=True)
class FamilyCheck:
    """What check_family() found. known is "" and problem says why if the directory does not open."""

    architecture: str  #: of config.json
    model_type: str
    known: str  #: the family whose table opens it
    problem: str
    closest: str  #: the family whose names are most like its names
    missing: list[str]  #: names of that table that the file lacks; {} stands for numbers
    unused: list[str]  #: names of the file that the table lacks
    missing_keys: list[str]  #: of config.json
    arch_json: Optional[dict[str, Any]]  #: a description to start from: Model.open(..., arch_json=json.dumps(it))
    still: str  #: what is wrong with that; "" if it opens the directory


def families() -> list[dict[str, str]]:
    """The families that have a table: "name" "hf_class" "model_type"."""
    return json.loads(text_of(lib.qz_arch_list)[1])


def family(name: str) -> dict[str, Any]:
    """The table of a family, in the words of arch_json. InvalidArgument names those that there are."""
    return json.loads(text_of(lib.qz_arch_show, c_string(name))[1])


def check_family(directory: str | os.PathLike[str], context: Optional[Context] = None) -> FamilyCheck:
    """Whether a directory opens, and if not, what a description of its family must say."""
    context = context or default_context()
    return FamilyCheck(**json.loads(text_of(lib.qz_arch_check, context._pointer, c_string(directory))[1]))
