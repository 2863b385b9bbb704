"""Processes: the relay, the queue workers, the sweep, the demo. They import waterwatch; waterwatch never imports them."""
