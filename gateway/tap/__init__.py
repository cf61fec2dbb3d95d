"""The wire tap: copies of messages as they came and went, kept for a while, sent to Homer, or captured."""
