"""PEFT with Trainer, or TRL's SFTTrainer, on the work of `finetune`; prints what it measured as JSON.

It runs in an environment of its own and imports nothing of ours. The examples come as tokens, so that all
learn the same, in the same order; settings are those that the packages have, but for rank, batch, rate and
schedule.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from pathlib import Path
from typing import Any

os.environ.update(TQDM_DISABLE="1", HF_HUB_OFFLINE="1", TRANSFORMERS_VERBOSITY="error")


def main(folder: Path, precision: str, kind: str) -> dict[str, Any]:
    import torch
    import transformers
    from transformers import AutoModelForCausalLM, GgufConfig

    work = json.loads((folder / "work.json").read_text("utf-8"))
    work["train"] = [work["train"][i] for i in work["order"]]
    path = Path(work["gguf"])
    model = AutoModelForCausalLM.from_pretrained(
        str(path.parent),
        gguf_file=path.name,
        dtype=getattr(torch, precision),
        quantization_config=GgufConfig(dequantize=True),
    )
    # What says that it came from GGUF keeps Trainer from taking it.
    model.config.quantization_config = None
    model.hf_quantizer = None
    model.is_quantized = False
    times: list[float] = []

    class Clock(transformers.TrainerCallback):  # type: ignore[misc]
        def on_step_begin(self, *_: Any, **__: Any) -> None:
            self.began = time.perf_counter()

        def on_step_end(self, *_: Any, **__: Any) -> None:
            times.append(time.perf_counter() - self.began)

    make = _trainer if kind == "trainer" else _trl
    torch.manual_seed(0)  # first factors as ours
    trainer, version = make(model, work, folder / f"{kind}-{precision}", precision)
    trainer.add_callback(Clock())
    trainer._get_train_sampler = lambda *_: torch.utils.data.SequentialSampler(work["train"])  # noqa: SLF001
    trainer.train()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {"steps": times, "peak": peak, "eval": _loss(trainer.model, work), "version": version}


def _lora(work: dict[str, Any]) -> Any:
    from peft import LoraConfig

    return LoraConfig(
        r=work["rank"],
        lora_alpha=work["alpha"],
        lora_dropout=0.0,
        target_modules="all-linear",
        task_type="CAUSAL_LM",
    )


def _settings(work: dict[str, Any], folder: Path, precision: str) -> dict[str, Any]:
    return {
        "output_dir": str(folder),
        "per_device_train_batch_size": work["batch"],
        "max_steps": work["steps"],
        "learning_rate": work["rate"],
        "lr_scheduler_type": "linear",
        "warmup_steps": 0,
        "weight_decay": 0.0,
        "logging_strategy": "no",
        "save_strategy": "no",
        "report_to": [],
        "use_cpu": True,
        "bf16": precision == "bfloat16",
        "seed": 0,
    }


def _trainer(model: Any, work: dict[str, Any], folder: Path, precision: str) -> tuple[Any, str]:
    import peft
    import transformers
    from peft import get_peft_model

    rows = [
        {"input_ids": s["ids"], "labels": [-100] * s["learned"] + s["ids"][s["learned"] :]}
        for s in work["train"]
    ]
    trainer = transformers.Trainer(
        model=get_peft_model(model, _lora(work)),
        args=transformers.TrainingArguments(**_settings(work, folder, precision)),
        train_dataset=rows,
        data_collator=_padded,
    )
    return trainer, f"transformers {transformers.__version__}, peft {peft.__version__}"


def _trl(model: Any, work: dict[str, Any], folder: Path, precision: str) -> tuple[Any, str]:
    import trl
    from datasets import Dataset
    from transformers import PreTrainedTokenizerFast

    rows = [
        {
            "input_ids": s["ids"],
            "completion_mask": [int(i >= s["learned"]) for i in range(len(s["ids"]))],
        }
        for s in work["train"]
    ]
    trainer = trl.SFTTrainer(
        model=model,
        args=trl.SFTConfig(
            **_settings(work, folder, precision),
            gradient_checkpointing=False,
            completion_only_loss=True,
            max_length=None,
        ),
        train_dataset=Dataset.from_list(rows),
        processing_class=PreTrainedTokenizerFast(
            tokenizer_object=_any_tokenizer(), eos_token="<e>", pad_token="<e>"
        ),
        peft_config=_lora(work),
    )
    return trainer, f"trl {trl.__version__}"


def _any_tokenizer() -> Any:
    """TRL wants one for the token that pads; the examples are tokens already."""
    from tokenizers import Tokenizer, models

    return Tokenizer(models.WordLevel({"<e>": 0}, unk_token="<e>"))


def _padded(rows: list[dict[str, list[int]]]) -> dict[str, Any]:
    import torch

    longest = max(len(r["input_ids"]) for r in rows)

    def filled(name: str, value: int) -> Any:
        return torch.tensor([r[name] + [value] * (longest - len(r[name])) for r in rows])

    mask = [[1] * len(r["input_ids"]) + [0] * (longest - len(r["input_ids"])) for r in rows]
    return {
        "input_ids": filled("input_ids", 0),
        "labels": filled("labels", -100),
        "attention_mask": torch.tensor(mask),
    }


def _loss(model: Any, work: dict[str, Any]) -> float:
    """Mean loss of the answers' tokens of the eval examples."""
    import torch

    model.eval()
    total, count = 0.0, 0
    with torch.no_grad():
        for s in work["eval"]:
            ids = torch.tensor([s["ids"]])
            logits = model(input_ids=ids).logits[0, s["learned"] - 1 : -1].float()
            targets = ids[0, s["learned"] :]
            total += float(torch.nn.functional.cross_entropy(logits, targets, reduction="sum"))
            count += len(targets)
    return total / count


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]), sys.argv[2], sys.argv[3])))
