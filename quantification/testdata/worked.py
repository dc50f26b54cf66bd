#!/usr/bin/env python3
"""Worked examples, computed a second time and without any of the Rust code.

Python's `decimal` only; the rules are those of the crate's README: sums are exact, a unit factor is
applied by multiplying first, a quotient is rounded half to even at the 18th decimal. Run it to
rewrite worked.json; a test reads that file and must get the same numbers from the engine.

    python3 quantification/testdata/worked.py > quantification/testdata/worked.json
"""

import json
from decimal import ROUND_FLOOR, ROUND_HALF_EVEN, Decimal as D, getcontext

getcontext().prec = 60
HOUR_MS = 3_600_000


def quotient(a, b):
    return (a / b).quantize(D(1).scaleb(-18), rounding=ROUND_HALF_EVEN)


def text(value):
    value = value.normalize()
    return format(value, "f")


def injection():
    """One day, two wells, hourly samples; the numbers of hour h are small formulas of h."""
    hours = range(24)
    # Registers in kg: the advance of hour h is 12,345 + 37 h (W-1) and 9,876 + 41 h (W-2).
    q1 = sum(12_345 + 37 * h for h in hours)
    q2 = sum(9_876 + 41 * h for h in hours)
    # Composition in wt%, two decimals: 99.50 + 0.01 (h mod 7) and 99.10 + 0.01 (h mod 5).
    # The analyser of W-1 misses hours 6 to 8.
    c1_hours = [h for h in hours if h not in (6, 7, 8)]
    c1 = quotient(sum(D(9950 + h % 7) / 100 * HOUR_MS for h in c1_hours), D(HOUR_MS * len(c1_hours))) / 100
    c2 = quotient(sum(D(9910 + h % 5) / 100 * HOUR_MS for h in hours), D(HOUR_MS * 24)) / 100
    # Electricity in kWh, one decimal: 1,234.5 an hour. Fuel in L/h, one decimal: 31.7 + 0.1 (h mod 3).
    ec = D("1234.5") * 24 / 1000
    fuel_ms = sum((D("31.7") + D("0.1") * (h % 3)) * HOUR_MS for h in hours)
    fc = quotient(fuel_ms, D(HOUR_MS))
    wells = [D(q1) / 1000 * c1, D(q2) / 1000 * c2]
    stored = sum(wells) - 0 - D("1.25")
    pe_elec = ec * D("0.797")
    pe_fuel = fc * D("0.84") * D("43.0") * D("74.1") / 1_000_000
    er = stored - pe_elec - pe_fuel
    return {
        "Q[W-1]": text(D(q1) / 1000), "Q[W-2]": text(D(q2) / 1000), "C[W-1]": text(c1), "C[W-2]": text(c2),
        "EC": text(ec), "FC[diesel]": text(fc), "RE": text(stored), "PE": text(pe_elec + pe_fuel), "ER": text(er),
        "ER_floor": text(er.to_integral_value(rounding=ROUND_FLOOR)),
    }


def solar():
    """2025-12-30 to 2026-01-02 in Asia/Makassar, hourly: two vintages of two days each."""
    days = {"2025": range(0, 48), "2026": range(48, 96)}
    out = {}
    total = {"EG": D(0), "aux": D(0), "BaU": D(0), "RE": D(0), "PE": D(0), "ER": D(0), "floors": D(0)}
    for year, hours in days.items():
        # Wh-exact register in kWh with three decimals: hour h advances 1,000.001 + 7.013 (h mod 24).
        eg = sum(D("1000.001") + D("7.013") * (h % 24) for h in hours) / 1000
        # Auxiliary power in kW with two decimals: 12.34 + 0.07 (h mod 9), integrated over time.
        ms = sum((D("12.34") + D("0.07") * (h % 9)) * HOUR_MS for h in hours)
        aux = quotient(ms, D(HOUR_MS * 1000))
        bau, re, pe = eg * D("0.85"), eg * D("0.797"), aux * D("0.797")
        er = re - pe
        floor = er.to_integral_value(rounding=ROUND_FLOOR)
        out[year] = {"EG": text(eg), "EC_aux": text(aux), "BaU": text(bau), "RE": text(re), "PE": text(pe),
                     "ER": text(er), "credited": text(floor)}
        for key, value in zip(total, (eg, aux, bau, re, pe, er, floor)):
            total[key] += value
    out["period"] = {"RE": text(total["RE"]), "PE": text(total["PE"]), "ER": text(total["ER"]),
                     "per_vintage": text(total["floors"]),
                     "per_period": text(total["ER"].to_integral_value(rounding=ROUND_FLOOR))}
    return out


print(json.dumps({"injection": injection(), "solar": solar()}, indent=1))
