"""HTTP: health, metrics, calls and captures."""
