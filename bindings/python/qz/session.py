"""Session: one running sequence with its KV cache. Logits, and text."""
from __future__ import annotations

from typing import Any, Callable, Optional

from . import defaults, names
from ._call import check, struct
from ._handle import Handle
from ._interrupt import Interrupt
from ._library import ffi, lib
from ._numpy import np
from .model import Model
from .tensor import Tensor, as_tensor, c_tensor, c_tokens, token_array


class Session(Handle):
    """All blocks of a model in memory and a KV cache of max_seq positions (0 = the model's). For one thread at a time.

    products: "exact", inputs of layers as they are, in float32; "bf16", rounded to bfloat16 where this CPU multiplies that faster;
    "int8", rounded to 8 bits, a scale for each token and group, where weights are integers of 2, 4 or 8 bits."""

    _kind = "qz_session"

    def __init__(self, model: Model, max_seq: int = 0, products: str = "exact") -> None:
        names.number(names.PRODUCTS, products, "products")  # a wrong word is told before anything is loaded
        out = ffi.new("qz_session **")
        check(lib.qz_session_create(model._pointer, max_seq, out))
        super().__init__(out[0])
        self.products = products
        info = model.info
        self._outputs, self._one_row = info.outputs, info.classifier

    @property
    def products(self) -> str:
        """How layers multiply; can be set at any time."""
        return self._products

    @products.setter
    def products(self, kind: str) -> None:
        check(lib.qz_session_set_products(self._pointer, names.number(names.PRODUCTS, kind, "products")))
        self._products = kind

    def logits(self, ids: Any, last_only: bool = False) -> np.ndarray:
        """Feeds token ids after what was fed before. float32 logits [tokens, vocab], or of the last token alone [1, vocab].
        An encoder reads a whole text in one call, then wants a reset(); a classifier's logits are [1, labels].
        InvalidArgument if an id is outside the vocabulary or the cache is full."""
        array = token_array(ids)
        out = self._logits(array.size, last_only)
        check(lib.qz_session_logits(self._pointer, c_tokens(array), array.size, c_tensor(out)))
        return out.array

    def logits_of_embeddings(self, x: Any, last_only: bool = False) -> np.ndarray:
        """The same from embeddings that are ready, [tokens, hidden], as Calibration.add_embeddings() takes them."""
        tensor = as_tensor(x)
        out = self._logits(tensor.shape[0], last_only)
        check(lib.qz_session_logits_embeddings(self._pointer, c_tensor(tensor), c_tensor(out)))
        return out.array

    def _logits(self, tokens: int, last_only: bool) -> Tensor:
        return Tensor(np.empty((1 if last_only or self._one_row else tokens, self._outputs), np.float32))

    def feed(self, ids: Any) -> None:
        """Feeds token ids without asking for logits."""
        array = token_array(ids)
        check(lib.qz_session_logits(self._pointer, c_tokens(array), array.size, ffi.NULL))

    def generate(self, prompt: Any, *, max_tokens: int = defaults.MAX_TOKENS, temperature: float = 1.0, top_k: int = 0,
                 top_p: float = 1.0, greedy: bool = False, repetition_penalty: float = 1.0, seed: int = defaults.SEED,
                 on_token: Optional[Callable[[int], Any]] = None) -> list[int]:
        """Feeds the prompt (one token at least) and samples; the new tokens. Ends at max_tokens, at the end-of-text token, or when
        on_token(token), called with each as it comes, returns something true. Depends on the seed and the model only."""
        array = token_array(prompt)
        options = struct("qz_generate_options", max_tokens=max_tokens, top_k=top_k, greedy=int(greedy), temperature=temperature,
                         top_p=top_p, repetition_penalty=repetition_penalty, seed=seed)
        tokens: list[int] = []
        raised: list[BaseException] = []
        interrupt = Interrupt()

        @ffi.callback("qz_token_fn", error=1)
        def take(_: Any, token: int) -> int:
            if interrupt.seen:
                return 1
            tokens.append(token)
            try:
                return int(bool(on_token and on_token(token)))
            except BaseException as problem:  # an exception cannot cross C: it waits outside
                raised.append(problem)
                return 1

        with interrupt:
            status = lib.qz_session_generate(self._pointer, c_tokens(array), array.size, options, take, ffi.NULL)
        if raised:
            raise raised[0]
        check(status)
        return tokens

    def reset(self) -> None:
        """Forgets everything that was fed."""
        check(lib.qz_session_reset(self._pointer))
