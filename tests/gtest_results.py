#!/usr/bin/env python3
"""Turns the XML of one GoogleTest program into lines "PASS|FAIL|SKIP PROGRAM.Suite.Test[: reason]".

  gtest_results.py PROGRAM EXIT-STATUS XML-FILE

A program that ended without writing its results, or badly although no test failed, has failed itself.
"""
import sys
import xml.etree.ElementTree as ElementTree


def first_text_line(message):
    lines = [line.strip() for line in message.splitlines() if line.strip()]
    # "/path/x_test.cc:12" is where the skip was written; the reason follows.
    reasons = [line for line in lines if not line.rsplit(":", 1)[-1].isdigit()]
    return (reasons or lines or ["no reason given"])[0]


def main():
    program, status, path = sys.argv[1], int(sys.argv[2]), sys.argv[3]
    try:
        root = ElementTree.parse(path).getroot()
    except (OSError, ElementTree.ParseError):
        print(f"FAIL {program}: ended with status {status} and left no results")
        return
    failed = False
    for case in root.iter("testcase"):
        name = f"{program}.{case.get('classname')}.{case.get('name')}"
        skipped = case.find("skipped")
        if case.find("failure") is not None:
            failed = True
            print(f"FAIL {name}")
        elif skipped is not None:
            print(f"SKIP {name}: {first_text_line(skipped.get('message') or '')}")
        elif case.get("status") == "run":
            print(f"PASS {name}")
    if status != 0 and not failed:
        print(f"FAIL {program}: ended with status {status} although no test failed")


if __name__ == "__main__":
    main()
