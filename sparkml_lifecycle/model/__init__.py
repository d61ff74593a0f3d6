"""What a model directory says about itself: manifest, signature, batches of rows, digest."""
