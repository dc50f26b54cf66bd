#!/usr/bin/env python3
"""Densities of CO2 by another implementation: CoolProp 8.0.0 (PyPI, MIT), the Span-Wagner equation.

    pip install CoolProp==8.0.0
    python3 quantification/testdata/co2_density.py > quantification/testdata/co2_density.csv

Columns: pressure in Pa, temperature in K, density in kg/m3, solved from pressure and temperature and then
polished with CoolProp's own pressure function, since its solver stops at about 1e-10. Points nearer than 0.1 % to
saturation are left out. Lines that begin with `sat` hold temperature, saturation pressure, and the
densities of gas and liquid.
"""

import CoolProp
from CoolProp.CoolProp import AbstractState

STATE = AbstractState("HEOS", "CO2")
CRITICAL_K = 304.1282


def density(p, t):
    STATE.update(CoolProp.PT_INPUTS, p, t)
    rho = STATE.rhomass()
    for _ in range(4):
        STATE.specify_phase(CoolProp.iphase_gas)
        STATE.update(CoolProp.DmassT_INPUTS, rho, t)
        rho -= (STATE.p() - p) / STATE.first_partial_deriv(CoolProp.iP, CoolProp.iDmass, CoolProp.iT)
        STATE.unspecify_phase()
    return rho


def saturation(t):
    STATE.update(CoolProp.QT_INPUTS, 0, t)
    p, liquid = STATE.p(), STATE.rhomass()
    STATE.update(CoolProp.QT_INPUTS, 1, t)
    return p, STATE.rhomass(), liquid


print("# CoolProp", CoolProp.__version__, "HEOS CO2")
temperatures = [250 + 4 * k for k in range(46)] + [303.5, 304.0, 304.2, 304.5, 305.0, 306.0]
pressures = [1e5, 2e5, 5e5, 1e6, 1.5e6, 2e6, 3e6, 4e6, 5e6, 6e6, 6.5e6, 7e6, 7.2e6, 7.3e6, 7.3773e6, 7.4e6, 7.5e6, 7.7e6, 8e6,
             8.5e6, 9e6, 1e7, 1.1e7, 1.2e7, 1.4e7, 1.6e7, 1.8e7, 2e7, 2.5e7, 3e7, 3.5e7, 4e7]
for t in temperatures:
    line = saturation(t)[0] if t < CRITICAL_K else None
    for p in pressures:
        if line is None or abs(p - line) > 1e-3 * line:
            print(f"{p:.17g},{t:.17g},{density(p, t):.17g}")
for t in [217.0, 220.0, 230.0, 240.0, 250.0, 260.0, 270.0, 280.0, 290.0, 295.0, 300.0, 302.0, 303.0, 303.8]:
    print(f"sat,{t:.17g}," + ",".join(f"{x:.17g}" for x in saturation(t)))
