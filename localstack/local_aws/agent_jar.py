"""A Java agent that does nothing.

LocalStack starts DynamoDB Local with an agent that raises its number of indexes, and does not start
it without one. We need no indexes, and the agent is in no registry. So this writes the smallest
archive that Java takes for an agent: a class whose `premain` returns at once.
"""

import struct
import zipfile
from pathlib import Path

CLASS_NAME = "NoAgent"
JAVA_8 = 52
PUBLIC, STATIC, SUPER = 0x0001, 0x0008, 0x0020
RETURN = b"\xb1"


def write(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as jar:
        jar.writestr("META-INF/MANIFEST.MF", f"Manifest-Version: 1.0\nPremain-Class: {CLASS_NAME}\n")
        jar.writestr(f"{CLASS_NAME}.class", _class_file())


def _class_file() -> bytes:
    """`public class NoAgent { public static void premain(String arguments) {} }`, after chapter 4
    of the Java Virtual Machine Specification."""
    constants = [
        _class(2),
        _text(CLASS_NAME),
        _class(4),
        _text("java/lang/Object"),
        _text("premain"),
        _text("(Ljava/lang/String;)V"),
        _text("Code"),
    ]
    # No stack, one local variable, the instruction, no exception table, no attributes.
    code = struct.pack(">HHI", 0, 1, len(RETURN)) + RETURN + struct.pack(">HH", 0, 0)
    method = struct.pack(">HHHH", PUBLIC | STATIC, 5, 6, 1) + struct.pack(">HI", 7, len(code)) + code
    return (
        struct.pack(">IHHH", 0xCAFEBABE, 0, JAVA_8, len(constants) + 1)
        + b"".join(constants)
        # Itself, its parent, no interfaces, no fields, one method.
        + struct.pack(">HHHHHH", PUBLIC | SUPER, 1, 3, 0, 0, 1)
        + method
        + struct.pack(">H", 0)
    )


def _class(name_index: int) -> bytes:
    return struct.pack(">BH", 7, name_index)


def _text(text: str) -> bytes:
    return struct.pack(">BH", 1, len(text)) + text.encode()
