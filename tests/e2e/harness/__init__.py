"""What the end-to-end tests stand on: a node of their own, bundles, engines, and the probe's answers."""
