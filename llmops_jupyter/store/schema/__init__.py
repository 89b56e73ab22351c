"""The tables of the store, as an ordered list of steps that are never rewritten.

Each step is a function whose docstring says why the tables look as they do.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable

from llmops_jupyter.store.schema import (
    alerts,
    baselines,
    basis,
    cost,
    deploy,
    guard,
    otlp,
    redteam,
    registries,
    runs,
    sizing,
    stages,
)

Migration = Callable[[sqlite3.Connection], None]

MIGRATIONS: tuple[Migration, ...] = (
    basis.m001_settings,
    basis.m002_spans,
    basis.m003_messages,
    basis.m004_search,
    basis.m005_scores,
    registries.m006_prompts,
    registries.m007_aliases,
    registries.m008_models,
    registries.m009_datasets,
    registries.m010_sessions,
    registries.m011_maps,
    basis.m012_parents,
    basis.m013_messages_in_order,
    registries.m014_rows_in_order,
    registries.m015_formats,
    stages.m016_evaluation,
    stages.m017_splits,
    stages.m018_rag,
    stages.m019_finetune,
    stages.m020_preparations,
    guard.m021_policies,
    cost.m022_cost,
    baselines.m023_baselines,
    alerts.m024_alerts,
    redteam.m025_redteam,
    baselines.m026_ids_that_stay_gone,
    alerts.m027_waiting_notices,
    deploy.m028_deployments,
    otlp.m029_otlp,
    sizing.m030_load_runs,
    runs.m031_inner_runs,
)
