//! The text that explains a bundle to somebody who has nothing but the file.

/// `README.txt` of every bundle.
pub const README: &str = "\
Fieldseal evidence bundle
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

  origin         the log's name; the folder is its SHA-256:    printf '%s' \"$(cat origin)\" | sha256sum
  checkpoint     a C2SP signed note: name, number of entries N, Merkle root R, signature lines of the
                 log and of its witnesses. An Ed25519 signature is over the text above the blank line.
  control/       the log's own story: keys, configurations, clock events; each entry with a C2SP
                 tlog-proof that leads to R
  range-start    the tree before the first entry in here, as subtree hashes
  entries.bin    the entries: 2 bytes of length (big-endian), then that many bytes of COSE_Sign1
  payload.bin    the readings: one column chunk per point and entry, in the order of the entries
  trail/         checkpoints of the same log as witnesses saw them, with their times

With ordinary tools:

  tar tvf THIS.tar                                  lists it; sha256sum THIS.tar names it
  the leaf hash of an entry is SHA-256(00 | entry); a node is SHA-256(01 | left | right)
  openssl pkeyutl -verify -pubin -inkey log.pem -rawin -in note-text -sigfile signature

The format is described in FORMAT.md of the crate `evidence`.
";
