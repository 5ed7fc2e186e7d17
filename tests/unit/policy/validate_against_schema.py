#!/usr/bin/env python3
"""Judges policy documents by JSON Schema alone.

Usage: validate_against_schema.py SCHEMA DOCUMENT...
         prints "accepted DOCUMENT" or "refused DOCUMENT" for each; lines that begin with // are comments
       validate_against_schema.py SCHEMA --lines FILE
         one document a line; prints "accepted N" or "refused N", N counted from 0
Exit status 77 where python3-jsonschema is missing.
"""
import json
import sys

try:
    from jsonschema import Draft7Validator
except ImportError:
    sys.exit(77)


def documents(arguments):
    if arguments[0] == "--lines":
        with open(arguments[1], encoding="utf-8") as file:
            for number, line in enumerate(file):
                yield number, json.loads(line)
        return
    for path in arguments:
        with open(path, encoding="utf-8") as file:
            yield path, json.loads("".join(line for line in file if not line.startswith("//")))


def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        schema = json.load(file)
    Draft7Validator.check_schema(schema)
    validator = Draft7Validator(schema)
    for name, document in documents(sys.argv[2:]):
        print("accepted" if validator.is_valid(document) else "refused", name)


if __name__ == "__main__":
    main()
