"""One prediction explained in five layers: error, uncertainty, morphology, attention, saliency; and the figures."""
