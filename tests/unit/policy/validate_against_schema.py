#!/usr/bin/env python3
"""Prints "accepted NAME" or "refused NAME" for each policy document, by JSON Schema alone.

Usage: validate_against_schema.py SCHEMA DOCUMENT...
Lines that begin with // are comments. Exit status 77 where python3-jsonschema is missing.
"""
import json
import sys

try:
    from jsonschema import Draft7Validator
except ImportError:
    sys.exit(77)


def load(path):
    with open(path, encoding="utf-8") as file:
        return json.loads("".join(line for line in file if not line.startswith("//")))


def main():
    schema = load(sys.argv[1])
    Draft7Validator.check_schema(schema)
    validator = Draft7Validator(schema)
    for path in sys.argv[2:]:
        print("accepted" if validator.is_valid(load(path)) else "refused", path)


if __name__ == "__main__":
    main()
