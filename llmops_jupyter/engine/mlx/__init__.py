"""Models on MLX: folders of mlx-lm, and GGUF files whose weights MLX can hold without loss.

Nothing here is imported before a model is to run on it.
"""
