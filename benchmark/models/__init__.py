"""Networks as the engine sees them: any timm model, tapped."""
