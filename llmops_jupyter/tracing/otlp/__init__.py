"""Traces out to any OTLP collector, and in from other instrumented programs."""
