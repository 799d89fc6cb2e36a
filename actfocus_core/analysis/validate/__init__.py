"""Validation of rollouts, as ``actfocus doctor`` does it: rules, checks and findings."""

from actfocus_core.analysis.validate.diagnosis import diagnose
from actfocus_core.analysis.validate.findings import Finding, Report
from actfocus_core.analysis.validate.rules import RULES, SEVERITIES, Rule

__all__ = ["RULES", "SEVERITIES", "Finding", "Report", "Rule", "diagnose"]
