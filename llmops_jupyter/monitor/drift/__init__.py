"""Whether what runs still looks as it did: baselines, checks, streams, explanations."""
