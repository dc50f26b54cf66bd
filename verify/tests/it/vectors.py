"""Published vectors through the second implementation: proofs of RFC 6962 trees, a checkpoint, keys.

Arguments: the folder of the implementation, and the file of proofs. Prints how many of each were judged.
"""
import json
import sys

sys.path.insert(0, sys.argv[1])
from fieldseal.failures import Failure  # noqa: E402
from fieldseal.notes import SMALL_ORDER, Note, Vkey, good_key, signed_by, unbase64  # noqa: E402
from fieldseal.tree import included  # noqa: E402

right = wrong = 0
with open(sys.argv[2], encoding="utf-8") as file:
    for case in json.load(file):
        if "leafHash" not in case:
            continue
        hashes = [unbase64(h) for h in [case["leafHash"], case["root"], *(case["proof"] or [])]]
        # What has no 32 bytes is no hash: a reader refuses it before any proof is judged.
        fits = all(h is not None and len(h) == 32 for h in hashes)
        accepted = fits and included(hashes[0], case["leafIdx"], case["treeSize"], hashes[2:], hashes[1])
        assert accepted != case["wantErr"], case
        right, wrong = right + accepted, wrong + (not accepted)

message = "This is an example message.\n"
key = Vkey("example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k")
line = unbase64("Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=")
assert line[:4] == key.hash and signed_by(key.key, line[4:], message.encode())
assert not signed_by(key.key, line[4:], message.upper().encode())

checkpoint = """example.com/behind-the-sofa
20852163
CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=

— example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=
— witness.example.com/w1 jWbPPwAAAABkGFDLEZMHwSRaJNiIDoe9DYn/zXcrtPHeolMI5OWXEhZCB9dlrDJsX3b2oyin1nPZqhf5nNo0xUe+mbIUBkBIfZ+qnA==
"""
note = Note(checkpoint.encode(), "V02")
assert (note.origin, note.size, len(note.lines)) == ("example.com/behind-the-sofa", 20_852_163, 2)
refused = 0
for changed in (checkpoint[:-1], checkpoint.replace("\n", "\r\n"), checkpoint.replace("2085", "02085"), checkpoint.replace("— ", "- "),
                checkpoint.replace("\n\n", "\n"), checkpoint.replace("\n\n", "\nmore\n\n"), checkpoint + "\n"):
    try:
        Note(changed.encode(), "V02")
    except Failure:
        refused += 1

# Both signs of the seven: a sign bit of its own never makes a key good.
small = [key[:31] + bytes([key[31] | sign]) for key in SMALL_ORDER for sign in (0, 128)]
small_refused = sum(not good_key(key) for key in small)
print(json.dumps({"right": right, "wrong": wrong, "notes_refused": refused, "small_order_refused": small_refused}))
