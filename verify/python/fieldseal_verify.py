#!/usr/bin/env python3
"""A second, independent verifier of Fieldseal evidence bundles.

Written from evidence/FORMAT.md, with Python's standard library and the package `cryptography`. It checks
signatures, hashes, links, control chain, ticks, checkpoints, cosignatures and times, counts what
`fieldseal-verify --json` counts, and for periods of up to a month decodes every value, recomputes what
registers advanced and rates integrated to, and compares that with the report. It does not evaluate formulas.

Exit codes: 0 proven, 1 gaps beyond the limit, 2 integrity, 3 incomplete, 4 time or policy, 5 report, 6 input.
"""
import argparse
import json
import sys

from fieldseal.failures import INPUT, Mistake
from fieldseal.project import run


def arguments(given=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", help="the bundle, a .tar file")
    parser.add_argument("--plan", required=True, help="your own copy of the registered monitoring plan")
    parser.add_argument("--policy", required=True, help="your witness policy")
    parser.add_argument("--anchor", action="append", default=[], help="verification key of a log; the plan's otherwise")
    parser.add_argument("--from", dest="from_day", help="first day of the period, in the plan's zone")
    parser.add_argument("--to", dest="to_day", help="last day, included")
    parser.add_argument("--collector", help="the policy's name of the collector's witness (default W0)")
    parser.add_argument("--tolerance-s", type=int, default=300)
    parser.add_argument("--max-delay-h", type=int, default=24)
    parser.add_argument("--gap-limit-percent", type=int, default=5)
    parser.add_argument("--approver", action="append", default=[], help="public key of an authority whose approvals and revocations count")
    parser.add_argument("--approvals", choices=("reported", "required"), default="reported")
    parser.add_argument("--revocation", action="append", default=[], help="a revocation of an entry key, signed by one of them")
    parser.add_argument("--decode", action="store_true", help="decode every value also beyond a month")
    parser.add_argument("--processes", type=int, help="how many to use; by default all processors for large bundles")
    parser.add_argument("--json", action="store_true", help="print the verdict as JSON")
    return parser.parse_args(given)


def judge(args):
    """The verdict; whatever happens, there is one, and it is never better than what was proven."""
    try:
        if bool(args.from_day) != bool(args.to_day):
            raise Mistake("give both --from and --to, or neither")
        return run(args)
    except Exception as mistake:  # pylint: disable=broad-except
        # An error of this program must not look like exit code 1, which is "proven".
        kind = "" if isinstance(mistake, Mistake) else f"{type(mistake).__name__}: "
        return {"format": "fieldseal-verdict/1", "exit": INPUT, "error": f"{kind}{mistake}", "failures": []}


def main():
    if sys.argv[1:2] == ["--batch"] and len(sys.argv) == 3:
        # One JSON list of arguments a line; one verdict a line.
        with open(sys.argv[2], encoding="utf-8") as lines:
            for line in lines:
                print(json.dumps(judge(arguments(json.loads(line)))))
        return 0
    args = arguments()
    verdict = judge(args)
    if args.json:
        print(json.dumps(verdict, indent=1))
    else:
        tell(verdict)
    return verdict["exit"]


def tell(verdict):
    if "error" in verdict:
        print("error:", verdict["error"])
        return
    for log in verdict["logs"]:
        print(f"log {log['origin']}: entries {log['first']}..{log['size'] - 1}, root {log['root']}")
        for s in log["streams"]:
            gaps = sum(g["ticks"] for g in s["gaps"].values())
            print(f"  stream {s['stream']}: {s['expected']} ticks = {s['measured']} measured + {gaps} gap + {s['holes']} holes - {s['overlaps']} twice")
        entries = log["size"] - log["first"]
        print(f"  {entries} entries; {log.get('samples', 'no')} values decoded; time {log['time']}")
    for failure in verdict["failures"]:
        print("FAILED", failure["code"], failure["log"] or "", "" if failure["index"] is None else f"entry {failure['index']}:", failure["text"])
    for name, value in verdict["report"].get("compared", []):
        print(f"report {name} recomputed {value}")
    print("CONFIRMED" if verdict["exit"] < 2 else "NOT CONFIRMED", f"in {verdict['seconds']} s; this is not a verification opinion")


if __name__ == "__main__":
    sys.exit(main())
