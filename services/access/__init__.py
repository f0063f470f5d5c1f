"""Who may ask for what, at both doors of both services: tokens, scopes, limits, the audit log."""
