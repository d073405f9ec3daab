"""``pretrieve serve``: search over HTTP, as JSON and as a page."""
