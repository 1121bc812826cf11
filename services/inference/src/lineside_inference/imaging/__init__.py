"""Pictures: their headers, decoding, preparation for a model, thumbnails, masks and overlays."""
