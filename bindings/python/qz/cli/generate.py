"""qz generate: text from a model."""
from __future__ import annotations

import sys
import time

import click

from .. import defaults
from ..calibration import Calibration
from ..errors import InvalidArgument
from ..model import Model
from ..session import Session
from .common import Common, with_common
from .words import products_option


@click.command(short_help="Let a model write on from a prompt.")
@click.argument("model", type=click.Path())
@click.option("--prompt", default="", help="What to go on from.  [default: the beginning of a text]")
@click.option("--max-tokens", type=click.IntRange(1), default=defaults.MAX_TOKENS, show_default=True)
@click.option("--temperature", type=click.FloatRange(0, min_open=True), default=1.0, show_default=True)
@click.option("--top-k", type=click.IntRange(0), default=0, help="Only the k most likely tokens.  [default: all]")
@click.option("--top-p", type=click.FloatRange(0, 1, min_open=True), default=1.0,
              help="Only the most likely tokens that add up to p.  [default: all]")
@click.option("--greedy", is_flag=True, help="Always the most likely token.")
@click.option("--repetition-penalty", type=click.FloatRange(0, min_open=True), default=1.0, show_default=True)
@click.option("--seed", type=click.IntRange(0), default=defaults.SEED, show_default=True)
@products_option
@with_common
def generate(common: Common, model: str, prompt: str, max_tokens: int, temperature: float, top_k: int, top_p: float, greedy: bool,
             repetition_penalty: float, seed: int, products: str) -> None:
    """Lets MODEL write on from a prompt; the text goes to stdout as it comes."""
    opened = Model.open(model, context=common.context)
    tokenizer = opened.tokenizer()
    ids = tokenizer.encode(prompt)
    if len(ids) == 0:  # how the library begins a text: the beginning-of-text token, or some token where there is none
        ids = Calibration.generated(opened, 1, 1, seed)[0]
    room = opened.info.max_seq - len(ids)
    if room < 1:
        raise InvalidArgument(f"the prompt has {len(ids)} tokens, the model has {opened.info.max_seq} positions")
    stream = tokenizer.stream()

    def show(token: int) -> None:
        sys.stdout.write(stream.push(token))
        sys.stdout.flush()

    started = time.monotonic()
    with Session(opened, products=products) as session:
        if not common.as_json:
            sys.stdout.write(prompt)
        tokens = session.generate(ids, max_tokens=min(max_tokens, room), temperature=temperature, top_k=top_k, top_p=top_p, greedy=greedy,
                                  repetition_penalty=repetition_penalty, seed=seed, on_token=None if common.as_json else show)
    seconds = time.monotonic() - started
    common.emit({"command": "generate", "model": model, "prompt": prompt, "text": tokenizer.decode(tokens), "tokens": tokens,
                 "prompt_tokens": len(ids), "seconds": seconds, "tokens_per_s": len(tokens) / seconds if seconds else None},
                lambda console: console.print())
