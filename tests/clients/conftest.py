"""Clients too large for `make check`; `make check-clients` runs them.  The suite is that of tests/system."""
import importlib.util
import os
import sys

_SYSTEM = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "system")
_spec = importlib.util.spec_from_file_location("system_conftest", os.path.join(_SYSTEM, "conftest.py"))
system = importlib.util.module_from_spec(_spec)
sys.modules["system_conftest"] = system
_spec.loader.exec_module(system)

pytest_configure, make_suite, suite = system.pytest_configure, system.make_suite, system.suite
