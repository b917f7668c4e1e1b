"""Every connection to a source: the in-process proxy that judges addresses, upstream proxies, HTTP clients."""
