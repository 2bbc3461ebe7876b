"""The third door, beside the command line and the web: Prefect flows that drive mimrun's runs.

Prefect schedules, drives and shows. What is done, what is allowed and what is recorded is decided in
mimrun, and stays right without Prefect.
"""
