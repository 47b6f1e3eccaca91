"""The participants' page: hand-written HTML, CSS and one module, made into one document for a campaign."""
