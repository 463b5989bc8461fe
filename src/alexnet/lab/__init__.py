"""The lab: a trained net behind a local server, and the page that shows what the net does with a picture."""
