#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The house's walls: every source stands in a room (mailgate_room in a CMakeLists.txt), includes only what its room may use,
and no two units or rooms include each other in a circle.

    tests/style/rooms.py [ROOT]     says what is wrong, a line each; exit 1 if anything is
"""
import pathlib
import re
import sys

TREES = ("protocols", "store", "gateway")


def rooms(root):
    """folder -> (name, set of the names that it uses), as the CMakeLists.txt files have it."""
    found = {}
    for tree in TREES:
        for file in (root / tree).rglob("CMakeLists.txt"):
            for call in re.findall(r"mailgate_room\(([^)]*)\)", file.read_text()):
                words = call.split()
                uses = words[words.index("USES") + 1 :] if "USES" in words else []
                for keyword in ("SOURCES", "LIBRARIES"):
                    if keyword in uses:
                        uses = uses[: uses.index(keyword)]
                found[str(file.parent.relative_to(root))] = (words[0], set(uses))
    return found


def closure(uses):
    """What each room reaches, itself too."""
    reach = {}

    def visit(name, path):
        if name in path:
            raise SystemExit("rooms use each other in a circle: " + " -> ".join((*path, name)))
        if name not in reach:
            reach[name] = {name}.union(*(visit(other, (*path, name)) for other in uses.get(name, ())))
        return reach[name]

    for name in uses:
        visit(name, ())
    return reach


def includes(file):
    return re.findall(r'^#include "([^"]+)"', file.read_text(), re.MULTILINE)


def cycles(arrows):
    """Each circle once, as the list of its units (Tarjan's strongly connected components)."""
    index, low, stack, found = {}, {}, [], []

    def visit(unit):
        index[unit] = low[unit] = len(index)
        stack.append(unit)
        for other in sorted(arrows.get(unit, ())):
            if other not in index:
                visit(other)
                low[unit] = min(low[unit], low[other])
            elif other in stack:
                low[unit] = min(low[unit], index[other])
        if low[unit] == index[unit]:
            circle = []
            while not circle or circle[-1] != unit:
                circle.append(stack.pop())
            if len(circle) > 1:
                found.append(sorted(circle))

    sys.setrecursionlimit(10_000)
    for unit in sorted(arrows):
        if unit not in index:
            visit(unit)
    return found


def main(root):
    wrong = []
    room_of = rooms(root)
    reach = closure({name: uses for name, uses in room_of.values()})
    name_of = {folder: name for folder, (name, _) in room_of.items()}
    arrows = {}
    for tree in TREES:
        for file in sorted((root / tree).rglob("*")):
            if file.suffix not in (".h", ".cpp"):
                continue
            path = file.relative_to(root)
            folder = str(path.parent)
            if str(path) == "gateway/main.cpp":
                continue
            if folder not in name_of:
                wrong.append(f"{path}: {folder}/ is no room")
                continue
            unit = str(path.with_suffix(""))
            for head in includes(file):
                target = str(pathlib.PurePath(head).parent)
                if not (root / head).is_file():
                    wrong.append(f"{path}: there is no {head}")
                elif name_of.get(target) not in reach[name_of[folder]]:
                    wrong.append(f"{path}: {folder}/ may not use {head}")
                other = str(pathlib.PurePath(head).with_suffix(""))
                if other != unit:
                    arrows.setdefault(unit, set()).add(other)
    wrong += ["units include each other in a circle: " + ", ".join(circle)
              for circle in cycles(arrows)]
    folders = {}
    for unit, others in arrows.items():
        folders.setdefault(str(pathlib.PurePath(unit).parent), set()).update(
            parent for parent in (str(pathlib.PurePath(other).parent) for other in others)
            if parent != str(pathlib.PurePath(unit).parent))
    wrong += ["folders include each other in a circle: " + ", ".join(circle) for circle in cycles(folders)]
    for line in wrong:
        print(line)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else ".").resolve()))
