"""The API, version 1: a module for each noun.

It does what the command line does, with the same verbs and the same use cases. What is named in a path is named whole;
what is to be launched, approved or rejected is named by the digest of what was looked at.
"""
