"""The blind page: every pair once, both orders, the right key, and no caption that is executed."""

import base64
import io
import json
import re

import numpy as np
from fewstep.benchmarks.ab.page import Pair, page
from PIL import Image

STUDENT, TEACHER = np.full((4, 4, 3), 200, np.uint8), np.full((4, 4, 3), 50, np.uint8)


def data_of(text: str) -> dict:
    return json.loads(re.search(r"const \{ questions, names \} = (.*)\n", text)[1].replace("<\\/", "</"))


def picture_of(url: str) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))))


def test_the_key_names_the_students_side_and_both_sides_occur():
    pairs = [Pair(f"caption {n}", STUDENT, TEACHER) for n in range(40)]
    questions = data_of(page(pairs, "student", "teacher"))["questions"]
    assert sorted(one["caption"] for one in questions) == sorted(pair.caption for pair in pairs)
    for one in questions:
        assert picture_of(one["pictures"][one["student"]])[0, 0, 0] == 200
        assert picture_of(one["pictures"][1 - one["student"]])[0, 0, 0] == 50
    assert 8 < sum(one["student"] for one in questions) < 32


def test_a_caption_cannot_end_the_script():
    text = page([Pair("</script><script>alert(1)</script>", STUDENT, TEACHER)], "a", "b")
    assert text.count("</script>") == 1
    assert data_of(text)["questions"][0]["caption"] == "</script><script>alert(1)</script>"


def test_the_page_asks_nothing_of_a_network():
    assert not re.search(r"https?://|src=\"(?!data)", page([Pair("x", STUDENT, TEACHER)], "a", "b"))
