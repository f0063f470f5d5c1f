"""Which warnings of a file a pixel size that is given answers."""

import pytest

from intima.slides.pixel_size import UNKNOWN, from_resolution, standing_warnings


@pytest.mark.parametrize("claim", [UNKNOWN, from_resolution(72, 72)])
def test_a_given_pixel_size_answers_the_warning_that_asks_for_it_and_no_other(claim: object) -> None:
    asked = claim.warnings  # type: ignore[attr-defined]
    assert len(asked) == 1
    other = "There are further images in the file."
    assert standing_warnings((*asked, other), mpp=None) == (*asked, other)
    assert standing_warnings((*asked, other), mpp=0.5) == (other,)
