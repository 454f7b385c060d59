"""A run on disk: Parquet parts, checkpoint, events."""
