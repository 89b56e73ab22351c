"""OpenTelemetry's names for what a span's columns hold.

Source: semantic conventions for generative AI, schema `SCHEMA_URL`. Names in `llmops.*` are ours, for
what the conventions do not name.
"""

SCHEMA_URL = "https://opentelemetry.io/schemas/gen-ai/1.42.0"

COLUMN_NAMES: dict[str, str] = {
    "op": "gen_ai.operation.name",
    "provider": "gen_ai.provider.name",
    "model": "gen_ai.request.model",
    "session": "gen_ai.conversation.id",
    "prompt_name": "gen_ai.prompt.name",
    "prompt_version": "gen_ai.prompt.version",
    "seed": "gen_ai.request.seed",
    "input_tokens": "gen_ai.usage.input_tokens",
    "output_tokens": "gen_ai.usage.output_tokens",
    "cached_tokens": "gen_ai.usage.cache_read.input_tokens",
    "error_type": "error.type",
    "model_digest": "llmops.model.digest",
    "cost": "llmops.cost",
    "energy_j": "llmops.energy",
    "busy_s": "llmops.busy",
    "cpu_s": "llmops.cpu",
    "peak_bytes": "llmops.memory.peak",
    "shared": "llmops.shared",
    "energy_source": "llmops.energy.source",
    "notebook": "llmops.notebook.path",
    "cell_id": "llmops.notebook.cell_id",
    "execution_count": "llmops.notebook.execution_count",
    "kernel_id": "llmops.notebook.kernel_id",
}

INPUT_MESSAGES = "gen_ai.input.messages"
OUTPUT_MESSAGES = "gen_ai.output.messages"
TIME_TO_FIRST_CHUNK = "gen_ai.response.time_to_first_chunk"
REASONING_TOKENS = "gen_ai.usage.reasoning.output_tokens"
FINISH_REASONS = "gen_ai.response.finish_reasons"
TOOL_NAME = "gen_ai.tool.name"
TOOL_CALL_ID = "gen_ai.tool.call.id"
TOOL_ARGUMENTS = "gen_ai.tool.call.arguments"
TOOL_RESULT = "gen_ai.tool.call.result"
TOOL_DEFINITIONS = "gen_ai.tool.definitions"
INPUT_VALUE = "input.value"
OUTPUT_VALUE = "output.value"
EVENTS = "llmops.events"
# What a span was made for, if for a test: see `purposes`.
PURPOSE = "llmops.purpose"
MAP_ROW = "llmops.map.row_id"
# How many rows were asked at once. Their times are mostly those of waiting for a turn, and say little of the model.
MAP_ROWS = "llmops.map.rows"
# The same in SQL, of a span `s`: 1 for a call of its own.
MAP_ROWS_SQL = f"""coalesce(json_extract(s.attributes, '$."{MAP_ROWS}"'), 1)"""

COLUMN_OF = {name: column for column, name in COLUMN_NAMES.items()}
