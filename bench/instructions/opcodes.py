"""What kinds of instructions a function ran: callgrind's count of every address, and objdump's text
of what lies there."""

from __future__ import annotations

import re
import subprocess
import tempfile
from collections import Counter
from pathlib import Path

_INSTRUCTION = re.compile(r"^ +([0-9a-f]+):\t(\S+)(?: +(.*))?$")
_SIZES = {"BYTE": 1, "WORD": 2, "DWORD": 4, "QWORD": 8, "XMMWORD": 16, "YMMWORD": 32}
_ADDRESS_ONLY = ("lea", "nop", "prefetch")
_WRITES = ("mov", "vmov", "vextract", "set", "vstmxcsr")


def kinds(mnemonic: str, operands: str) -> Counter[str]:
    """What one instruction, as `objdump -M intel` writes it, adds to the counts: 1 to
    `instructions`, and what it is and does to `fma`, `loads`, `vectors` (loads into vector
    registers), `bytes` (loaded) and `stores`. Memory that is no operand (push, call, return) is not
    counted."""
    found = Counter(instructions=1)
    if re.match(r"vfn?m(add|sub)", mnemonic):
        found["fma"] = 1
    memory = re.search(r"(\w+) PTR ", operands)
    if memory is None or mnemonic.startswith(_ADDRESS_ONLY):
        return found
    written = operands.startswith(memory[0]) and not mnemonic.startswith(("cmp", "test"))
    if written:
        found["stores"] = 1
    if not written or not mnemonic.startswith(_WRITES):
        found["loads"] = 1
        if mnemonic.startswith("v"):
            found["vectors"] = 1
        # A broadcast and a scalar read what their own width says.
        found["bytes"] = _SIZES[memory[1]]
    return found


def counted(program: Path, arguments: list[str], function: str) -> Counter[str]:
    """The sum of `kinds` over all instructions that `program arguments` runs inside `function`, a
    C function of it. The program is linked statically."""
    ran = _addresses(program, arguments, function)
    text = subprocess.run(
        ["objdump", "-d", "--no-show-raw-insn", "-M", "intel", str(program)],
        check=True, capture_output=True, text=True,
    ).stdout  # fmt: skip
    total: Counter[str] = Counter()
    for line in text.splitlines():
        if (found := _INSTRUCTION.match(line)) and (times := ran.pop(int(found[1], 16), 0)):
            for kind, n in kinds(found[2], found[3] or "").items():
                total[kind] += times * n
    assert not ran, f"{len(ran)} addresses that objdump does not show"
    return total


def _addresses(program: Path, arguments: list[str], function: str) -> Counter[int]:
    """How often the instruction at an address ran."""
    with tempfile.TemporaryDirectory() as folder:
        profile = Path(folder) / "profile"
        subprocess.run(
            ["valgrind", "--tool=callgrind", "--dump-instr=yes", "--compress-pos=no",
             f"--toggle-collect={function}", f"--callgrind-out-file={profile}",
             str(program), *arguments],
            check=True, capture_output=True,
        )  # fmt: skip
        lines = profile.read_text().splitlines()
    ran: Counter[int] = Counter()
    of_a_call = False
    for line in lines:
        if line.startswith("0x"):
            address, _, times = line.split()
            if not of_a_call:
                ran[int(address, 16)] += int(times)
            of_a_call = False
        elif line.startswith("calls="):
            of_a_call = True  # the next line has what the function called cost in all
    return ran
