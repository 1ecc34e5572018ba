"""Judges lists of what programs are made of: valid CycloneDX, and complete.

sbom.py LISTS [PROGRAMS]   PROGRAMS: a folder with the programs, built by `cargo auditable`, which writes into each what it is
                           built from; all of that must stand in the program's list.
"""

import json
import pathlib
import struct
import sys
import zlib

from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator


def embedded(program):
    """What `cargo auditable` has written into an ELF file: its section .dep-v0, JSON compressed by zlib."""
    data = program.read_bytes()
    (sections,) = struct.unpack_from("<Q", data, 0x28)
    size, count, names = struct.unpack_from("<HHH", data, 0x3A)
    headers = [struct.unpack_from("<IIQQQQ", data, sections + size * n) for n in range(count)]
    begin = headers[names][4]
    for name, _, _, _, offset, length in headers:
        if data[begin + name :].startswith(b".dep-v0\0"):
            return json.loads(zlib.decompress(data[offset : offset + length]))["packages"]
    sys.exit(f"{program}: not built by cargo auditable")


def main(lists, programs):
    validator = JsonStrictValidator(SchemaVersion.V1_5)
    files = sorted(pathlib.Path(lists).glob("*.cdx.json"))
    if not files:
        sys.exit(f"{lists}: no lists")
    compared = 0
    for file in files:
        text = file.read_text()
        error = validator.validate_str(text)
        if error is not None:
            sys.exit(f"{file}: not valid: {error.data.message} at {error.data.json_path}")
        content = json.loads(text)
        own = content["metadata"]["component"]
        listed = {(one["name"], one["version"]) for one in content["components"]}
        told = f"{file}: valid CycloneDX {content['specVersion']}, {len(listed)} components"
        program = pathlib.Path(programs) / file.name.removesuffix(".cdx.json")
        if programs and program.exists():
            built = embedded(program)
            linked = {(one["name"], one["version"]) for one in built if one.get("kind") != "build" and not one.get("root")}
            missing = linked - listed - {(own["name"], own["version"])}
            if not linked or missing:
                sys.exit(f"{file}: built into {program.name}, but not listed: {sorted(missing)}")
            compared += 1
            told += f", among them all {len(linked)} that are built into {program.name}"
        elif programs:
            told += f"; not compared with a program: {program} is not there"
        print(told)
    if programs and not compared:
        sys.exit(f"{programs}: no program of ours; integration/reproducible.sh builds them, into target/reproduced")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else "")
