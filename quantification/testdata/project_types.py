#!/usr/bin/env python3
"""One worked day for every project type, computed without any of the Rust code.

Python's `decimal` only. Numbers fixed ex ante and entered values are read from the example plans; the readings
of the day are the table READINGS, hour by hour; the formulas are written out below, by hand, from the comments
and equations of the methodology files. The rules of rounding are those of the crate's README: sums are exact, a
unit factor is applied by multiplying first, a quotient is rounded half to even at the 18th decimal. Run it to
rewrite project_types.json; a test reads that file and must get the same numbers from the engine.

    python3 quantification/testdata/project_types.py > quantification/testdata/project_types.json
"""

import json
import pathlib
import tomllib
from decimal import ROUND_HALF_EVEN, Decimal as D, getcontext

getcontext().prec = 70
PLANS = pathlib.Path(__file__).resolve().parent.parent / "examples"
DAY = "2026-06-10"

# point: (totaliser, decimals, a, b, m). A totaliser's mantissa at hour h is 1,000,000 + a h + b h (h - 1) / 2;
# a momentary value's is a + b (h mod m).
READINGS = {
    "onshore-wind": {"f1.energy": (1, 0, 21_300, 117, 1), "f2.energy": (1, 0, 19_870, 53, 1), "aux.energy": (1, 1, 1_212, 3, 1)},
    "solar-thermal": {"turbine.energy": (1, 0, 13_450, 61, 1), "aux.energy": (1, 1, 900, 1, 1), "heater.fuel": (1, 2, 1_525, 4, 1)},
    "biomass-power": {"gen.energy": (1, 0, 11_111, 7, 1), "aux.energy": (1, 1, 2_345, 2, 1)},
    "hybrid-solar": {"pv.energy": (1, 1, 14_321, 11, 1), "grid.import": (1, 0, 2_500, 0, 1), "gensets.energy": (1, 0, 700, 10, 1)},
    "refinery-optimisation": {"cdu1.feed": (1, 1, 6_123, 5, 1), "aux.energy": (1, 0, 4_321, 3, 1), "heater.fuel": (0, 1, 98_765, 12, 5)},
    "base-stations": {"bts1.hours": (1, 0, 1, 0, 1), "bts2.hours": (1, 0, 1, 0, 1), "bts1.energy": (1, 2, 311, 1, 1), "bts2.energy": (1, 2, 298, 0, 1)},
    "solar-base-stations": {"bts1.solar": (1, 0, 2_345, 17, 1), "bts2.solar": (1, 0, 2_011, 23, 1), "bts.fuel": (1, 3, 412, 1, 1)},
    "flexographic-printing": {"press.energy": (1, 1, 12_002, 9, 1), "dryer.fuel": (1, 1, 333, 1, 1)},
    "methane-fermentation": {"gas.volume": (1, 1, 4_567, 3, 1), "gas.methane": (0, 2, 6_120, 7, 8), "engine.energy": (1, 0, 905, 2, 1),
                             "aux.energy": (1, 1, 456, 0, 1)},
    "cow-dung-power": {"gas.volume": (1, 2, 9_876, 11, 1), "gas.methane": (0, 2, 5_550, 3, 7), "genset.energy": (1, 1, 1_750, 1, 1),
                       "standby.fuel": (1, 2, 33, 0, 1)},
    "waste-derived-fuel": {"belt.mass": (1, 0, 9_640, 21, 1), "plant.energy": (1, 0, 812, 1, 1)},
    "compressed-biogas": {"cbg.volume": (1, 1, 8_800, 4, 1), "cbg.ncv": (0, 3, 34_912, 5, 11), "compressor.energy": (1, 1, 3_021, 2, 1)},
    "bioethanol": {"ethanol.volume": (1, 0, 12_400, 31, 1), "plant.energy": (1, 0, 2_020, 1, 1)},
    "waste-to-steam": {"steam.mass": (1, 2, 4_015, 2, 1), "steam.enthalpy": (0, 4, 24_310, 13, 9), "plant.energy": (1, 0, 950, 0, 1)},
    "battery-locomotive": {"charger.energy": (1, 1, 2_222, 7, 1)},
    "green-hydrogen": {"h2.mass": (1, 3, 41_250, 17, 1), "wind.energy": (1, 0, 2_100, 3, 1), "grid.energy": (1, 0, 150, 1, 1)},
    "biochar": {"kiln.energy": (1, 2, 3_456, 5, 1)},
    "injection-by-volume": {"w1.volume": (1, 0, 11_870, 13, 1), "w1.co2": (0, 2, 9_871, 2, 8), "site.energy": (1, 1, 8_877, 0, 1)},
    "enhanced-recovery": {"w1.mass": (1, 0, 31_250, 19, 1), "w1.co2": (0, 2, 9_801, 3, 5), "s1.mass": (1, 0, 6_120, 7, 1),
                          "s1.co2": (0, 2, 8_812, 11, 7), "site.energy": (1, 1, 6_543, 1, 1)},
    "efficient-chillers": {"ch1.energy": (1, 1, 2_120, 3, 1), "ch2.energy": (1, 1, 1_987, 0, 1)},
}
# What a unit of a point is in the unit of the parameter it feeds: (multiply by, divide by).
TO = {"kWh": (1, 1000), "Wh": (1, 1_000_000), "kg": (1, 1000), "vol%": (1, 100), "wt%": (1, 100)}
SAME = {"h2.mass"}  # kilograms of hydrogen feed a parameter in kg


def quotient(a, b):
    return (D(a) / D(b)).quantize(D(1).scaleb(-18), rounding=ROUND_HALF_EVEN)


def ratio(value, by, divisor):
    """A unit conversion: exact where it terminates."""
    exact = D(value) * by / divisor
    return exact if exact * divisor == D(value) * by else quotient(D(value) * by, divisor)


def measured(plan, point, readings):
    totaliser, decimals, a, b, m = readings[point["sources"][0]["point"]]
    name, unit = point["sources"][0]["point"], point["unit"]
    if totaliser:
        value = D(24 * a + b * 24 * 23 // 2).scaleb(-decimals)
    else:
        total = sum(D(a + b * (h % m)).scaleb(-decimals) for h in range(24))
        if point.get("aggregation") == "integral":
            value, unit = total, unit.removesuffix("/h")
        else:
            value = quotient(total * 3_600_000, 24 * 3_600_000)
    by, divisor = (1, 1) if name in SAME else TO.get(unit, (1, 1))
    return ratio(value, by, divisor)


def inputs(name):
    """Every parameter of the plan: a number, or a dictionary by member; `all` holds for every member."""
    plan = tomllib.loads((PLANS / f"{name}.plan.toml").read_text())
    values = {}

    def put(row, value):
        if row.get("member"):
            values.setdefault(row["parameter"], {})[row["member"]] = value
        else:
            values[row["parameter"]] = value

    for point in plan["points"]:
        put(point, measured(plan, point, READINGS[name]))
    for row in plan.get("entered", []) + plan["fixed"]:
        put(row, D(row["value"]))
    for row in plan["neutral"]:
        values[row["name"]] = {} if row["name"] == "fuel" else D(1) if row["name"] in ("DF", "RS") else D(0)
    return plan["methodology"], values


def of(value, member):
    return value[member] if isinstance(value, dict) else value


def fuel(v):
    litres = v.get("FC", {})
    return sum(litres[f] * of(v["density"], f) * of(v["NCV"], f) * of(v["EF_fuel"], f) / 1_000_000 for f in litres)


def power(v):
    return v["EC"] * v["EF_elec"]


def renewable_power(v):
    eg = sum(v["EG"].values())
    return eg * v["EF_BaU"], eg * v["EF_RE"], power(v) + fuel(v)


def mixed_supply_power(v):
    mix = quotient(v["EI_grid"] * v["EF_grid"] + v["EG_captive"] * v["EF_captive"], v["EI_grid"] + v["EG_captive"])
    bau = sum(v["EG"].values()) * mix
    return bau, bau * v["RS"], power(v) + fuel(v)


def efficiency_by_ratio(v):
    bau = re = pe = 0
    for m, ec in v["EC"].items():
        bau += quotient(ec * of(v["COP_PJ"], m), of(v["COP_BaU"], m)) * v["EF_elec"]
        re += quotient(ec * of(v["COP_PJ"], m), of(v["COP_RE"], m)) * v["EF_elec"]
        pe += ec * v["EF_elec"]
    return bau, re, pe


def refinery_optimisation(v):
    ef = v["EF_ref"] / 1000
    bau = sum(t * of(v["SFC_BaU"], u) * ef for u, t in v["P"].items())
    re = sum(t * of(v["SFC_RE"], u) * ef for u, t in v["P"].items())
    return bau, re, power(v) + fuel(v)


def base_station_efficiency(v):
    ef = v["EF_elec"]
    bau = sum(h * of(v["P_BaU"], s) / 1000 * ef for s, h in v["T"].items())
    re = sum(h * of(v["P_RE"], s) / 1000 * ef for s, h in v["T"].items())
    return bau, re, sum(ec * ef for ec in v["EC"].values())


def solar_base_station(v):
    bau = sum(eg * of(v["SFC"], s) * of(v["EF_gen"], s) / 1000 for s, eg in v["EG"].items())
    return bau, bau * v["RS"], power(v) + fuel(v)


def flexographic_printing(v):
    bau = sum(a * of(v["SEC_BaU"], p) / 1000 * v["EF_ref"] for p, a in v["A"].items())
    re = sum(a * of(v["SEC_RE"], p) / 1000 * v["EF_ref"] for p, a in v["A"].items())
    return bau, re, power(v) + fuel(v)


def biogas_power(v):
    ch4 = v["V"] * v["w"] * v["rho"] / 1000
    bau = ch4 * v["DRE"] * v["MCF"] * v["GWP"] + sum(v["EG"].values()) * v["EF_RE"]
    return bau, bau * v["RS"], ch4 * v["LK"] * v["GWP"] + power(v) + fuel(v)


def waste_derived_fuel(v):
    energy = v["M"] * v["NCV_w"]
    bau = energy * v["EF_disp"] / 1000
    return bau, bau * v["RS"], energy * v["FF"] * v["EF_fossil"] / 1000 + power(v) + fuel(v)


def compressed_biogas(v):
    bau = v["V"] * v["NCV_b"] * v["EF_disp"] / 1_000_000
    return bau, bau * v["RS"], v["V"] * v["slip"] * v["GWP"] / 1000 + power(v) + fuel(v)


def bioethanol(v):
    bau = v["V"] * v["rho"] * v["NCV_e"] * v["EF_disp"] / 1_000_000
    return bau, bau * v["RS"], v["M_feed"] * v["EF_feed"] + power(v) + fuel(v)


def waste_to_steam(v):
    bau = quotient(v["S"] * v["h"], v["eta"]) * v["EF_disp"] / 1000
    return bau, bau * v["RS"], quotient(v["M"] * v["CF"] * 44, 12) + power(v) + fuel(v)


def battery_locomotive(v):
    bau = sum(w * of(v["SFC"], m) * v["EF_disp"] / 1_000_000 for m, w in v["W"].items())
    return bau, bau * v["RS"], power(v) + fuel(v)


def green_hydrogen(v):
    bau = v["H2"] * v["EF_H2"] / 1000
    return bau, bau * v["RS"], sum(ec * of(v["EF"], s) for s, ec in v["EC"].items())


def biochar(v):
    bau = quotient(v["M"] * v["Corg"] * v["F_perm"] * 44, 12)
    return bau, bau * v["RS"], v["M"] * v["m_CH4"] / 1000 * v["GWP"] + power(v) + fuel(v)


def co2_injection_volume(v):
    stored = sum(q * D("0.0018682") * of(v["C"], w) for w, q in v["Q"].items()) - v["CO2_E"] - v["CO2_FI"]
    return stored, stored, power(v) + fuel(v)


def co2_enhanced_recovery(v):
    injected = sum(q * of(v["C"], w) for w, q in v["Q"].items())
    produced = (1 + v["X"]) * sum(q * of(v["C_P"], s) for s, q in v["Q_P"].items())
    stored = injected - produced - v["CO2_E"] - v["CO2_FI"] - v["CO2_FP"]
    return stored, stored, power(v) + fuel(v)


def text(value):
    value = format(D(value), "f")
    return value.rstrip("0").rstrip(".") if "." in value else value


def worked(name):
    methodology, v = inputs(name)
    bau, re, pe = globals()[methodology](v)
    er = (re - pe) * v["DF"]
    readings = [{"point": point, "totaliser": bool(t), "decimals": d, "a": a, "b": b, "m": m}
                for point, (t, d, a, b, m) in READINGS[name].items()]
    return {"plan": name, "day": DAY, "readings": readings,
            "expected": {"BaU": text(bau), "RE": text(re), "PE": text(pe), "ER": text(er)}}


print(json.dumps([worked(name) for name in READINGS], indent=1))
