"""The operators' pages, over the admin API's desk: rendered here, with nothing that the API does not have."""
