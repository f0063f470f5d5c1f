"""Train nets: cases in, weights out. Everything random derives from seeds given as arguments."""
