"""The lab: a trained net behind a local server, and the page that shows what the net does with a picture."""

POLICY = (  # the Content-Security-Policy of the page: nothing of another host
    "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self'; img-src 'self' blob: data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'"
)
