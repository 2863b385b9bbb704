"""WaterWatch, 江湖網·預警圖: a warning map of rivers and lakes kept by its citizens."""

__version__ = "0.1.0"
