"""What the services tell of themselves: metrics, traces and logs. Nothing here decides anything."""
