"""The probe's lines, and tables of what they must say."""
import json


class Answers:
    """The lines of one run of the probe, in order."""

    def __init__(self, text):
        self.lines = []
        for line in text.splitlines():
            try:
                value = json.loads(line)
            except ValueError:
                continue
            if isinstance(value, dict) and "op" in value and "errno" in value:
                self.lines.append(value)

    def __getitem__(self, op):
        for line in self.lines:
            if line["op"] == op:
                return line
        raise AssertionError(f"the probe did not answer {op!r}; it answered "
                             f"{[line['op'] for line in self.lines]}")

    def errno(self, op):
        return self[op]["errno"]

    def value(self, op):
        return self[op]["value"]


def ops(table):
    return [row[0] for row in table]


def check(test, answers, table, ended=None):
    """Rows are (OP, EXPECTED[, VALUE]): EXPECTED "ok", an errno's name or several with "|" between."""
    wrong = []
    # In order, so that the same operation can stand in a table twice.
    if len(answers.lines) < len(table):
        test.fail(f"{len(table)} operations, {len(answers.lines)} answers\n{ended or ''}")
    for row, line in zip(table, answers.lines):
        op, expected = row[0], row[1]
        if line["op"] != op:
            test.fail(f"expected the answer to {op!r}, got {line}\n{ended or ''}")
        if line["errno"] not in expected.split("|"):
            wrong.append(f"  {op}: expected {expected}, got {line['errno']} {line['value'][:200]!r}")
        elif len(row) > 2 and row[2] not in line["value"]:
            wrong.append(f"  {op}: expected {row[2]!r} in the value, got {line['value'][:400]!r}")
    if wrong:
        test.fail("\n".join([f"{len(wrong)} of {len(table)} operations ended otherwise:"] + wrong)
                  + (f"\n{ended.err}" if ended is not None and ended.err else ""))
