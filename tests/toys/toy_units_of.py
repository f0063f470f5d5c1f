"""Which toy does which kind of unit."""

HANDLERS = {
    "trial": "toy_units:add",
    "fold": "toy_units:misbehave",
    "fit": "toy_units:sleep",
    "publish": "toy_units:note_gpu",
}
