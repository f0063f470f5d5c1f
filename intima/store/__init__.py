"""Where things are kept: blobs by content, rows of the catalog, the ledger of jobs and units."""
