"""Pure: what the public answers of waters, areas and the country are counted in."""

DECIMALS = 5  # of degrees, wherever a public point is told: about a metre, on a point that is coarser by itself
