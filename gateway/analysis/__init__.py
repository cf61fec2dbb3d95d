"""What went wrong in a capture: calls across the hosts that it shows, and findings on them, with evidence."""
