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
# Within agent/, of which the files of agent/ itself may be known to all.
AGENT_MAY_INCLUDE = {
    "notify": set(),
    "holder": set(),
    "helper": {"notify", "holder"},
    "handlers": {"notify", "holder", "helper"},
    "control": {"notify"},
    "server": {"notify", "holder", "helper", "handlers", "control"},
    "ctl": set(),
}
INCLUDE = re.compile(r'^\s*#\s*include\s+"([^"]+)"')


def includes(path):
    for number, line in enumerate(path.read_text().splitlines(), 1):
        match = INCLUDE.match(line)
        if match:
            yield number, match.group(1), match.group(1).split("/")


def sources(directory):
    return [path for path in sorted(directory.rglob("*")) if path.suffix in (".h", ".cc", ".c")]


def violations(root: pathlib.Path):
    for directory, allowed in MAY_INCLUDE.items():
        for path in sources(root / directory):
            for number, name, parts in includes(path):
                if parts[0] != directory and parts[0] not in allowed:
                    yield f'{path.relative_to(root)}:{number}: {directory}/ may not include "{name}"'
    for directory, allowed in AGENT_MAY_INCLUDE.items():
        for path in sources(root / "agent" / directory):
            for number, name, parts in includes(path):
                if parts[0] == "agent" and len(parts) > 2 and parts[1] != directory and parts[1] not in allowed:
                    yield f'{path.relative_to(root)}:{number}: agent/{directory}/ may not include "{name}"'


def main():
    found = list(violations(pathlib.Path(sys.argv[1])))
    print("\n".join(found), end="\n" if found else "", file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
