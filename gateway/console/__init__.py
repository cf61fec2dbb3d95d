"""HTTP: health, metrics."""
