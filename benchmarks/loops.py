"""The peers of one prompt, as a program: a raw loop over llama.cpp's calls, and the stock `Llama`.

`python -m benchmarks.loops PATH THREADS N_CTX TOKENS` answers `raw` and `stock`. It computes on one thread
only: libgomp lets threads wait without spinning once two of a process have computed, which costs
a token six times its time.
"""

from __future__ import annotations

import ctypes
import sys
import time
from typing import Any

from benchmarks.child import serve


class Raw:
    """llama.cpp's own calls and nothing else, with a greedy sampler chain: the ceiling."""

    def __init__(self, path: str, threads: int, n_ctx: int) -> None:
        from llama_cpp import llama_cpp as lib

        self.lib = lib
        model = lib.llama_model_load_from_file(path.encode(), lib.llama_model_default_params())
        params = lib.llama_context_default_params()
        params.n_ctx = n_ctx
        params.n_threads = params.n_threads_batch = threads
        params.flash_attn_type = lib.LLAMA_FLASH_ATTN_TYPE_AUTO
        params.no_perf = True
        self.context = lib.llama_init_from_model(model, params)
        self.chain = lib.llama_sampler_chain_init(lib.llama_sampler_chain_default_params())
        lib.llama_sampler_chain_add(self.chain, lib.llama_sampler_init_greedy())

    def run(self, prompt: list[int], count: int) -> float:
        """Tokens per second after the first one."""
        lib, context, chain = self.lib, self.context, self.chain
        lib.llama_memory_clear(lib.llama_get_memory(context), True)
        lib.llama_sampler_reset(chain)
        buffer = (ctypes.c_int32 * len(prompt))(*prompt)
        lib.llama_decode(context, lib.llama_batch_get_one(buffer, len(prompt)))
        token = lib.llama_sampler_sample(chain, context, -1)
        began = time.perf_counter()
        for _ in range(count - 1):
            buffer[0] = token
            lib.llama_decode(context, lib.llama_batch_get_one(buffer, 1))
            token = lib.llama_sampler_sample(chain, context, -1)
        return (count - 1) / (time.perf_counter() - began)


def text_of(llama: Any, prompt: str, system: str = "") -> str:
    """The prompt in the model's chat template, after a system prompt if there is one."""
    from llama_cpp.llama_chat_format import Jinja2ChatFormatter

    ends = (llama.token_eos(), llama.token_bos())
    eos, bos = (llama.detokenize([end], special=True).decode() for end in ends)
    formatter = Jinja2ChatFormatter(llama.metadata["tokenizer.chat_template"], eos, bos)
    messages = [{"role": "system", "content": system}] if system else []
    return formatter(messages=[*messages, {"role": "user", "content": prompt}]).prompt


def tokens_of(llama: Any, text: str) -> list[int]:
    """Token ids of a text in which control tokens are read as such."""
    return llama.tokenize(text.encode(), add_bos=False, special=True)


def run_raw(llama: Any, raw: Raw, prompt: str, count: int) -> dict[str, Any]:
    tokens = tokens_of(llama, text_of(llama, prompt))
    return {"rate": raw.run(tokens, count), "input_tokens": len(tokens)}


def run_stock(llama: Any, prompt: str, count: int) -> dict[str, Any]:
    messages = [{"role": "user", "content": prompt}]
    began = seconds = 0.0
    for chunk in llama.create_chat_completion(
        messages, max_tokens=count, temperature=0, stream=True
    ):
        choice = chunk["choices"][0]
        if choice["delta"].get("content"):
            began = began or time.perf_counter()
            seconds = time.perf_counter() - began
    whole = choice["finish_reason"] == "length"
    return {"rate": (count - 1) / seconds, "whole": whole, "threads": llama.n_threads}


def main() -> None:
    from llama_cpp import Llama

    path, threads, n_ctx, count = sys.argv[1], *map(int, sys.argv[2:])
    llama = Llama(path, n_ctx=2048, verbose=False)
    raw = Raw(path, threads, n_ctx)
    serve(
        raw=lambda prompt: run_raw(llama, raw, prompt, count),
        stock=lambda prompt: run_stock(llama, prompt, count),
    )


if __name__ == "__main__":
    main()
