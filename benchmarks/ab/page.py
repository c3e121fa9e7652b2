"""The page: one HTML file with its pictures inside, which counts the choices and needs no network."""

import base64
import io
import json
from collections.abc import Sequence
from html import escape
from typing import NamedTuple

import numpy as np
from PIL import Image


class Pair(NamedTuple):
    """One question: uint8 pictures [h, w, 3] of the same caption and noise."""

    caption: str
    student: np.ndarray
    teacher: np.ndarray


def page(pairs: Sequence[Pair], student: str, teacher: str, seed: int = 0) -> str:
    """Pairs in random order, each in random order within; which was which is told after the last."""
    rng = np.random.default_rng(seed)
    questions = []
    for index in rng.permutation(len(pairs)):
        pair, swapped = pairs[index], bool(rng.random() < 0.5)
        shown = (pair.teacher, pair.student) if swapped else (pair.student, pair.teacher)
        questions.append({"caption": pair.caption, "pictures": [as_url(one) for one in shown], "student": int(swapped)})
    names = {"student": student, "teacher": teacher}
    data = json.dumps({"questions": questions, "names": names}).replace("</", "<\\/")
    return PAGE.replace("TITLE", escape(f"{student} against {teacher}")).replace("DATA", data)


def as_url(picture: np.ndarray) -> str:
    stream = io.BytesIO()
    Image.fromarray(picture).save(stream, "PNG")
    return "data:image/png;base64," + base64.b64encode(stream.getvalue()).decode()


PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>Which one is better?</title>
<style>
body { font: 16px system-ui, sans-serif; text-align: center; margin: 2rem auto; max-width: 900px; }
img { width: 384px; image-rendering: pixelated; border: 3px solid transparent; cursor: pointer; }
img:hover, img:focus { border-color: #3b82f6; }
button { font: inherit; padding: .4rem 1rem; margin: .5rem; }
</style>
<h1>Which one is better?</h1>
<p id="count"></p><p id="caption"></p>
<div><img id="left" tabindex="0" alt="left"> <img id="right" tabindex="0" alt="right"></div>
<p><button id="same">no difference</button></p>
<p>Click a picture, or press 1, 2 or 0 for no difference. Nothing leaves this page.</p>
<pre id="result" title="TITLE"></pre>
<script>
const { questions, names } = DATA
const tally = { student: 0, teacher: 0, same: 0 }
let now = 0
const at = id => document.getElementById(id)
function show() {
  if (now === questions.length) return finish()
  const one = questions[now]
  at("count").textContent = `${now + 1} of ${questions.length}`
  at("caption").textContent = one.caption
  at("left").src = one.pictures[0]
  at("right").src = one.pictures[1]
}
function choose(side) {
  if (now === questions.length) return
  tally[side === null ? "same" : side === questions[now].student ? "student" : "teacher"] += 1
  now += 1
  show()
}
function finish() {
  for (const id of ["left", "right", "same", "caption"]) at(id).hidden = true
  at("count").textContent = "Done."
  const { student, teacher, same } = tally
  at("result").textContent = `${names.student}: ${student}\\n${names.teacher}: ${teacher}\\nno difference: ${same}`
}
at("left").onclick = () => choose(0)
at("right").onclick = () => choose(1)
at("same").onclick = () => choose(null)
document.onkeydown = event => { if ("120".includes(event.key)) choose({ 1: 0, 2: 1, 0: null }[event.key]) }
show()
</script>
</html>
"""
