"""The access layer: HTTP, tickets, the shake filter and batches of claims."""
