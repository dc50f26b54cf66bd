//! The text that explains a bundle to somebody who has nothing but the file.

/// `README.txt` of every bundle. A test of the verifier runs the commands of its last section.
pub const README: &str = r#"Fieldseal evidence bundle
=========================

This archive holds sealed measurement readings and what is needed to check them without trusting
whoever made the archive. Nothing in it is to be trusted by itself: the log's verification key (the
anchor), the witness policy and the monitoring plan come from your own files.

Check it with the verifier:

  fieldseal-verify bundle THIS.tar --plan plan.toml --policy ours.policy --anchor 'KEY'

or with the second, independent one (Python and the package `cryptography`):

  python3 fieldseal_verify.py THIS.tar --plan plan.toml --policy ours.policy --anchor 'KEY'

plan.toml must be the registered monitoring plan on your own disk. The copy in here is information.

What is inside, for each log (a log is everything one gateway sealed):

  origin         the log's name; its folder is named by the SHA-256 of it
  checkpoint     a C2SP signed note: name, number of entries N, Merkle root R, and signature lines of
                 the log and of its witnesses
  range-start    the tree before the first entry in here, as subtree hashes
  disclosure     what is shown of the readings: A every point; B the points listed in that file, and of
                 all others the hashes; C none. The entries are whole in each class, so order,
                 completeness and time are proven in each
  control/       the log's own story: keys, configurations, clock events; each entry with a C2SP
                 tlog-proof that leads to R
  blobs/         configurations too long for their entry
  trail/         checkpoints of the same log as witnesses saw them, with their times
  time/          timestamps (RFC 3161) over files of trail/, of the same name; may be absent
  entries.bin    the entries: 2 bytes of length (big-endian), then that many bytes of COSE_Sign1
  payload.bin    the readings: one column chunk per point and entry, in the order of the entries

Beside the logs there may be:

  project/       the project log: certificates, values, findings and whatever else people entered at
                 the centre, as entries with the person, in the form of a log; all of it
  inputs/        files that those records name by their SHA-256

The leaf hash of an entry is SHA-256(00 | entry), a node is SHA-256(01 | left | right). The format is
described in FORMAT.md of the crate `evidence`.

With ordinary tools (tar, sha256sum, openssl, python3), in an empty folder, for the first log; KEY is
the log's verification key from your own records:

-----
tar xf THIS.tar
cd "$(ls -d logs/* | head -n 1)"
printf '%s' "$(cat origin)" | sha256sum
sed '/^$/,$d' checkpoint > text
grep -F "— $(cat origin) " checkpoint | cut -d ' ' -f 3 | base64 -d | tail -c 64 > signature
printf 'MCowBQYDK2VwAyEA' | base64 -d > key.der
printf '%s' 'KEY' | cut -d + -f 3- | base64 -d | tail -c 32 >> key.der
openssl pkeyutl -verify -pubin -keyform DER -inkey key.der -rawin -in text -sigfile signature
python3 - <<'END'
import base64, hashlib
h = lambda data: hashlib.sha256(data).digest()
size, *hashes = open("range-start").read().split()
size, hashes = int(size), [base64.b64decode(line) for line in hashes]
with open("entries.bin", "rb") as entries:
    while length := entries.read(2):
        node, i = h(b"\0" + entries.read(int.from_bytes(length, "big"))), size
        while i & 1:
            node, i = h(b"\1" + hashes.pop() + node), i >> 1
        hashes.append(node)
        size += 1
root = hashes.pop()
while hashes:
    root = h(b"\1" + hashes.pop() + root)
origin, stated, stated_root = open("text").read().split()
same = (str(size), base64.b64encode(root).decode()) == (stated, stated_root)
print("Root Reproduced" if same else "ROOT DIFFERS", "over", size, "entries")
END
-----

The number printed by sha256sum is the folder's name; openssl says `Signature Verified Successfully`:
the log with this key stated the size and root in `text`; and python3 says `Root Reproduced`: the
entries in here, and those before them, are the ones under that root. What the entries say of readings,
time and gaps, and whether witnesses saw the same, is for the verifier.

A timestamp, in the same folder, with ROOTS the certificates of an authority that you trust:

openssl ts -verify -in time/NAME.tsr -data trail/NAME -CAfile ROOTS
"#;
