"""Prompt lists: read in place, in order, small in memory; and what is said about files that cannot be read."""

import tracemalloc

import pytest
from fewstep.training.prompts import PromptFile, Prompts, different, digest_of

TABLE = 'id,prompt,url\n1,"a fox, red",x\n2,,x\n3,"two\nlines",x\n4\n5,"an ""old"" tree",x\n'


def write(folder, name: str, text: str | bytes):
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_lines_of_a_text_file_come_without_blanks_and_without_the_byte_order_mark(tmp_path):
    prompts = PromptFile(write(tmp_path, "p.txt", b"\xef\xbb\xbfred fox\r\n\r\n  blue car \n\xc3\xa9toile"))
    assert list(prompts) == [prompts[i] for i in range(len(prompts))] == ["red fox", "blue car", "étoile"]


@pytest.mark.parametrize("column", ["", "prompt"])
def test_a_column_of_a_table_with_quotes_newlines_and_missing_cells(tmp_path, column):
    prompts = PromptFile(write(tmp_path, "p.csv", TABLE), column)
    assert [prompts[i] for i in (2, 0, 1)] == ['an "old" tree', "a fox, red", "two\nlines"]
    assert list(prompts) == [prompts[i] for i in range(3)]
    assert list(PromptFile(prompts.path, "id")) == list("12345")


@pytest.mark.parametrize(
    "name, text", [("p.tsv", "n\tCaption\n1\ta, b; c\n"), ("p.csv", "n;Caption\n1;a, b\n"), ("one.csv", "name\na\n")]
)
def test_tabs_semicolons_and_a_single_column_need_no_setting(tmp_path, name, text):
    assert list(PromptFile(write(tmp_path, name, text)))[0].startswith("a")


def test_lists_follow_one_another_and_their_digest_is_of_the_words(tmp_path):
    path = write(tmp_path, "p.txt", "c\nd\n")
    prompts = Prompts(("a", "b"), PromptFile(path), ())
    assert list(prompts) == [prompts[i] for i in range(4)] == list("abcd")
    with pytest.raises(IndexError):
        prompts[4]
    before = prompts.digest
    assert Prompts(("a", "b"), PromptFile(write(tmp_path, "other.txt", "c\n\nd"))).digest == before
    assert Prompts(("a", "b"), PromptFile(write(tmp_path, "p2.txt", "d\nc\n"))).digest != before
    assert digest_of(("a", "b")) == digest_of(["a", "b"]) != digest_of(["ab"])


def test_different_prompts_are_counted_no_further_than_the_cap():
    asked = []

    def endless():
        for n in range(1000):
            asked.append(n)
            yield str(n % 7)

    assert different(endless(), 6) is None and len(asked) == 7
    assert different(["b", "a", "b"], 2) == ["b", "a"]


@pytest.mark.parametrize("ending, row", [(".txt", "prompt number {}\n"), (".csv", '{},"prompt number {}"\n')])
def test_a_long_file_stays_on_the_disk(tmp_path, ending, row):
    """100,000 prompts: 8 bytes each are kept, where the strings themselves take some 7 MB."""
    count = 100_000
    with open(tmp_path / f"long{ending}", "w", encoding="utf-8") as file:
        file.write("" if ending == ".txt" else "n,prompt\n")
        file.writelines(row.format(n, n) for n in range(count))
    tracemalloc.start()
    try:
        prompts = Prompts(PromptFile(tmp_path / f"long{ending}"))
        kept, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(prompts) == count and kept < 1.2e6 and most < 2.4e6
    assert [prompts[n][-6:] for n in (0, 23456, 99999)] == ["mber 0", " 23456", " 99999"]


@pytest.mark.parametrize(
    "name, text, column, message",
    [
        ("p.txt", "caf\xe9\n".encode("latin-1"), "", r"p\.txt is not UTF-8 text \(line 1.*Save it as UTF-8"),
        ("p.csv", "prompt\ncafé\n".encode("utf-16"), "", "p.csv is not UTF-8 text"),
        ("p.csv", TABLE, "words", r"p\.csv has no column 'words'.*into column: id, prompt, url"),
        ("p.csv", "a,b\n1,2\n", "", r"several columns.*into column: a, b"),
        ("p.csv", "id,prompt\n1,\n2, \n", "", r"chosen column of p\.csv has no text in any row"),
        ("p.csv", "", "", "no first row with the names"),
        ("p.csv", 'prompt\n"open\nand never closed\n', "", r"no table that can be read \(row.*Close its quotes"),
    ],
)
def test_files_that_cannot_be_used_are_refused_with_the_node_the_file_and_a_remedy(
    tmp_path, name, text, column, message
):
    with pytest.raises(ValueError, match="FewStepPrompts: .*" + message):
        PromptFile(write(tmp_path, name, text), column)


def test_a_file_that_changes_meanwhile_is_noticed(tmp_path):
    path = write(tmp_path, "p.txt", "one\ntwo\n")
    prompts = PromptFile(path)
    path.write_text("three\nfour\nfive\n")
    with pytest.raises(ValueError, match="p.txt was changed. Queue the graph again"):
        prompts[1]
