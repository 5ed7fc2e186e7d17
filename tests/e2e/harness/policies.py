"""Policies that many tests build on."""

SYSTEM = [
    {"allow": ["read", "execute"], "beneath": ["/bin"]},
    {"allow": ["read"], "beneath": ["/etc", "/proc", "/dev"]},
]


def policy(*paths, system=True, **sections):
    """A policy with a `paths` section; the probe can be read and run in it."""
    return {"landgate": 1, "paths": (SYSTEM if system else []) + list(paths), **sections}


def allow(rights, *beneath, **more):
    return {"allow": rights.split(), "beneath": list(beneath), **more}


def deny(rights, *beneath, **more):
    return {"deny": rights.split(), "beneath": list(beneath), **more}


def deny_file(*files, rights="all", **more):
    return {"deny": rights.split(), "file": list(files), **more}


DATA = allow("read modify", "/data")


def network(*rules, **sections):
    return {"landgate": 1, "network": [{rule[0].split(":")[0]: [rule[0].split(":")[1]], "to": list(rule[1:])}
                                       for rule in rules], **sections}
