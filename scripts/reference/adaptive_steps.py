"""Prints the steps of scipy's adaptive Runge-Kutta methods on x' = -x^2 cos 3t, for src/solver/tests.

    pip install scipy==1.17.1
    python scripts/reference/adaptive_steps.py
"""

import numpy as np
from scipy.integrate import solve_ivp

for method in ["RK23", "RK45", "DOP853"]:
    solution = solve_ivp(lambda t, x: -(x**2) * np.cos(3 * t), (0, 3), [1.0, 2.0, -0.2], method=method, rtol=1e-5, atol=1e-5)
    print(f"{method}: {solution.nfev} evaluations, {len(solution.t) - 1} accepted steps")
    print(f"  t = {solution.t[:4].tolist()} … {solution.t[-3:].tolist()}")
    print(f"  x = {solution.y[:, -1].tolist()}")
