"""Unpacks from every wheel in a folder the members that match one of the patterns.

Usage: unpack.py WHEELS DESTINATION PATTERN...
"""

import fnmatch
import glob
import os
import shutil
import sys
import zipfile

wheels, destination, *patterns = sys.argv[1:]
for wheel in sorted(glob.glob(os.path.join(wheels, "*.whl"))):
    with zipfile.ZipFile(wheel) as archive:
        for member in archive.namelist():
            wanted = any(fnmatch.fnmatchcase(member, pattern) for pattern in patterns)
            if member.endswith("/") or not wanted:
                continue
            target = os.path.join(destination, member)
            os.makedirs(os.path.dirname(target), exist_ok=True)
            with archive.open(member) as source, open(target, "wb") as sink:
                shutil.copyfileobj(source, sink, 1 << 20)
    # Half of the disk is enough that way.
    os.remove(wheel)
