"""What a process is there for: `front`, `worker` and `effects`, any of them together."""
