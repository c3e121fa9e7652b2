"""Where the nodes of a workflow stand on the page: groups by what they are for, wrapped to a laptop's width.

A group is a stage of the work. Its nodes stand in columns by what feeds what; what shows or saves a picture stands
under what made it. Groups follow each other from left to right and begin a new row where the next would not fit.
"""

STAGES = ("Load", "Method", "Train", "Merge", "Try")
COLOURS = {"Load": "#3f789e", "Method": "#8A8", "Train": "#b06634", "Merge": "#a1309b", "Try": "#88A"}
DATA = ("FewStepPrompts", "FewStepDataset")
MERGES = ("FewStepInterpolate", "FewStepAddLoras", "FewStepSave", "FewStepExtract")
ENDS = ("SaveImage", "PreviewImage", "SaveAnimatedWEBP", "PreviewAny")  # they grow by the picture that they show
WIDTH, GAP, MOST_WIDE = 320, 40, 1500
PAD, TITLE, ROOM_FOR_TITLE = 20, 40, 30  # a group's border, its title bar; a node's title stands above its pos
HIGHEST = 900  # pixels of a column that takes one more node


def sources(node: dict) -> list[str]:
    return [value[0] for value in node["inputs"].values() if isinstance(value, list)]


def stage(workflow: dict, key: str) -> str:
    """What a node is for. What loads a file stands under Load, except if the graph has just made that file."""
    kind = workflow[key]["class_type"]
    if kind.startswith("FewStepDistill"):
        return "Train"
    if kind.startswith(("FewStepMethod", "FewStepReward")):
        return "Method"
    if kind.startswith(MERGES):
        return "Merge"
    fed_by = {stage(workflow, source) for source in sources(workflow[key])}
    if kind in ENDS and fed_by == {"Train"}:  # the curve of the training
        return "Train"
    loads = "Load" in kind or kind in DATA
    return "Load" if loads and fed_by <= {"Load"} else "Try"


def column(workflow: dict, key: str, keys: list[str]) -> int:
    """Columns from the group's left; what shows a picture stays in the column of what made it."""
    inside = [source for source in sources(workflow[key]) if source in keys]
    here = workflow[key]["class_type"] in ENDS
    return max((column(workflow, source, keys) + (not here) for source in inside), default=0)


def columns_of(workflow: dict, keys: list[str], heights: dict[str, int]) -> list[list[str]]:
    """The group's nodes by column, from left to right; a column that got too high goes on beside itself."""
    found = {}
    for key in keys:
        found.setdefault(column(workflow, key, keys), []).append(key)
    columns = []
    for index in sorted(found):
        top = 0
        for key in found[index]:
            tall = heights[key] + GAP + ROOM_FOR_TITLE
            if top == 0 or top + tall > HIGHEST:
                columns.append([])
                top = 0
            columns[-1].append(key)
            top += tall
    return columns


def stacked(columns: list[list[str]], heights: dict[str, int]) -> tuple[dict[str, list[int]], int, int]:
    """(position inside the group, its width, its height). Columns that do not fit begin a new row."""
    in_a_row = (MOST_WIDE - 2 * PAD) // (WIDTH + GAP)
    where, top, width = {}, PAD + TITLE, 0
    for first in range(0, len(columns), in_a_row):
        lowest = top
        for index, keys in enumerate(columns[first : first + in_a_row]):
            left, y = PAD + index * (WIDTH + GAP), top + ROOM_FOR_TITLE
            for key in keys:
                where[key] = [left, y]
                y += heights[key] + GAP + ROOM_FOR_TITLE
            width, lowest = max(width, left + WIDTH + PAD), max(lowest, y - GAP - ROOM_FOR_TITLE)
        top = lowest + GAP
    return where, width, top - GAP + PAD


def titles(workflow: dict) -> dict[str, str]:
    """{node: its title} of the text encoders, by the sockets that they end in."""
    found = {}
    for key, node in workflow.items():
        if node["class_type"] == "CLIPTextEncode":
            named = {name for other in workflow.values() for name, v in other["inputs"].items() if v == [key, 0]}
            found[key] = "Negative prompt" if named == {"negative"} else "Prompt"
    return found


def placed(workflow: dict, order: list[str], heights: dict[str, int]) -> tuple[dict, list[dict]]:
    """({node: position}, the groups). order: every node, what feeds another before it."""
    members = {name: [key for key in order if stage(workflow, key) == name] for name in STAGES}
    where, groups, left, top, below = {}, [], 0, 0, 0
    for name, keys in members.items():
        if not keys:
            continue
        inside, width, height = stacked(columns_of(workflow, keys, heights), heights)
        if left and left + width > MOST_WIDE:
            left, top = 0, below + GAP
        where |= {key: [left + x, top + y] for key, (x, y) in inside.items()}
        title = f"{len(groups) + 1} {name}"
        groups.append({"title": title, "bounding": [left, top, width, height], "color": COLOURS[name], "font_size": 24})
        left, below = left + width + GAP, max(below, top + height)
    return where, groups
