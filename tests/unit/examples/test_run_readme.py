"""A page is run as it stands, and what it prints is what it shows."""

from __future__ import annotations

import subprocess

import pytest

from run_readme import Step, differences, heading, script, steps

PAGE = """# A page

```python
not run
```

```sh
x=one
echo $x
```

What follows is shown for nothing: it is not after the commands.

```python
```

```text
never
```

```sh
echo "$x two" \\
  three
```

```text
one two three
```
"""


def output(of: list[Step]) -> str:
    return subprocess.run(
        ["bash", "-c", script(of)], capture_output=True, text=True, check=True
    ).stdout


def test_commands_run_in_one_shell_and_are_shown_before_they_run() -> None:
    found = steps(PAGE)
    assert [one.shown for one in found] == ["", "one two three\n"]
    assert output(found) == (
        '\n$ x=one\n$ echo $x\none\n\n$ echo "$x two" \\\n>   three\none two three\n'
    )
    assert differences(found, output(found)) == []


def test_a_step_that_prints_something_else_is_told() -> None:
    found = steps(PAGE.replace("one two three", "one two"))
    (sentence,) = differences(found, output(found))
    assert "The page shows\none two\n" in sentence
    assert "this was printed:\none two three" in sentence


def test_a_step_that_fails_ends_the_script() -> None:
    done = subprocess.run(
        ["bash", "-c", script([Step("false", ""), Step("echo after", "")])],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, "after" in done.stdout) == (1, False)


@pytest.mark.parametrize(
    ("shown", "printed", "same"),
    [
        ("error 9.1%", "error 12.03%", True),
        ("error 9.1%", "error 12%", False),
        ("version 1", "version 2", False),
        ("1000 requests", "999 requests", False),
        ("a\n...\nz", "a\nb\nc\nz", True),
        ("a\n...\nz", "a\nb\nc", False),
        ("f(x) [1.0]", "f(x) [1e-05]", False),
        ("[1.0]", "[1.5e-05]", True),
        ("a", "a\nb", False),
        ("a", "", False),
    ],
)
def test_numbers_with_a_point_may_differ_and_nothing_else(
    shown: str, printed: str, *, same: bool
) -> None:
    step = Step("run\n", shown)
    assert (differences([step], f"\n{heading(step)}{printed}\n") == []) is same


def test_the_output_of_a_step_is_its_own() -> None:
    first, second = Step("run", "a"), Step("run", "b")
    said = f"\n{heading(first)}a\n\n{heading(second)}b\n"
    assert differences([first, second], said) == []
    assert len(differences([first, second], said.replace("b\n", "a\n"))) == 1
