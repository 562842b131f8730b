"""Networks for the engine: any timm model, wrapped to return taps."""
