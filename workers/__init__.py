"""Processes: relay, queue workers, sweep, demo. They import waterwatch; waterwatch never imports them."""
