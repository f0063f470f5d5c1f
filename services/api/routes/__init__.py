"""Routes of the api, one module per resource."""
