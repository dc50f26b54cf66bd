"""The verifier's own files, and the proof of a whole project: V1 and V6."""
import datetime
import hashlib
import time
import tomllib
import zoneinfo

from .archive import Tar
from .authority import authority_key, read_revocation
from .failures import Failure, Mistake
from .log import Log
from .notes import Policy, Vkey
from .records import ProjectLog
from .report import claim, compare, tracks_of
from .tree import sha256

MONTH_MS = 32 * 86_400_000


class Options:
    """What the verifier brings."""

    def __init__(self, args):
        try:
            with open(args.plan, "rb") as file:
                self.plan_bytes = file.read()
            self.plan = tomllib.loads(self.plan_bytes.decode())
            with open(args.policy, encoding="utf-8") as file:
                self.policy = Policy(file.read())
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise Mistake(str(error)) from None
        names = [name for name, _ in self.policy.witnesses]
        if args.collector and args.collector not in names:
            raise Mistake(f"--collector {args.collector} is no witness of the policy")
        self.collector = args.collector or ("W0" if "W0" in names else None)
        self.tolerance_ms, self.max_delay_s = args.tolerance_s * 1000, args.max_delay_h * 3600
        self.processes = args.processes
        self.approvers, self.approvals = [authority_key(text) for text in args.approver], args.approvals
        self.revocations = [read_revocation(path, self.approvers) for path in args.revocation]
        self.logs, self.points = self.plan["logs"], self.plan.get("points", [])
        self.anchors = {log["origin"]: Vkey(log["anchor"]) for log in self.logs}
        entered = self.plan.get("project_log")
        self.project_key = Vkey(entered["key"]) if entered else None
        if entered and (self.project_key.name != entered["origin"] or self.project_key.kind != 1 or entered["origin"] in self.anchors):
            raise Mistake("the plan's [project_log]: `key` must be the log key of `origin`, which is no gateway's log")
        for anchor in [*self.anchors.values(), *([self.project_key] if entered else [])]:
            if self.policy.logs and anchor not in self.policy.logs:
                raise Mistake(f"the policy lists logs, but not `{anchor.name}` with the plan's key")
        for revocation in self.revocations:
            if revocation["origin"] not in self.anchors:
                raise Mistake(f"--revocation: the plan names no log `{revocation['origin']}`")
        for given in args.anchor:
            vkey = Vkey(given)
            if self.anchors.get(vkey.name) != vkey:
                raise Mistake(f"--anchor {given}: the plan has another key, or no such log")

    def set_period(self, args, report):
        if args.from_day:
            zone = zoneinfo.ZoneInfo(self.plan["reporting_zone"])
            day = datetime.date.fromisoformat

            def instant(d):
                return int(datetime.datetime(d.year, d.month, d.day, tzinfo=zone).timestamp()) * 1000

            self.t0, self.t1 = instant(day(args.from_day)), instant(day(args.to_day) + datetime.timedelta(days=1))
        elif report and "period" in report:
            self.t0, self.t1 = report["period"]["start_ms"], report["period"]["end_ms"]
        else:
            raise Mistake("the bundle has no readable report to take the period from; give --from and --to")
        self.decode = args.decode or self.t1 - self.t0 <= MONTH_MS


def feeding_order(logs):
    done = []
    while len(done) < len(logs):
        placed = {log["origin"] for log in done}
        step = [log for log in logs if log not in done and log.get("succeeds") in (None, *placed)][:1]
        if not step:
            raise Mistake("the plan's logs succeed one another in a circle")
        done += step
    return done


def log_id(origin):
    return sha256(origin.encode()).hex()


class Project:
    def __init__(self, tar, options, report):
        self.tar, self.options, self.report, self.failures = tar, options, report, []
        self.order, self.opened, self.passed, self.facts, self.seams = feeding_order(options.logs), {}, {}, [], []
        self.tracks, self.told, self.sources = tracks_of(options, report), {}, {}
        for point in options.points:
            for source in point["sources"]:
                self.sources.setdefault((source["log"], source["point"]), []).append(point["number"])

    def attempt(self, origin, step):
        try:
            return step()
        except Failure as failure:
            self.fail(origin, failure)

    def fail(self, origin, failure):
        failure.log = origin
        self.failures.append(failure)

    def verify(self):
        known = {log_id(log["origin"]) for log in self.options.logs}
        self.failures += [Failure("V18", "a log that the plan does not name") for found in self.tar.logs if found not in known]
        for planned in self.order:
            if log_id(planned["origin"]) in self.tar.logs:
                log = self.attempt(planned["origin"], lambda planned=planned: self.open(planned))
                if log:
                    self.opened[log.origin] = log
        for planned in self.order:
            after, before = self.opened.get(planned["origin"]), self.opened.get(planned.get("succeeds"))
            if after and before:
                named = (b for e, b in after.controls if e.control == 12 and b["origin"] == before.origin)
                body = next(named, None)
                before.hand_over = body and (body["last_index"], body["last_leaf"])
        for planned in self.order:
            log = self.opened.get(planned["origin"])
            found = self.attempt(planned["origin"], lambda log=log: log.verify(self.sink)) if log else None
            if found is not None:
                for failure in found:
                    self.fail(log.origin, failure)
                self.facts.append(log.facts)
                self.passed[log.origin] = log
        self.missing()
        self.hand_overs()
        self.project_log()
        if not self.failures and self.options.decode:
            self.told = compare(self.report, self.options, self.tracks, self.failures, self.hidden())

    def project_log(self):
        """What people entered, under the key that the plan names."""
        key = self.options.project_key
        self.entered = {"origin": key and key.name, "carried": self.tar.project, "checked": False}
        if key is None:
            return
        if not self.tar.project:
            self.fail(key.name, Failure("V41", "the plan's project log is not in the bundle"))
            return
        found = self.attempt(key.name, lambda: ProjectLog(self.tar, key, self.options).verify())
        self.entered.update(found or {})

    def open(self, planned):
        origin, before = planned["origin"], planned.get("succeeds")
        names = {s["point"] for p in self.options.points for s in p["sources"] if s["log"] == origin}
        succeeds = before is not None and log_id(before) in self.tar.logs
        return Log(self.tar, log_id(origin), self.options.anchors[origin], self.options, sorted(names), succeeds)

    def hidden(self):
        """Numbers of the monitoring points of which not every reading is in the bundle."""
        shows = lambda log, name: log.disclosure == "A" or log.disclosure == "B" and name in log.shown
        return {p["number"] for p in self.options.points for s in p["sources"]
                if s["log"] in self.passed and not shows(self.passed[s["log"]], s["point"])}

    def sink(self, log, first, ticks, tick, columns):
        start = first * tick
        for name, column in columns.items():
            for number in self.sources.get((log.origin, name), ()):
                self.tracks[number].feed(log.origin, start, start + ticks * tick, tick, column)

    def missing(self):
        for planned in self.order:
            origin = planned["origin"]
            if origin in self.passed or any(f.log == origin for f in self.failures):
                continue
            after = next((self.passed.get(o["origin"]) for o in self.order if o.get("succeeds") == origin), None)
            covers = after and all(n in after.covered and after.covered[n][0] <= self.options.t0 for n in after.points)
            if planned.get("succeeds") not in self.passed and not covers:
                self.fail(origin, Failure("V17", "a log of the plan is not in the bundle"))

    def hand_overs(self):
        for point in self.options.points:
            for first, second in zip(point["sources"], point["sources"][1:]):
                a, b = self.passed.get(first["log"]), self.passed.get(second["log"])
                spans = (a and a.covered.get(first["point"]), b and b.covered.get(second["point"]))
                if all(spans):
                    ends, begins = spans[0][1], spans[1][0]
                    if begins < ends:
                        self.fail(first["log"], Failure("V16", f"point {point['number']}: ticks in both logs"))
                    self.seams.append({"number": point["number"], "ends_ms": ends, "begins_ms": begins})

    def unmeasured_ppm(self):
        """The largest share without measurement: of a stream that matters, or between two logs."""
        shares, t0, t1 = [0], self.options.t0, self.options.t1
        for s in (s for facts in self.facts for s in facts["streams"] if s["relevant"] and s["expected"]):
            shares.append((sum(g["ticks"] for g in s["gaps"].values()) + s["holes"] - s["overlaps"]) * 1_000_000 // s["expected"])
        for seam in self.seams:
            shares.append(max(0, min(seam["begins_ms"], t1) - max(seam["ends_ms"], t0)) * 1_000_000 // (t1 - t0))
        return max(shares)


def run(args):
    begun, options = time.monotonic(), Options(args)
    verdict = {"format": "fieldseal-verdict/1", "logs": [], "hand_overs": [], "report": {}}
    failures, code = [], 0
    try:
        with open(args.file, "rb") as file:
            verdict["bundle_sha256"] = hashlib.file_digest(file, "sha256").hexdigest()
        tar = Tar(args.file)
    except OSError as error:
        raise Mistake(str(error)) from None
    except Failure as failure:
        if not args.from_day:
            raise Mistake("the bundle has no readable report to take the period from; give --from and --to") from None
        failures = [failure]
    else:
        report = claim(tar)
        options.set_period(args, report)
        project = Project(tar, options, report)
        project.verify()
        failures = project.failures
        verdict.update(project_log=project.entered, logs=project.facts, hand_overs=project.seams, report=project.told)
        code = 1 if project.unmeasured_ppm() > args.gap_limit_percent * 10_000 else 0
    verdict["exit"] = min((f.exit for f in failures), default=code)
    verdict["failures"] = [{"code": f.code, "exit": f.exit, "log": f.log, "index": f.index, "text": f.text} for f in failures]
    verdict["seconds"] = round(time.monotonic() - begun, 3)
    return verdict
