"""The access layer: who may claim, the shake filter, lanes to the sets, batches. Its HTTP is `redrush.http`."""
