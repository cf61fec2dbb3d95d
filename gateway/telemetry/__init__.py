"""What can be seen of the gateway: metrics, traces, logs. Nothing here is on a call's way."""
