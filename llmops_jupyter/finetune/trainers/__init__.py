"""What learns: one protocol, on torch with PEFT and on MLX."""
