"""Colours that all figures share."""

INK, MODEL, CONTINUUM, MARK = "#1b2430", "#d1495b", "#e9a13b", "#2e6f95"
