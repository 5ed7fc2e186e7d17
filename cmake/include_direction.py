#!/usr/bin/env python3
"""Fails when a source file includes a directory that its own may not know."""
import pathlib
import re
import sys

MAY_INCLUDE = {
    "base": set(),
    "policy": {"base"},
    "oci-specs": {"base", "policy"},
    "sandbox": {"base", "policy"},
    "node": {"base", "policy", "oci-specs", "sandbox"},
    "hook": {"base", "policy", "oci-specs", "sandbox", "node"},
    "agent": {"base", "policy", "oci-specs", "sandbox", "node"},
}
INCLUDE = re.compile(r'^\s*#\s*include\s+"([^"]+)"')


def violations(root: pathlib.Path):
    for directory, allowed in MAY_INCLUDE.items():
        for path in sorted((root / directory).rglob("*")):
            if path.suffix not in (".h", ".cc", ".c"):
                continue
            for number, line in enumerate(path.read_text().splitlines(), 1):
                match = INCLUDE.match(line)
                if not match:
                    continue
                target = match.group(1).split("/")[0]
                if target != directory and target not in allowed:
                    yield f'{path.relative_to(root)}:{number}: {directory}/ may not include "{match.group(1)}"'


def main():
    found = list(violations(pathlib.Path(sys.argv[1])))
    print("\n".join(found), end="\n" if found else "", file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
